"""An empty store, and the results folder that it is of."""

import pytest

from perturb.jobs.store import Store


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def store(tmp_path, results):
    return Store(tmp_path / "store", results, "abc123")
