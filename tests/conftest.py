"""What every test may ask for."""

import os
from pathlib import Path

import pytest
import yaml

from tests.browser import axe, chromium, open_page  # noqa: F401 fixtures

ROOT = Path(__file__).resolve().parent.parent


# Files of minutes come first, so that no process is left with one when the others have ended.
LONG = ("tests/slurm/", "tests/workflow/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((i for i, f in enumerate(LONG) if item.nodeid.startswith(f)), len(LONG))

    items.sort(key=place)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def raw_config() -> dict:
    """The configuration as Snakemake reads it, free to be changed."""
    files = [*sorted(ROOT.glob("config/studies/*.yaml")), ROOT / "config" / "config.yaml"]
    whole: dict = {}
    for file in files:
        whole |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return whole


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that the environment names, or a skip that says so."""
    folder = os.environ.get("PERTURB_TEST_DATA")
    if not folder:
        pytest.skip("PERTURB_TEST_DATA names no folder of real data")
    return Path(folder)
