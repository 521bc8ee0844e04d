import hashlib
from pathlib import Path

import pytest
import torch
import torchvision

from perturb import models
from perturb.errors import PerturbError
from perturb.models import pretrained
from perturb.models.described import Source
from perturb.models.reidentification import ReidNetwork


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_resnet50_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = models.build("embedding_resnet50", 751, 128)
    assert count(network) == 24_943_407
    kinds = [type(layer).__name__ for layer in network.embedding]
    assert kinds == ["Linear", "BatchNorm1d", "LeakyReLU", "Dropout"]


@pytest.mark.parametrize("size", [(32, 32), (128, 64), (40, 24)])
def test_any_size_gives_logits_and_features(size):
    torch.manual_seed(0)
    network = models.build("embedding_small", 7, 32).eval()
    inputs = torch.randn(3, 3, *size)
    logits, features = network.forward_both(inputs)
    assert logits.shape == (3, 7) and features.shape == (3, 96)
    assert torch.equal(network(inputs), logits)
    assert torch.equal(network.features(inputs), features)
    in_head = {id(p) for p in network.head_parameters()}
    backbone = {id(p) for p in network.backbone.parameters()}
    assert in_head | backbone == {id(p) for p in network.parameters()} and not in_head & backbone


@pytest.fixture
def shallow(monkeypatch):
    """A ResNet-50 of one block a stage in torchvision's place: the names of ImageNet's file."""

    def build():
        return torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1])

    monkeypatch.setattr(torchvision.models, "resnet50", build)
    return build


def test_imagenet_weights_load_from_a_local_file(shallow, tmp_path, monkeypatch):
    torch.manual_seed(1)
    published = shallow().state_dict()
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(published, folder / "file")
    name = f"resnet50-{hashlib.sha256((folder / 'file').read_bytes()).hexdigest()[:8]}.pth"
    (folder / "file").rename(folder / name)
    known = pretrained.Published("resnet50", (name,), None, f"https://weights.invalid/{name}", 1)
    monkeypatch.setattr(pretrained, "published", lambda model, tag: known)
    weights = models.initial_weights("embedding_resnet50", 5, 128, 3, 0, data_root=tmp_path)
    backbone = {k: v for k, v in weights.items() if k.startswith("backbone.")}
    assert backbone.keys() == {f"backbone.{k}" for k in published if not k.startswith("fc.")}
    assert all(torch.equal(v, published[k.removeprefix("backbone.")]) for k, v in backbone.items())
    network = models.build("embedding_resnet50", 5, 128)
    assert isinstance(network, ReidNetwork)
    network.load_state_dict(weights)
    drawn = models.initial_weights("embedding_resnet50_random", 5, 128, 3, 0)
    assert not torch.equal(drawn["backbone.conv1.weight"], published["conv1.weight"])


def from_file(path: Path):
    return models.initial_weights(
        "embedding_resnet50", 5, 128, 3, 0, source=Source("file", str(path))
    )


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A file of weights as torchvision gives them, of the whole network of ImageNet's classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = torchvision.models.resnet50()
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(network.state_dict(), path)
    return path


def test_weights_of_a_file_of_ones_own_are_the_backbones(imagenet, tmp_path):
    given, found = torch.load(imagenet, weights_only=True), from_file(imagenet)
    backbone = {k for k in found if k.startswith("backbone.")}
    assert backbone == {f"backbone.{k}" for k in given if not k.startswith("fc.")}
    assert all(torch.equal(found[k], given[k.removeprefix("backbone.")]) for k in backbone)
    # So is the file of a whole network of this kind: its embedding too, under a new classifier.
    other = {"embedding.0.bias": torch.ones(512), "classifier.bias": torch.ones(5)}
    torch.save(found | other, tmp_path / "whole.pth")
    again = from_file(tmp_path / "whole.pth")
    wanted = found | {"embedding.0.bias": torch.ones(512)}
    assert all(torch.equal(again[k], wanted[k]) for k in wanted)


def test_a_file_that_does_not_fit_is_one_message(tmp_path):
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), tmp_path / "other.pth")
    with pytest.raises(PerturbError, match=r"other\.pth: these weights do not fit .*layer1\.0"):
        from_file(tmp_path / "other.pth")
