"""Weights that somebody made: where they are looked for, and what of them a network takes."""

import hashlib
import socket

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from perturb import models
from perturb.errors import PerturbError
from perturb.models import pretrained
from perturb.models.described import Source

# ViT-B/16's width cut down: all its names, and the same resampling of patches and positions.
NARROW = {"embed_dim": 24, "depth": 2, "num_heads": 2}
VIT = "vit_base_patch16_224"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No cache of this machine is seen, and any use of a network fails the test."""

    def refuse(*arguments, **options):
        raise AssertionError("a network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def published_vit(seed=0, classes=1000):
    """A checkpoint as timm publishes it: 224 pixels, patches of 16, random weights."""
    torch.manual_seed(seed)
    return timm.create_model(VIT, num_classes=classes, **NARROW)


def save(network, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


def start(path, name="vit", **options):
    return models.initial_weights(
        name, 10, 32, 3, 0, options=NARROW | options, source=Source("file", str(path))
    )


def test_a_224_16_checkpoint_fits_the_32_8_model_with_only_the_head_new(tmp_path):
    path = save(published_vit(), tmp_path / "vit.safetensors")
    weights = start(path)
    fresh = models.initial_weights("vit", 10, 32, options=NARROW, source=Source("random"))
    overlay = {"file": str(path)}
    timms = timm.create_model(
        VIT,
        True,
        img_size=32,
        patch_size=8,
        num_classes=10,
        pretrained_cfg_overlay=overlay,
        **NARROW,
    )
    assert {
        name for name, tensor in timms.state_dict().items() if not tensor.equal(weights[name])
    } == {"head.weight"}
    for name in ("head.weight", "head.bias"):
        assert weights[name].equal(fresh[name])
    assert weights["pos_embed"].shape == (1, 17, 24)

    network = models.build("vit", 10, 32, options=NARROW)
    network.load_state_dict(weights)
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        own, theirs = (one.eval().forward_features(images) for one in (network, timms))
    assert own.equal(theirs) and own.abs().sum() > 0


def test_a_checkpoint_of_a_run_at_another_size_and_in_grey_fits_too(tmp_path):
    weights = start(save(published_vit(), tmp_path / "vit.safetensors"))
    save_file(weights, tmp_path / "last.safetensors")
    grey = models.initial_weights(
        "vit",
        4,
        16,
        1,
        0,
        options=NARROW,
        source=Source("file", str(tmp_path / "last.safetensors")),
    )
    assert grey["patch_embed.proj.weight"].shape == (24, 1, 8, 8)
    torch.testing.assert_close(
        grey["patch_embed.proj.weight"], weights["patch_embed.proj.weight"].sum(1, keepdim=True)
    )
    assert grey["pos_embed"].shape == (1, 5, 24) and grey["head.weight"].shape == (4, 24)


@pytest.mark.parametrize("classes", [0, 10, 21])
def test_the_head_is_new_whatever_classes_the_checkpoint_had(tmp_path, classes):
    weights = start(save(published_vit(classes=classes), tmp_path / "vit.safetensors"))
    fresh = models.initial_weights("vit", 10, 32, options=NARROW, source=Source("random"))
    assert weights["head.weight"].equal(fresh["head.weight"])
    assert not weights["blocks.0.attn.qkv.weight"].equal(fresh["blocks.0.attn.qkv.weight"])


def test_a_checkpoint_that_does_not_fit_is_one_message_with_the_first_differences(tmp_path):
    state = published_vit().state_dict()
    state = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.1.")}
    path = tmp_path / "cut.pth"
    torch.save({"model": state | {"extra": torch.zeros(2)}, "epoch": 3}, path)
    with pytest.raises(PerturbError) as error:
        start(path)
    text = str(error.value)
    assert "cut.pth: these weights do not fit model 'vit'" in text
    assert "blocks.1.norm1.weight is missing" in text and "and 10 more" in text
    assert len(text) < 400


def test_another_networks_weights_are_told_by_name_and_shape(tmp_path):
    other = models.initial_weights("cnn", 10, 8, 3)
    path = tmp_path / "other.safetensors"
    save_file(other, path)
    with pytest.raises(
        PerturbError, match=r"0\.weight is \(24, 3, 3, 3\), the model's \(24, 1, 3, 3\)"
    ):
        models.initial_weights("cnn", 10, 8, 1, source=Source("file", str(path)))
    with pytest.raises(PerturbError, match=r"stem\.0\.weight is missing.*more"):
        models.initial_weights("resnet18", 10, 32, source=Source("file", str(path)))


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(PerturbError, match=r"broken\.pth: no file of weights, or a damaged one"):
        models.initial_weights("cnn", 10, 8, source=Source("file", str(path)))


def test_a_file_that_is_not_there_and_one_that_holds_no_weights(tmp_path):
    with pytest.raises(PerturbError, match="gone: no such file of weights"):
        models.initial_weights("cnn", 10, 8, source=Source("file", str(tmp_path / "gone")))
    torch.save({"lr": 0.1}, tmp_path / "log.pth")
    with pytest.raises(PerturbError, match="not the weights of a network: it holds lr"):
        models.initial_weights("cnn", 10, 8, source=Source("file", str(tmp_path / "log.pth")))


def in_hub_cache(home, repository, content):
    """Lay a file out as the hub's client does: a blob called by its hash, and a link to it."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / "c0ffee" / "model.safetensors"
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    (folder / "refs" / "main").write_text("c0ffee")
    link.symlink_to(blob)
    return blob


def test_the_hubs_cache_is_found_without_a_network(tmp_path):
    content = save(published_vit(), tmp_path / "vit.safetensors").read_bytes()
    label = "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"
    blob = in_hub_cache(tmp_path / "huggingface", label, content)
    found = pretrained.find(models.get("vit"), data_root=tmp_path / "nowhere")
    assert found.resolve() == blob
    weights = models.initial_weights("vit", 10, 32, options=NARROW, data_root=tmp_path / "nowhere")
    assert weights["blocks.0.attn.qkv.weight"].equal(
        published_vit().state_dict()["blocks.0.attn.qkv.weight"]
    )
    blob.write_bytes(content[:-1])
    with pytest.raises(PerturbError, match="damaged, its sha256 should begin with"):
        pretrained.find(models.get("vit"))


def test_the_data_root_comes_before_the_cache(tmp_path):
    name = "deit_base_patch16_224.fb_in1k.safetensors"
    path = save(published_vit(1), tmp_path / "data" / "weights" / name)
    in_hub_cache(tmp_path / "huggingface", "timm/deit_base_patch16_224.fb_in1k", b"other")
    assert pretrained.find(models.get("deit"), data_root=tmp_path / "data") == path


def test_no_weights_is_one_message_that_says_all(tmp_path):
    with pytest.raises(PerturbError) as error:
        pretrained.find(models.get("vit"), data_root=tmp_path / "data")
    label = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
    for part in (
        f"{label}.safetensors in {tmp_path / 'data' / 'weights'}",
        "346 MB",
        "HF_HOME",
        str(tmp_path / "huggingface" / "hub"),
        f"https://huggingface.co/timm/{label}/resolve/main/model.safetensors",
        f"hf download timm/{label} model.safetensors",
        "nothing is downloaded unasked",
    ):
        assert part in str(error.value)
    with pytest.raises(
        PerturbError, match=r"resnet18-f37072fd\.pth in .*45 MB|45 MB.*f37072fd\.pth"
    ):
        models.initial_weights("resnet18_imagenet", 10, 32, data_root=tmp_path)


def test_torchvisions_file_is_verified_and_loaded_under_a_fresh_head(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    # As old checkpoints are.
    state = {k: v + 1 for k, v in state.items() if not k.endswith("num_batches_tracked")}
    path = tmp_path / "weights" / "resnet18-f37072fd.pth"
    path.parent.mkdir()
    torch.save(state, path)
    with pytest.raises(PerturbError, match="should begin with f37072fd"):
        models.initial_weights("resnet18_imagenet", 7, 32, data_root=tmp_path)
    source = Source("file", str(path))
    first, again, other = (
        models.initial_weights("resnet18_imagenet", 7, 32, seed=seed, source=source)
        for seed in (0, 0, 1)
    )
    assert first["network.conv1.weight"].equal(state["conv1.weight"])
    assert first["network.bn1.running_mean"].equal(state["bn1.running_mean"])
    assert first["network.fc.weight"].shape == (7, 512)
    assert first["network.fc.weight"].equal(again["network.fc.weight"])
    assert not first["network.fc.weight"].equal(other["network.fc.weight"])


def test_the_published_weights_are_the_libraries_own():
    vit, deit = (pretrained.published(models.get(name)) for name in ("vit", "deit"))
    assert vit.label == "vit_base_patch16_224.augreg2_in21k_ft_in1k"
    assert deit.label == "deit_base_patch16_224.fb_in1k"
    assert "deit_base_patch16_224-b5f2ef4d.pth" in deit.files
    other = pretrained.published(models.get("vit"), "augreg_in21k_ft_in1k")
    assert other.hub[0] == "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"
    with pytest.raises(
        PerturbError, match=r"timm knows no published weights of tag 'augreg3'.*augreg"
    ):
        pretrained.published(models.get("vit"), "augreg3")
    weights = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT
    found = pretrained.published(models.get("torchvision:mobilenet_v3_small"))
    assert (found.url, found.megabytes) == (weights.url, 10)
