"""Layers of real runs on digits: the study's learning rate trains them, a diverged run has none."""

import shutil

import pytest
from msgspec.structs import replace

from perturb import models
from perturb.data import prepare
from perturb.errors import PerturbError
from perturb.jobs.store import Store
from perturb.models.weights import save_weights
from perturb.runs import LAST, RunFiles, read_record
from perturb.studies.gradients import layers, parts
from perturb.studies.gradients.figure_of_layers import make
from perturb.studies.rts.settings import RtsSpecification
from perturb.train.run import run
from perturb.train.settings import Limit
from perturb.train.trained import TrainedFiles

SPECIFICATION = RtsSpecification(
    study="rts",
    dataset="digits",
    model="real_xnor_resnet18_16",
    method="sgd_3",
    seed=0,
    batch_size=100,
    limit=Limit(1000, 100),
)


@pytest.fixture
def trained(tmp_path):
    def make(specification):
        data = {"images": tmp_path / "digits.npz", "manifest": tmp_path / "digits.manifest.json"}
        prepare("digits", "", npz=data["images"], manifest=data["manifest"])
        initial = tmp_path / "seed0.safetensors"
        save_weights(initial, models.initial_weights(specification.model, 10, 8, 1, 0))
        files = RunFiles(tmp_path / "run", **data, initial=initial)
        run(specification, files)
        return TrainedFiles(**data, record=files.record, weights=files.file(LAST))

    return make


SETTINGS = {
    "dataset": "digits",
    "method": "sgd_3",
    "seed": 0,
    "models": {SPECIFICATION.model: [1]},
    "images": 4,
    "windows": [0.1],
    "learning_rates": 1,
}


def test_layers_of_a_run_and_none_of_one_that_diverged(trained, tmp_path):
    folder = tmp_path / "gradients" / "smoke"
    outputs = {"layers": folder / "layers.csv", "record": folder / "record.json"}
    files = trained(SPECIFICATION)
    assert read_record(files.record)["status"] == "ok"
    store = Store(tmp_path / "store", tmp_path)
    layers.run(SPECIFICATION, SETTINGS, files, outputs, store=store)
    before = {name: path.read_bytes() for name, path in outputs.items()}
    shutil.rmtree(folder)
    files.images.write_bytes(b"damaged")  # what is put back needs no image
    layers.run(SPECIFICATION, SETTINGS, files, outputs, store=store)
    assert {name: path.read_bytes() for name, path in outputs.items()} == before
    assert outputs["layers"].read_text().count("real_xnor_resnet18_16") == 12
    tell(outputs["layers"], tmp_path)
    with pytest.raises(PerturbError, match="no layers of real_xnor_resnet18_16 are measured"):
        layers.run(SPECIFICATION, SETTINGS | {"models": {"cnn": [1]}}, files, outputs)
    wild = replace(SPECIFICATION, learning_rate=1e9)
    files = trained(wild)
    with pytest.raises(PerturbError, match=r"diverged at step \d+, so it has no trained layers"):
        layers.run(wild, SETTINGS, files, outputs)


def tell(path, results):
    """The table shows the best step of each estimate, and leads to the run that it is of."""
    told = {"name": "smoke", "title": "A title", "scale": "smoke"}
    found = parts.layers(told, {"layers": [path]}, results)
    assert found.name == "smoke_layers" and len(found.frame) == 12
    (group,) = found.groups
    assert group.heading == SPECIFICATION.model
    best = found.frame.groupby("estimator")["decrease"].max()
    shown = {row[2].text: float(row[6].text.replace("−", "-")) for row in group.rows}
    assert shown == {name: pytest.approx(value, rel=0.05) for name, value in best.items()}
    (source,) = found.provenance.to_dict("records")
    assert source["run"] == "runs/digits/real_xnor_resnet18_16/sgd_3/seed0"
    assert source["record"] == "gradients/smoke/record.json"
    csv = results / "table.csv"
    found.frame.to_csv(csv, index=False)
    assert make(told, {"table": [csv]}, results).axes
    path.write_text(path.read_text().replace("ste", "STE"))
    with pytest.raises(PerturbError, match="not what its record says"):
        layers.gather([path])
