"""A run's folder, and its first network opened again for a landscape."""

import pytest
import torch
from safetensors.torch import load_file

from perturb.data import prepare
from perturb.landscape.curvature import Objective
from perturb.models import initial_weights
from perturb.models.weights import save_weights
from perturb.runs import RunFiles, read_record
from perturb.studies.reid.settings import ReidSpecification
from perturb.train.run import run
from perturb.train.trained import TrainedFiles, TrainedRun

WANTED = ReidSpecification(
    dataset="photo_patches_noise-0.5", model="reid_small", method="core_selective-true_switch-1_2",
    seed=0, height=16, width=16, learning_rate=0.03,
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    found = RunFiles(
        folder=folder / "run",
        images=folder / "data.npz",
        manifest=folder / "manifest.json",
        initial=folder / "initial.safetensors",
    )
    prepare(WANTED.dataset, folder, npz=found.images, manifest=found.manifest)
    save_weights(found.initial, initial_weights("reid_small", 48, 32, 3, 0))
    run(WANTED, found)
    return found


def test_its_folder(files):
    record = read_record(files.record)
    assert record["status"] == "ok" and record["networks"] == 2
    assert record["wrong_labels"] == 384 and record["first_epochs"] == 1
    assert set(record["last"]) >= {"test_mAP", "test_mINP", "test_mAP_net1", "train_loss"}
    assert record["best"]["test_mAP"] >= record["last"]["test_mAP"]
    kept = load_file(files.file("last.safetensors"))
    assert {name.partition(".")[0] for name in kept} == {"net0", "net1"}


def test_the_first_network_is_what_a_landscape_looks_at(files):
    paths = TrainedFiles(files.images, files.manifest, files.record, files.file("last.safetensors"))
    opened = TrainedRun.load(WANTED, paths)
    assert opened.key == "net0"
    kept = load_file(files.file("last.safetensors"))
    assert torch.equal(opened.weights["classifier.bias"], kept["net0.classifier.bias"])
    images, labels = opened.images("train", 40)
    assert len(labels) == 40
    objective = Objective(opened.model.requires_grad_(True), [opened.batch(images, labels)])
    loss, gradient = objective.loss_and_gradient()
    assert 0 < loss < 10 and gradient.isfinite().all() and gradient.any()
