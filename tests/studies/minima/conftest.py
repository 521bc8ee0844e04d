"""The project's configuration, prepared digits, and runs of the study in folders of their own."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from perturb import models, studies
from perturb.config import Config
from perturb.data import prepare
from perturb.models.weights import save_weights
from perturb.runs import Run, RunFiles, read_record
from perturb.train import run as run_module


@pytest.fixture(scope="session")
def raw(root):
    whole = yaml.safe_load((root / "config" / "config.yaml").read_text())
    for file in sorted((root / "config" / "studies").glob("*.yaml")):
        whole |= yaml.safe_load(file.read_text())
    return whole


@pytest.fixture(scope="session")
def config(raw, root):
    return Config(raw, root / "config" / "schema.yaml")


@dataclass(frozen=True)
class Results:
    """A results folder with prepared digits, in which runs are made without Snakemake."""

    folder: Path
    config: Config

    def specification(self, method, seed=0, **changes):
        from msgspec.structs import replace

        found = studies.specification(self.config, Run("digits", "mlp", method, seed))
        return replace(found, **changes)

    def make(self, method, seed=0, save_seconds=60.0, **changes):
        """Make a run, after those that it is a clone of; return its record."""
        specification = self.specification(method, seed, **changes)
        record = self.folder / specification.run.record
        if record.exists():
            return record
        initial = self.folder / studies.initial_file(specification)
        if not initial.exists() and specification.parent:
            self.make(specification.parent, seed)
        if not initial.exists():
            save_weights(initial, models.initial_weights("mlp", 10, 8, 1, seed))
        data = self.folder / "data"
        files = RunFiles(
            record.parent,
            images=data / "digits.npz",
            manifest=data / "digits.manifest.json",
            initial=initial,
            state=self.folder / "state" / str(specification.run),
        )
        run_module.run(specification, files, save_seconds=save_seconds)
        return record

    def read(self, method, seed=0):
        return read_record(self.make(method, seed))


@pytest.fixture(scope="session")
def results(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("minima")
    data = folder / "data"
    data.mkdir()
    prepare("digits", "", npz=data / "digits.npz", manifest=data / "digits.manifest.json")
    return Results(folder, config)
