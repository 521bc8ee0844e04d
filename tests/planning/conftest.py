"""The configuration of all studies, and runs that were never made."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from perturb.config import Config
from perturb.workflow import Workflow


@pytest.fixture
def raw_config(root) -> dict:
    """The configuration of every study, with two chapters asked for, free to be changed."""
    files = [*sorted((root / "config" / "studies").glob("*.yaml")), root / "config" / "config.yaml"]
    found = {
        key: value
        for file in files
        for key, value in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    }
    # What the main job asks for may change; what these tests count on does not.
    digits = Path(__file__).with_name("digits.yaml").read_text(encoding="utf-8")
    found["rts"]["datasets"]["digits"] = yaml.safe_load(digits)
    return found | {"chapters": ["digits", "gradients_smoke"]}


@pytest.fixture
def make_workflow(root, raw_config):
    """Return a function that asks `raw_config` of a results folder."""

    def make(results: str | Path = "results") -> Workflow:
        config = Config(raw_config, root / "config" / "schema.yaml")
        return Workflow(config, Path(results), root)

    return make


@pytest.fixture
def workflow(make_workflow) -> Workflow:
    return make_workflow()


@pytest.fixture
def config(workflow) -> Config:
    return workflow.config
