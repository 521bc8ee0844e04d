"""A model that starts from a run: whole and finished, or one message."""

import json

import pytest

from perturb.errors import PerturbError
from perturb.files import sha256_file
from perturb.models.described import Described, Source
from perturb.runs import write_record

MODEL = Described("cnn-tuned", "cnn", Source("run", "digits/cnn/sgd_2"))


@pytest.fixture
def run(tmp_path):
    """The record and the last weights of a run that ended with a status."""

    def make(status):
        weights = tmp_path / "last.safetensors"
        weights.write_bytes(b"weights")
        record = {
            **{"dataset": "digits", "model": "cnn", "method": "sgd_2", "seed": 0},
            **{"status": status, "diverged_at_step": 7, "last": {}, "specification": {}},
            **{"device": "", "versions": {}},
            "sha256": {"files": {"last.safetensors": sha256_file(weights)}},
        }
        write_record(tmp_path / "record.json", record)
        return str(tmp_path / "record.json"), str(weights)

    return make


def test_a_finished_run_is_a_file_of_weights(run):
    record, weights = run("ok")
    assert MODEL.source_in("", record, weights) == Source("file", weights)


def test_a_run_that_diverged_is_refused(run):
    with pytest.raises(PerturbError, match="this run diverged at step 7, so model 'cnn-tuned'"):
        MODEL.source_in("", *run("diverged"))


def test_weights_that_are_not_those_of_the_record_are_refused(run):
    record, weights = run("ok")
    with open(weights, "ab") as file:
        file.write(b"more")
    with pytest.raises(PerturbError, match="damaged or edited"):
        MODEL.source_in("", record, weights)


def test_others_need_no_run():
    assert Described("a-b", "cnn", Source()).source_in("") == Source()
    named = Described("a-b", "cnn", Source("file", "sha256"))
    assert named.source_in("/where/it/lies") == Source("file", "/where/it/lies")


def test_a_description_is_read_back():
    model = Described("vit-a", "vit", Source("published", "x"), {"depth": 2, "class_token": False})
    assert Described.from_json(model.to_json()) == model
    assert list(json.loads(model.to_json())) == ["name", "network", "options", "source"]
