"""The driver with a learner that no study has: two networks, another measure, own series."""

import json
import random
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from perturb.errors import PerturbError
from perturb.runs import RunFiles
from perturb.train import run as run_module
from perturb.train.driver import train
from perturb.train.history import History
from perturb.train.learner import load_weights_into, network_key, part_of, weights_of
from perturb.train.run import run_learner
from perturb.train.state import State

from .toy import MODULES, Toy, ToySpecification, learner

SPECIFICATION = ToySpecification(checkpoint_every=2)
KILLS = 3


def run_toy(job, specification=SPECIFICATION, save_seconds=0.0):
    files = RunFiles(job.folder / "run", state=job.state, progress=job.folder / "progress.jsonl")
    run_learner(specification, files, learner, MODULES, save_seconds=save_seconds)
    return job


@pytest.fixture
def whole(make_job):
    return run_toy(make_job(SPECIFICATION, "whole"))


def test_files_have_the_learners_own_names(whole):
    folder = whole.folder / "run"
    rows = pd.read_csv(folder / "epochs.csv")
    assert list(rows) == ["epoch", "loss0", "loss1", "toy_loss", "batches"]
    with np.load(folder / "batches.npz") as batches:
        assert batches.files == ["loss0", "loss1", "toy_loss"]
        assert batches["loss0"].shape == (6, 3) and batches["toy_loss"].shape == (6, 4)
        assert list(rows["loss1"]) == list(batches["loss1"].mean(1))
    names = {f"{net}.{tensor}" for net in ("net0", "net1") for tensor in ("weight", "bias")}
    assert set(load_file(folder / "last.safetensors")) == names
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == [f"epoch{epoch}.safetensors" for epoch in (1, 3, 5)]


def test_the_record_keeps_what_the_learner_names(whole):
    record = json.loads((whole.folder / "run" / "record.json").read_text())
    rows = pd.read_csv(whole.folder / "run" / "epochs.csv")
    assert record["study"] == "toy" and record["steps_per_epoch"] == 3
    assert record["batches"] == 18 and record["history"] == list(rows["toy_loss"])
    assert record["last"] == {name: rows[name].iloc[-1] for name in Toy.measures.last}
    assert set(record["sha256"]) == {"code", "final_weights", "best_weights", "files"}
    assert record["specification"] == {
        "checkpoint_every": 2,
        "learning_rate": 0.05,
        "steps": 3,
        "threads": 1,
    }


def test_the_best_epoch_has_the_smallest_measure(make_job):
    # At this learning rate the best epoch is neither the first nor the last one.
    specification = replace(SPECIFICATION, learning_rate=0.02, checkpoint_every=1)
    folder = run_toy(make_job(specification), specification).folder / "run"
    rows = pd.read_csv(folder / "epochs.csv")
    best = int(rows["toy_loss"].idxmin())
    assert 0 < best < 5 and best != int(rows["toy_loss"].idxmax())
    record = json.loads((folder / "record.json").read_text())
    assert record["best"] == {"epoch": best, "toy_loss": rows["toy_loss"][best]}
    kept = load_file(folder / "checkpoints" / f"epoch{best}.safetensors")
    found = load_file(folder / "best.safetensors")
    assert all(torch.equal(found[name], kept[name]) for name in kept)


def test_the_progress_shows_the_learners_measure(make_job, capsys):
    whole = run_toy(make_job(SPECIFICATION))
    lines = [json.loads(line) for line in (whole.folder / "progress.jsonl").open()]
    epochs = [line for line in lines if "epoch" in line]
    rows = pd.read_csv(whole.folder / "run" / "epochs.csv")
    assert [line["shown"] for line in epochs] == ["toy_loss"] * 6
    assert [line["measures"]["toy_loss"] for line in epochs] == list(rows["toy_loss"])
    assert set(epochs[0]["measures"]) == {"loss0", "toy_loss"}
    said = capsys.readouterr().err
    assert f"epoch 1/6: loss0 {rows['loss0'][0]:.4f}, toy loss {rows['toy_loss'][0]:.4f}" in said


@pytest.mark.parametrize("save_seconds", [0.0, 60.0])
def test_stopped_after_every_epoch_it_ends_in_the_same_bytes(
    make_job, whole, monkeypatch, save_seconds
):
    job, plain = make_job(SPECIFICATION), run_module._print_progress

    def stopping(epoch, of, told):
        plain(epoch, of, told)
        if epoch + 1 == stop:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(run_module, "_print_progress", stopping)
    # The epoch that ends when the signal comes is not kept.
    for stop in range(2, 7):
        with pytest.raises(PerturbError, match=f"goes on after epoch {stop - 1} of 6"):
            run_toy(job, save_seconds=save_seconds)
    stop = 0
    run_toy(job)
    assert job.results() == whole.results()
    starts = [json.loads(line) for line in (job.folder / "progress.jsonl").open()]
    assert [line["start"] for line in starts if "start" in line] == [0, 1, 2, 3, 4, 5]


def test_killed_at_random_moments_it_ends_in_the_same_bytes(make_job):
    specification = replace(SPECIFICATION, steps=400)
    whole = run_toy(make_job(specification, "long"), specification)
    draw, job, kills = random.Random(1), make_job(specification), 0
    while kills < KILLS:
        process = job.start()
        job.wait(process, job.lines() + 1 + draw.randrange(3))
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said
        kills += 1
    done = job.finish()
    assert done.returncode == 0, done.stderr
    assert job.results() == whole.results()


def test_a_state_is_the_same_written_and_read(tmp_path):
    one, other = Toy(SPECIFICATION), Toy(replace(SPECIFICATION, seed=1))
    state = State.of(train(one), one)
    numbers = json.loads(json.dumps(state.numbers()))
    found = State.join(state.tensors(), numbers)
    load_weights_into(other, found.outcome.last)
    other.load_state_dict(found.learner)
    assert repr(other.state_dict()) == repr(one.state_dict())
    assert found.outcome.history.csv() == state.outcome.history.csv()
    weights = weights_of(one)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in weights_of(other).items())


def test_a_states_tensors_do_not_change_with_the_learner():
    toy = Toy(SPECIFICATION)
    state = State.of(train(toy), toy)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    toy.train(0)
    assert all(torch.equal(before[name], tensor) for name, tensor in state.tensors().items())


def test_what_a_state_cannot_hold_is_an_error():
    toy = Toy(SPECIFICATION)
    toy.history["net"] = nn = torch.nn.Linear(1, 1)
    with pytest.raises(TypeError, match=r"learner\.history\.net: .* no Linear"):
        State.of(train(toy), toy).numbers()
    assert nn


class Diverging(Toy):
    """Its loss, one of its evaluated numbers, or a buffer is not finite from an epoch on."""

    def __init__(self, what):
        super().__init__(SPECIFICATION)
        self.what = what
        self.nets[1].register_buffer("unused", torch.zeros(2))

    def train(self, epoch):
        trained = super().train(epoch)
        if epoch == 2 and self.what == "loss":
            return replace_in(trained, not_finite=1)
        if epoch == 2 and self.what == "buffer":
            self.nets[1].unused[1] = np.inf
        return trained

    def evaluate(self):
        evaluated = super().evaluate()
        if self.what == "evaluation" and self.batches == 9:
            evaluated.series["toy_loss"][1] = np.nan
        return evaluated


def replace_in(trained, **changes):
    return type(trained)(**{**vars(trained), **changes})


@pytest.mark.parametrize(("what", "step"), [("loss", 8), ("evaluation", 9), ("buffer", 9)])
def test_what_is_not_finite_ends_the_run_with_the_epoch_before(what, step):
    toy = Diverging(what)
    outcome = train(toy)
    assert outcome.diverged_at_step == step
    assert len(outcome.history.rows) == len(toy.history["losses"]) == 2
    whole = Toy(SPECIFICATION)
    whole.epochs = 2
    expected = train(whole).last
    assert all(torch.equal(outcome.last[name], tensor) for name, tensor in expected.items())


def test_diverged_in_the_first_epoch_the_series_are_there_and_empty():
    toy = Toy(replace(SPECIFICATION, learning_rate=1e30))
    outcome = train(toy)
    assert outcome.diverged_at_step is not None and outcome.best_epoch is None
    assert {name: array.shape for name, array in outcome.history.arrays().items()} == dict.fromkeys(
        Toy.series, (0, 0)
    )


def test_a_history_refuses_what_does_not_fit_its_files():
    history = History(["a"])
    history.add({"epoch": 0, "x": 1.0}, {"a": np.zeros(3)})
    for row, series in (
        ({"epoch": 1}, {"a": np.zeros(3)}),
        ({"epoch": 1, "x": 1.0}, {"a": np.zeros(4)}),
        ({"epoch": 1, "x": 1.0}, {"b": np.zeros(3)}),
    ):
        with pytest.raises(ValueError, match=r"expected|before"):
            history.add(row, series)
    assert len(history.rows) == len(history.batches["a"]) == 1


def test_a_landscape_looks_at_one_of_the_networks():
    toy = Toy(SPECIFICATION)
    assert network_key(toy) == "net1"
    found = part_of(weights_of(toy), network_key(toy))
    assert list(found) == list(toy.network().state_dict())
    assert torch.equal(found["weight"], toy.nets[1].weight)
