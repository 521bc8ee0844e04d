"""Every method on real folders of people, and ResNet-50 for some steps, where there are any."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from perturb.data import load, prepare
from perturb.data.identities import Sightings
from perturb.models import initial_weights
from perturb.models.described import Source
from perturb.studies.reid.learner import learner
from perturb.studies.reid.settings import ReidSpecification
from perturb.train.determinism import make_deterministic
from perturb.train.driver import train
from perturb.train.learner import Inputs

REAL = Path(os.environ.get("PERTURB_TEST_DATA", "nowhere"))
METHODS = ("ce_2", "self_2", "core_switch-1_2", "act_switch-1_2", "lcnl_2", "tsnt_switch-1_2")


@pytest.fixture(scope="module", params=["viper", "market1501_split_noise-0.5_kind-patterned"])
def real(request, tmp_path_factory):
    """Some identities of a real data set: 64 to train on, 40 to find."""
    folders = {"viper": "VIPeR", "market1501": "Market-1501-v15.09.15"}
    folder = REAL / folders[request.param.partition("_")[0]]
    if not folder.is_dir():
        pytest.skip(f"PERTURB_TEST_DATA has no {folder.name}")
    into = tmp_path_factory.mktemp("data")
    paths = {"npz": into / "data.npz", "manifest": into / "manifest.json"}
    prepare(request.param, REAL, **paths)
    whole = load(**paths)
    kept = min(64, whole.manifest["num_classes"])
    true = whole.train_labels if whole.train_true_labels is None else whole.train_true_labels
    train_on = true < kept
    tested = np.isin(whole.test_labels, np.unique(whole.test_labels)[:40])
    seen = whole.sightings
    return replace(
        whole,
        train_images=whole.train_images[train_on],
        train_labels=whole.train_labels[train_on] % kept,
        train_true_labels=true[train_on],
        test_images=whole.test_images[tested],
        test_labels=whole.test_labels[tested],
        sightings=Sightings(
            seen.train_cameras[train_on], seen.test_cameras[tested], seen.test_is_query[tested]
        ),
        manifest={**whole.manifest, "num_classes": kept},
    )


def made(data, method: str, model: str, source: Source | None = None, **settings):
    make_deterministic(1)
    wanted = ReidSpecification(dataset="real", model=model, method=method, seed=0, **settings)
    initial = initial_weights(model, data.manifest["num_classes"], 128, 3, 0, source=source)
    return learner(wanted, Inputs(torch.device("cpu"), data, initial))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs(real, method):
    outcome = train(made(real, method, "embedding_small", height=32, width=16, learning_rate=0.03))
    assert outcome.diverged_at_step is None
    last = outcome.history.rows[-1]
    chance = 1 / len(np.unique(real.test_labels))
    assert chance / 2 < last["test_mAP"] <= 1 and last["test_mINP"] <= last["test_mAP"]


@pytest.fixture
def few(real):
    """Sixteen of the images."""
    return replace(
        real,
        train_images=real.train_images[:16],
        train_labels=real.train_labels[:16],
        train_true_labels=real.train_true_labels[:16],
    )


def test_resnet50_starts_from_a_local_file_of_imagenet_weights(few, tmp_path):
    network = torchvision.models.resnet50()
    published = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.save(published, tmp_path / "resnet50.pth")
    source = Source("file", str(tmp_path / "resnet50.pth"))
    size = {"batch_size": 8, "height": 64, "width": 32}
    one = made(few, "core_switch-0_1", "embedding_resnet50", source, **size)
    for net in one.networks:
        for name, tensor in net.backbone.state_dict().items():
            assert torch.equal(tensor, published[name]), name
    done = one.train(0)
    assert done.not_finite is None and one.steps == 2
    moved = one.networks[1].backbone.conv1.weight != published["conv1.weight"]
    assert moved.any() and np.isfinite(done.series["gradient_norm_net1"]).all()


def test_resnet50_takes_steps(few):
    one = made(
        few, "act_switch-0_1", "embedding_resnet50_random", batch_size=8, height=64, width=32
    )
    done = one.train(0)
    assert done.not_finite is None and one.steps == 2
    assert np.isfinite(done.series["gradient_norm_net1"]).all()
