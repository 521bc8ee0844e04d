"""Layers of real runs on digits: the study's learning rate trains them, a diverged run has none."""

from dataclasses import replace

import pytest

from perturb import models
from perturb.analysis.runs import read_record
from perturb.config import Limit, RunSpecification
from perturb.data import prepare
from perturb.errors import PerturbError
from perturb.gradients.run_layers import run_layers
from perturb.gradients.settings import Layers
from perturb.models.weights import save_weights
from perturb.train.run import RunFiles, run
from perturb.train.trained import TrainedFiles

from ..train.trainer import OUTPUTS

SPECIFICATION = RunSpecification(
    "digits", "real_xnor_resnet18_16", "sgd_3", 0, batch_size=100, limit=Limit(1000, 100)
)


@pytest.fixture
def trained(tmp_path):
    def make(specification):
        data = {"images": tmp_path / "digits.npz", "manifest": tmp_path / "digits.manifest.json"}
        prepare("digits", "", npz=data["images"], manifest=data["manifest"])
        initial = tmp_path / "seed0.safetensors"
        save_weights(initial, models.initial_weights(specification.model, 10, 8, 1, 0))
        outputs = {name: tmp_path / "run" / file for name, file in OUTPUTS.items()}
        run(specification, RunFiles(**data, initial=initial, **outputs))
        return TrainedFiles(**data, record=outputs["record"], weights=outputs["last"])

    return make


def test_layers_of_a_run_and_none_of_one_that_diverged(trained, tmp_path):
    layers = Layers("digits", "sgd_3", 0, {SPECIFICATION.model: (1,)}, 4, (0.1,), 1)
    outputs = {"layers": tmp_path / "layers.csv", "record": tmp_path / "record.json"}
    files = trained(SPECIFICATION)
    assert read_record(files.record)["status"] == "ok"
    run_layers(SPECIFICATION, layers, files, outputs)
    assert outputs["layers"].read_text().count("real_xnor_resnet18_16") == 12
    wild = replace(SPECIFICATION, learning_rate=1e9)
    files = trained(wild)
    with pytest.raises(PerturbError, match=r"diverged at step \d+, so it has no trained layers"):
        run_layers(wild, layers, files, outputs)
