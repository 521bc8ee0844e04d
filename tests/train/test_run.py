"""One run: what it leaves, under each protocol and option, and that it is the same again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from perturb import models
from perturb.data import load
from perturb.data.feeding import make_feeds
from perturb.data.protocol import balanced_subset, make_splits
from perturb.errors import PerturbError
from perturb.models.weights import save_weights
from perturb.runs import RunFiles
from perturb.studies.rts.settings import RtsSpecification
from perturb.train.classifier import evaluate
from perturb.train.run import run
from perturb.train.settings import Limit

from .trainer import OUTPUTS

SPECIFICATION = RtsSpecification(
    dataset="digits", model="cnn", method="pugd_2", seed=0, batch_size=200
)


@pytest.fixture
def train(inputs, tmp_path):
    def make(specification, name="run") -> Path:
        folder = tmp_path / name
        run(specification, RunFiles(folder, **inputs))
        return folder

    return make


def record_of(folder):
    return json.loads((folder / "record.json").read_text())


def test_a_run_is_the_same_again_whatever_ran_before(train):
    first = train(SPECIFICATION, "first")
    torch.rand(7)
    np.random.rand(7)
    train(replace(SPECIFICATION, method="sam_0.05_1", augment="cv_rts"), "between")
    again = train(SPECIFICATION, "again")
    for file in OUTPUTS:
        assert (first / file).read_bytes() == (again / file).read_bytes(), file
    other = train(replace(SPECIFICATION, seed=1), "other")
    assert (
        record_of(first)["sha256"]["final_weights"] != record_of(other)["sha256"]["final_weights"]
    )


def test_what_is_recorded_is_what_the_checkpoint_does(train, inputs):
    folder = train(SPECIFICATION)
    record = record_of(folder)
    data = load(inputs["images"], inputs["manifest"])
    feeds = make_feeds(
        make_splits(data, SPECIFICATION), data.manifest, SPECIFICATION, torch.device("cpu")
    )
    model = models.build("cnn", 10, 8, 1)
    model.load_state_dict(load_file(folder / "last.safetensors"))
    found = evaluate(model, feeds["test"])
    assert found.accuracy == record["last"]["test_accuracy"]
    assert found.loss == pytest.approx(record["last"]["test_loss"], rel=1e-6)
    epochs = pd.read_csv(folder / "epochs.csv")
    assert list(epochs["gradient_evaluations"]) == [16, 32]
    assert list(epochs["learning_rate"]) == [0.1, 0.05]
    assert (epochs["validation_loss"] == epochs["test_loss"]).all()
    assert (folder / "timing.csv").read_text().startswith("epoch,seconds\n0,")


def test_holdout_chooses_the_epoch_on_images_that_neither_train_nor_test(train, inputs):
    specification = replace(SPECIFICATION, protocol="holdout", method="sgd_3")
    splits = make_splits(load(inputs["images"], inputs["manifest"]), specification)
    sizes = {name: len(split) for name, split in splits.items()}
    assert sizes["train"] + sizes["validation"] == 1437
    assert sizes["validation"] == pytest.approx(0.2 * 1437, abs=1)
    keys = {name: {image.tobytes() for image in split.images} for name, split in splits.items()}
    assert not keys["validation"] & keys["train"]
    folder = train(specification)
    record, epochs = record_of(folder), pd.read_csv(folder / "epochs.csv")
    best = int(epochs["validation_accuracy"].idxmax())
    assert record["best"]["epoch"] == best
    assert record["best"]["test_accuracy"] == epochs["test_accuracy"][best]
    assert not (epochs["validation_loss"] == epochs["test_loss"]).any()


@pytest.mark.parametrize(
    "change",
    [
        {"augment": "cv_rts"},
        {"augment": "none"},
        {"bn_second_pass": True},
        {"schedule_clock": "lagged", "method": "pugdr_isin_2_0.01_2"},
        {"threads": 2},
    ],
    ids=str,
)
def test_each_option_is_recorded_and_changes_what_is_computed(train, change):
    base = SPECIFICATION
    if "method" in change:
        base = replace(base, method=change["method"])
    plain, changed = train(base, "plain"), train(replace(base, **change), "changed")
    first, second = record_of(plain), record_of(changed)
    for key in set(change) - {"method"}:
        assert second["specification"][key] == change[key]
    if "threads" not in change:
        assert first["sha256"]["final_weights"] != second["sha256"]["final_weights"]


def test_checkpoints_by_epoch(train):
    folder = train(replace(SPECIFICATION, method="sgd_4", checkpoint_every=2))
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["epoch1.safetensors", "epoch3.safetensors"]
    last, final = (
        load_file(folder / "last.safetensors"),
        load_file(folder / "checkpoints" / "epoch3.safetensors"),
    )
    assert all(torch.equal(last[name], final[name]) for name in last)


def test_a_timed_method_records_when_it_switched(train):
    folder = train(replace(SPECIFICATION, method="pugdt_1_3"))
    record, epochs = record_of(folder), pd.read_csv(folder / "epochs.csv")
    assert (record["trigger_epoch"], record["perturbing_from"]) == (0, 1)
    assert list(epochs["perturbing"]) == [0, 1, 1]
    assert list(epochs["perturbation_norm_mean"].round(3)) == [0, 1, 1]
    assert record["gradient_evaluations"] == 8 * (1 + 2 + 2)


def test_a_timed_method_is_told_of_each_epoch(train):
    record = record_of(train(replace(SPECIFICATION, method="pugdt_var_6init_t1gamma1000_k2")))
    assert (record["trigger_epoch"], record["perturbing_from"]) == (3, 4)
    assert record["gradient_evaluations"] == 8 * (1 + 1 + 1 + 1 + 2 + 2)


def test_a_subset_is_balanced_and_part_of_every_larger_one():
    labels = np.repeat(np.arange(5), [100, 80, 60, 3, 20])
    small, large = balanced_subset(labels, 20, 0), balanced_subset(labels, 60, 0)
    assert set(small) <= set(large)
    assert np.array_equal(np.bincount(labels[small]), [5, 4, 4, 3, 4]) or (
        np.bincount(labels[small]).max() - 4 <= 1
    )
    assert np.bincount(labels[large])[3] == 3
    assert not np.array_equal(small, balanced_subset(labels, 20, 1))
    assert len(balanced_subset(labels, 1000, 0)) == len(labels)


def test_a_limit_thins_train_and_test(inputs):
    specification = replace(SPECIFICATION, limit=Limit(train=50, test=30))
    splits = make_splits(load(inputs["images"], inputs["manifest"]), specification)
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 50,
        "validation": 30,
        "test": 30,
    }
    assert splits["validation"] is splits["test"]


def test_weights_of_another_model_are_refused(inputs, tmp_path):
    wrong = tmp_path / "wrong.safetensors"
    save_weights(wrong, models.initial_weights("cnn", 7, 8, 1, 0))
    with pytest.raises(PerturbError, match=r"wrong\.safetensors: these weights do not fit"):
        run(SPECIFICATION, RunFiles(tmp_path, **(inputs | {"initial": wrong})))
    assert not (tmp_path / "record.json").exists()


def test_asking_for_a_gpu_that_is_not_there_is_one_message(train):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(PerturbError, match="PyTorch sees no GPU"):
        train(replace(SPECIFICATION, device="cuda"))
