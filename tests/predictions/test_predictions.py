"""What a run says of each test image is what its record counts; nothing is trained for it."""

import json

import numpy as np
import pytest
from msgspec.structs import replace

from perturb import models
from perturb.data import load, prepare
from perturb.errors import PerturbError
from perturb.files import read_json, write_json
from perturb.jobs.store import Store
from perturb.models.weights import load_weights, save_weights
from perturb.predictions import files as predictions
from perturb.predictions.run import predict
from perturb.runs import Run, RunFiles
from perturb.studies.rts.settings import RtsSpecification
from perturb.train.run import run
from perturb.train.settings import Limit
from perturb.train.trained import TrainedFiles

SPECIFICATION = RtsSpecification(
    dataset="digits", model="cnn", method="sgd_2", seed=0, batch_size=200
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    files = {"images": folder / "digits.npz", "manifest": folder / "digits.manifest.json"}
    prepare("digits", "", npz=files["images"], manifest=files["manifest"])
    files["initial"] = folder / "seed0.safetensors"
    save_weights(files["initial"], models.initial_weights("cnn", 10, 8, 1, 0))
    return files


def trained(folder, inputs, specification):
    run(specification, RunFiles(folder, **inputs))
    named = {name: inputs[name] for name in ("images", "manifest")}
    return TrainedFiles(**named, record=folder / "record.json", weights=folder / "last.safetensors")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "bfloat16", "channels_last": True},
        {"limit": Limit(train=100, test=50)},
        {"protocol": "holdout"},
    ],
)
def test_they_come_to_the_accuracy_of_the_record(tmp_path, inputs, settings):
    specification = replace(SPECIFICATION, **settings)
    files = trained(tmp_path / "run", inputs, specification)
    predict(specification, files, tmp_path / "last.npz")
    found = predictions.read(tmp_path / "last.npz")
    accuracy = read_json(files.record, "")["last"]["test_accuracy"]
    assert found.correct.mean() == accuracy and not found.differs
    labels = load(inputs["images"], inputs["manifest"]).test_labels[found.indices]
    np.testing.assert_array_equal(found.predicted == labels, found.correct)
    assert len(labels) == (50 if "limit" in settings else 360)
    before = (tmp_path / "last.npz").read_bytes()
    predict(specification, files, tmp_path / "last.npz")
    assert (tmp_path / "last.npz").read_bytes() == before


def test_a_run_of_other_weights_is_refused(tmp_path, inputs):
    files = trained(tmp_path / "run", inputs, SPECIFICATION)
    weights = load_weights(files.weights)
    save_weights(files.weights, {name: tensor + 1 for name, tensor in weights.items()})
    with pytest.raises(PerturbError, match="not the final weights"):
        predict(SPECIFICATION, files, tmp_path / "last.npz")


def test_a_run_that_diverged_predicts_nothing(tmp_path, inputs):
    specification = replace(SPECIFICATION, learning_rate=1e30)
    files = trained(tmp_path / "run", inputs, specification)
    assert json.loads(files.record.read_text())["status"] == "diverged"
    predict(specification, files, tmp_path / "last.npz")
    assert not len(predictions.read(tmp_path / "last.npz").indices)


def test_the_store_puts_them_back(tmp_path, inputs):
    files = trained(tmp_path / "run", inputs, SPECIFICATION)
    store = Store(tmp_path / "store", tmp_path)
    predict(SPECIFICATION, files, tmp_path / "a" / "last.npz", store)
    files.weights.unlink()  # not read again
    predict(SPECIFICATION, files, tmp_path / "b" / "last.npz", store)
    found = [(tmp_path / name / "last.npz").read_bytes() for name in "ab"]
    assert found[0] == found[1]


def test_another_accuracy_than_the_records_is_noticed(tmp_path, inputs):
    files = trained(tmp_path / "run", inputs, SPECIFICATION)
    record = read_json(files.record, "")
    record["last"]["test_accuracy"] += 1 / 360
    write_json(files.record, record)
    predict(SPECIFICATION, files, tmp_path / "last.npz")
    assert predictions.read(tmp_path / "last.npz").differs


def test_the_file_and_the_record_of_a_run_find_each_other():
    one = Run("digits", "cnn", "sgd_2", 3)
    assert predictions.file_of(one) == "predictions/digits/cnn/sgd_2/seed3/last.npz"


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "last.npz").write_bytes(b"nothing")
    with pytest.raises(PerturbError, match=r"last\.npz"):
        predictions.read(tmp_path / "last.npz")
