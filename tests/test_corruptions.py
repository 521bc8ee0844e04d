"""Bytes flipped or cut in every kind of file that the workflow reads: noticed, or harmless.

Each corruption is read by what the workflow's scripts call. It must end in a message that names the
file, or in the very numbers of the whole file; in nothing else.
"""

import os
import random
from dataclasses import asdict, is_dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from perturb import models, optim
from perturb.analysis import runs
from perturb.data import load, prepare, read_manifest
from perturb.errors import PerturbError
from perturb.files import write_json
from perturb.landscape import directions, plane
from perturb.landscape.files import read_plane, write_plane
from perturb.landscape.run import _check_path
from perturb.landscape.table import read_curvature
from perturb.models.weights import load_weights, save_weights
from perturb.runs import RunFiles
from perturb.studies.rts.settings import RtsSpecification
from perturb.train.driver import Outcome
from perturb.train.history import History
from perturb.train.run import run
from perturb.train.state import State, StateFolder
from tests.landscape.planes import make_plane, make_trajectory

EACH = int(os.environ.get("PERTURB_CORRUPTIONS", 20))
RUN = RtsSpecification(
    dataset="digits", model="cnn", method="pugd_2", seed=0, batch_size=400, checkpoint_every=1
)
GRID = plane.symmetric_grid(5)
CURVATURE = {"trace": {"mean": 12.5}, "eigenvalues": {"largest": [{"mean": 3.25}]}}


class Bowl:
    """A surface without a network."""

    def sha256(self):
        return "of a bowl"

    def rows(self, alphas, betas):
        for b in betas:
            yield torch.tensor([[a * a + b * b, 0.5] for a in alphas], dtype=torch.float64)


def bowl(x, y):
    return x * x + y * y


def state_folder(folder):
    return StateFolder(folder / "state", {"method": "sgd_2"}, save_seconds=0)


def save_states(folder, weights):
    parameters = [tensor.clone().requires_grad_() for tensor in weights.values() if tensor.dim()]
    optimizer = optim.build("sgd_2", parameters, lr=0.1, momentum=0.9, weight_decay=0)
    history = History(("train_loss", "gradient_norm", "test_loss"))
    states = state_folder(folder)
    for epoch in range(2):
        row = {"epoch": epoch, "train_loss": 0.1 + epoch}
        history.add(row, dict.fromkeys(history.batches, np.linspace(0, 1 + epoch, 5)))
        outcome = Outcome(history, weights, weights, 0, checkpoints={0: weights}, seconds=[1.5])
        states.keep(State.of(outcome, optimizer))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one file of every kind."""
    folder = tmp_path_factory.mktemp("whole")
    inputs = {"images": folder / "digits.npz", "manifest": folder / "digits.manifest.json"}
    prepare("digits", "", npz=inputs["images"], manifest=inputs["manifest"])
    inputs["initial"] = folder / "seed0.safetensors"
    weights = models.initial_weights("cnn", 10, 8, 1, 0)
    save_weights(inputs["initial"], weights)
    run(RUN, RunFiles(folder / "run", **inputs, state=folder / "none"))
    save_states(folder, weights)
    write_plane(folder / "plane0.npz", make_plane(bowl, 9))
    write_plane(folder / "trajectory.npz", make_plane(bowl, 9, trajectory=make_trajectory()))
    shapes = {name: tensor.shape for name, tensor in weights.items() if tensor.dim()}
    directions.save(folder / "directions.safetensors", directions.draw(shapes, 3), 3)
    write_json(folder / "curvature.json", {"checkpoint_sha256": "a" * 64, "curvature": CURVATURE})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plane, "SAVE_SECONDS", -1)
        plane.compute(Bowl(), GRID, GRID, {"what": "bowl"}, state=folder / "rows.npz")
    return folder


def read_data(folder):
    return load(folder / "digits.npz", folder / "digits.manifest.json")


def read_states(folder):
    state = state_folder(folder).load()
    return None if state is None else (state.tensors(), state.numbers(), state.outcome.checkpoints)


def read_run(folder):
    found = runs.collect([folder / "run" / "record.json"])
    return found, runs.curves(found)


def read_batches(folder):
    record = folder / "run" / "record.json"
    runs.check_file(record, "batches.npz", runs.read_record(record))


def read_path(folder):
    record = folder / "run" / "record.json"
    kept = [folder / "run" / "checkpoints" / f"epoch{epoch}.safetensors" for epoch in (0, 1)]
    _check_path(record, runs.read_record(record)["sha256"], folder / "seed0.safetensors", kept)
    return [load_weights(path) for path in kept]


KINDS = {
    "data": ("digits.npz", read_data),
    "manifest": ("digits.manifest.json", read_data),
    "manifest alone": ("digits.manifest.json", lambda f: read_manifest(f / "digits.manifest.json")),
    "initial weights": ("seed0.safetensors", lambda f: load_weights(f / "seed0.safetensors")),
    "state": ("state/epoch2.state", read_states),
    "checkpoint of a state": ("state/checkpoints/epoch0.safetensors", read_states),
    "record": ("run/record.json", read_run),
    "epochs": ("run/epochs.csv", read_run),
    "batches": ("run/batches.npz", read_batches),
    "last": ("run/last.safetensors", lambda f: load_weights(f / "run" / "last.safetensors")),
    "checkpoint": ("run/checkpoints/epoch1.safetensors", read_path),
    "plane": ("plane0.npz", lambda f: read_plane(f / "plane0.npz")),
    "trajectory": ("trajectory.npz", lambda f: read_plane(f / "trajectory.npz")),
    "curvature": ("curvature.json", lambda f: read_curvature(f / "curvature.json")),
    "directions": (
        "directions.safetensors",
        lambda f: directions.load(f / "directions.safetensors"),
    ),
    "rows of a plane": (
        "rows.npz",
        lambda f: plane.compute(Bowl(), GRID, GRID, {"what": "bowl"}, state=f / "rows.npz"),
    ),
}


def plain(value):
    """Return a value as text and bytes, to its last bit."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, dict):
        return [(name, plain(item)) for name, item in sorted(value.items(), key=str)]
    return [plain(item) for item in value] if isinstance(value, list | tuple) else repr(value)


def corrupted(content, draw):
    """Return a file's bytes cut, extended, or with some of them changed, often near an end."""
    size = len(content)
    kind = draw.choice(["cut", "extended", "blanked", *["flipped"] * 6])
    place = draw.choice([draw.randrange(size), draw.randrange(min(size, 400))])
    place = draw.choice([place, size - 1 - place])
    if kind == "cut":
        return content[:place]
    if kind == "extended":
        return content + draw.randbytes(9)
    changed = bytearray(content)
    if kind == "blanked":
        changed[place : place + 64] = bytes(len(changed[place : place + 64]))
    else:
        for _ in range(draw.choice([1, 1, 1, 4])):
            changed[min(size - 1, place + draw.randrange(20))] ^= draw.randrange(1, 256)
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_is_noticed_or_harmless(folder, capsys, kind):
    name, read = KINDS[kind]
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    whole = plain(read(folder))
    capsys.readouterr()
    noticed = 0
    for seed in range(EACH):
        (folder / name).write_bytes(corrupted(files[folder / name], random.Random(f"{kind}{seed}")))
        try:
            found, said = plain(read(folder)), capsys.readouterr().err
        except PerturbError as error:
            found, said = None, str(error)
        named = str(folder / name) in said or (kind == "checkpoint of a state" and "epoch2" in said)
        assert named or found == whole, f"{kind}, seed {seed}: {said}"
        noticed += named
        for path, content in files.items():
            if not path.exists() or path == folder / name:
                path.write_bytes(content)
        for path in folder.rglob("*.damaged"):
            path.unlink()
    assert noticed > EACH / 2
