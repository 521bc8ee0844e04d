"""A checkout of its own for each test, and Snakemake run in it as a user would."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

PARTS = ("Snakefile", "config", "envs", "profiles", "src", "workflow")


def small_study(methods: Sequence[str | dict], landscape: dict, **top: Any) -> dict:
    """Return a configuration of study rts on digits: nine steps an epoch, PUGD against SGD."""
    digits = {
        "reference": "pugd_2",
        "sgd": "sgd_2",
        "sgd_double": "sgd_4",
        "train": {"batch_size": 200},
        "landscape": landscape,
        "methods": [{"method": one} if isinstance(one, str) else one for one in methods],
    }
    return {**top, "rts": {"datasets": {"digits": digits}}}


SMALL = small_study(
    [
        "sgd_2",
        "sgd_4",
        {"method": "pugd_2", "published": 0.9},
        "pugdr_isin_2_0.01_2",
        "pugdt_1_2",
    ],
    {
        "methods": ["sgd_2", "pugd_2"],
        "direction_seeds": [0, 1],
        "points": 5,
        "images": 100,
        "curvature_images": 50,
    },
    seeds=[0, 1],
    chapters=["digits"],
)


@dataclass(frozen=True)
class Checkout:
    """A copy of the project's own files, nothing of its results."""

    path: Path
    configfiles: list[str] = field(default_factory=list)

    @property
    def results(self) -> Path:
        return self.path / "results"

    def configure(self, values: dict) -> None:
        (self.path / "test.yaml").write_text(yaml.safe_dump(values))
        self.configfiles.append("test.yaml")

    def snakemake(self, *arguments: str, cores: int = 2) -> subprocess.CompletedProcess:
        config = ["--configfile", *self.configfiles] if self.configfiles else []
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *config, *arguments]
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, check=False)
        return done


def copy_of_project(root: Path, folder: Path, values: dict | None = None) -> Checkout:
    """Copy the project's own files into a folder, with a configuration beside them."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    folder.mkdir(parents=True)
    for part in PARTS:
        source = root / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=ignored)
        else:
            shutil.copy(source, folder / part)
    checkout = Checkout(folder)
    if values:
        checkout.configure(values)
    return checkout


@pytest.fixture
def make_checkout(root, tmp_path):
    def make(name="checkout", values=SMALL) -> Checkout:
        return copy_of_project(root, tmp_path / name, values)

    return make


@pytest.fixture
def checkout(make_checkout) -> Checkout:
    return make_checkout()
