"""A small chapter of toys, run once."""

import msgspec
import pytest
import yaml

from perturb.config import Config
from perturb.runs import RunFiles
from perturb.studies.gradients import STUDY
from perturb.studies.gradients.run import run
from perturb.studies.gradients.settings import ToySpecification

NAMES = ("record.json", "curves.csv", "windows.csv", "batches.csv", "pooled.csv", "timing.csv")
SMALLER = {"samples": 200, "held_out_samples": 300, "pooled_samples": 600, "device": "cpu"}


@pytest.fixture(scope="session")
def config(root):
    files = ("config/studies/rts.yaml", "config/studies/gradients.yaml", "config/config.yaml")
    values = {}
    for file in files:
        values |= yaml.safe_load((root / file).read_text(encoding="utf-8"))
    return Config(values, root / "config/schema.yaml")


@pytest.fixture(scope="session")
def chapter(config):
    """The smoke chapter."""
    (found,) = (one for one in STUDY.chapters(config) if one.name == "gradients_smoke")
    return found


@pytest.fixture(scope="session")
def toys(config, chapter):
    """The specifications of the smoke chapter's toys, smaller still."""
    return [
        msgspec.structs.replace(STUDY.resolve(config, one), **SMALLER)
        for one in chapter.runs
        if one.dataset == chapter.name
    ]


def make(toy: ToySpecification, folder, **files):
    """Run a toy into `folder` and return the path of its record."""
    where = RunFiles(folder=folder, **files)
    run(toy, where)
    return where.record


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def records(toys, results):
    return [make(toy, results / toy.run.folder) for toy in toys]
