"""Prepared digits and initial weights, and trainers that are processes of their own."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from perturb import models
from perturb.data import prepare
from perturb.models.weights import save_weights

TRAINER = Path(__file__).with_name("trainer.py")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    files = {"images": folder / "digits.npz", "manifest": folder / "digits.manifest.json"}
    prepare("digits", "", npz=files["images"], manifest=files["manifest"])
    files["initial"] = folder / "seed0.safetensors"
    save_weights(files["initial"], models.initial_weights("cnn", 10, 8, 1, 0))
    return files


@dataclass(frozen=True)
class Job:
    """A run in a folder: `run` for its outputs, `state`, `progress.jsonl`."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self, prefix=()) -> subprocess.Popen:
        command = [*prefix, sys.executable, str(TRAINER), str(self.folder)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def finish(self) -> subprocess.CompletedProcess:
        process = self.start()
        _, said = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, "", said)

    def lines(self) -> int:
        path = self.folder / "progress.jsonl"
        return len(path.read_bytes().splitlines()) if path.exists() else 0

    def wait(self, process: subprocess.Popen, lines: int) -> None:
        """Wait until the run's progress has so many lines, or the process has ended."""
        while process.poll() is None and self.lines() < lines:
            time.sleep(0.002)

    def results(self) -> dict[str, bytes]:
        """Return the bytes of everything that the run left, but for its times."""
        files = [p for p in (self.folder / "run").rglob("*") if p.is_file()]
        return {
            str(p.relative_to(self.folder)): p.read_bytes() for p in files if p.name != "timing.csv"
        }


@pytest.fixture
def make_job(inputs, tmp_path):
    def make(specification, name: str = "job", save_seconds: float = 0, at=None) -> Job:
        folder = (at or tmp_path) / name
        folder.mkdir(parents=True)
        wanted = inputs if specification.dataset == "digits" else {}
        job = {
            "specification": specification.to_json(),
            "inputs": {key: str(path) for key, path in wanted.items()},
            "save_seconds": save_seconds,
        }
        (folder / "job.json").write_text(json.dumps(job))
        return Job(folder)

    return make
