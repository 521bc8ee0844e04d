"""timm's and torchvision's networks: their names, their sizes, their layers."""

import re

import pytest
import timm
import timm.optim
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from perturb import models
from perturb.errors import PerturbError
from perturb.models import libraries, registry
from perturb.models.heads import head_of, layers_of
from perturb.names import format, parse


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("resnet18_imagenet", 10, 11_181_642),
        ("resnet18_imagenet", 100, 11_227_812),
        *((name, classes, count)
          for name in ("vit", "deit")
          for classes, count in ((10, 85_225_738), (100, 85_294_948))),
    ],
)  # fmt: skip
def test_parameters_of_the_specification(name, classes, expected):
    with torch.device("meta"):
        assert parameters(models.build(name, classes, 32)) == expected


@pytest.mark.parametrize("name", ["vit", "deit"])
def test_tokens_and_multiplications_of_the_specification(name):
    """Of an image: the patches' convolution, twelve blocks on 17 tokens, the head."""
    with torch.device("meta"):
        network = models.build(name, 10, 32)
    assert network.pos_embed.shape[1] == 17
    counted = []

    def count(module, inputs, output):
        positions = output.numel() // output.shape[1 if output.ndim == 4 else -1]
        counted.append(positions * module.weight.numel())

    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, 32, 32, device="meta"))
    assert sum(counted) == 1_446_256_128


def test_the_lists_of_names_are_the_libraries_own():
    assert libraries.architectures("timm") == set(timm.list_models())
    classifiers = torchvision.models.list_models(module=torchvision.models)
    assert libraries.architectures("torchvision") == set(classifiers)
    assert all(re.fullmatch(r"\w+", name, re.ASCII) for name in timm.list_models())


@pytest.mark.parametrize("name", ["timm:resnet26", "torchvision:mobilenet_v3_small"])
def test_a_librarys_model_has_one_name_that_fits_a_path(name):
    model = models.get(name)
    assert model.name == name.replace(":", "-")
    assert registry.get(model.name) == model
    assert libraries.split(model.name) == tuple(name.split(":"))
    assert not set(model.name) & set('<>:"/\\|?*{} ')
    assert registry.library_of(name) == registry.library_of(model.name) == name.partition(":")[0]


def test_a_name_without_underscores_may_stand_in_front_of_a_method():
    method = parse("timm-resnet26_pugdr_icos2_0.01_30")
    assert (method.model, method.rule, method.epochs) == ("timm-resnet26", "pugd", 30)
    assert format(method) == "timm-resnet26_pugdr_icos_2_0.01_30"
    assert parse("cnn-scratch_sam_0.05_8").model == "cnn-scratch"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet18", "is called 'resnet18_imagenet' here"),
        ("timm:resnet2666", r"timm \d.* has no model 'resnet2666'\. Did you mean 'resnet\d*"),
        ("timm:zzzzqqq", r"list_models\(\) names all"),
        ("timm:resnet18.a1_in1k", r"'\.a1_in1k' says which published weights.*published: <tag>"),
        ("torchvision:fcn_resnet50", "torchvision .* has no model"),
        ("jax:resnet18", "Unknown model"),
    ],
)
def test_names_that_are_refused(name, message):
    with pytest.raises(PerturbError, match=message):
        models.get(name)


def test_options_that_a_model_does_not_take():
    with pytest.raises(PerturbError, match=r"cannot be built with .*bogus=1.*bogus"):
        models.build("timm:resnet10t", 10, 32, options={"bogus": 1})
    with pytest.raises(PerturbError, match="Model 'cnn' takes no options, but width"):
        models.build("cnn", 10, 8, options={"width": 3})


@pytest.mark.parametrize(
    ("name", "options", "channels"),
    [
        ("timm:resnet10t", {}, 1),
        ("timm:vit_tiny_patch16_224", {"patch_size": 8, "drop_path_rate": 0.1, "depth": 2}, 3),
        ("torchvision:mobilenet_v3_small", {}, 1),
        ("torchvision:squeezenet1_0", {}, 3),
        ("torchvision:googlenet", {}, 3),
    ],
)
def test_a_librarys_model_learns_from_32_pixels(name, options, channels):
    torch.manual_seed(0)
    if "squeezenet" in name:
        with pytest.raises(PerturbError, match="no Linear that could be its head"):
            models.build(name, 10, 32, channels)
        return
    model = models.build(name, 10, 32, channels, options)
    logits = model(torch.randn(4, channels, 32, 32))
    assert logits.shape == (4, 10)
    cross_entropy(logits, torch.arange(4)).backward()
    head = head_of(model)[0]
    assert model.get_parameter(f"{head}.weight").grad.abs().sum() > 0
    layers = layers_of(model)
    assert layers.keys() == dict(model.named_parameters()).keys()
    assert layers[f"{head}.weight"] == max(layers.values())
    assert sorted(set(layers.values())) == list(range(max(layers.values()) + 1))


@pytest.mark.parametrize(
    ("name", "size", "count"),
    [("cnn", 8, 3), ("resnet18", 32, 10), ("upanet16", 32, 27), ("resnet18_imagenet", 32, 10)],
)
def test_own_networks_have_layers_in_order(name, size, count):
    with torch.device("meta"):
        model = models.build(name, 10, size)
    layers = layers_of(model)
    assert len(set(layers.values())) == count
    assert layers[next(iter(layers))] == 0
    assert [layer for n, layer in layers.items() if n.startswith(head_of(model)[0])] == [
        count - 1
    ] * 2


def test_vit_layers_are_timms():
    model = models.build("timm:vit_tiny_patch16_224", 10, 32, options={"depth": 3})
    groups = timm.optim.param_groups_layer_decay(model, layer_decay=0.5)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    layers = layers_of(model)
    for name, parameter in model.named_parameters():
        assert scales[id(parameter)] == 0.5 ** (max(layers.values()) - layers[name])
