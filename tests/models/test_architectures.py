import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import perturb.models
from perturb.errors import PerturbError

SMALL = ["upanet16", "resnet18", "cnn"]


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "num_classes", "image_size", "expected"),
    [
        ("upanet16", 10, 32, 1_512_431),
        ("upanet16", 100, 32, 1_557_161),
        ("resnet18", 10, 32, 11_173_962),
        ("cnn", 10, 8, 9 * 24 + 2 * 24 + 9 * 24 * 48 + 2 * 48 + (4 * 48 + 1) * 10),
        # torchvision's published count, the 1000 classes replaced
        ("resnet18_imagenet", 10, 32, 11_689_512 - 513 * 990),
    ],
)
def test_parameter_counts(name, num_classes, image_size, expected):
    assert parameters(perturb.models.build(name, num_classes, image_size)) == expected


def test_upanet_count_from_the_paragraph():
    """The count worked out from the specification's sentences, at another size and channels."""

    def cpa(inputs, planes, both):
        return (1 + both) * (inputs * planes + planes + 2 * planes)

    def convolutions(inputs, planes):
        return 9 * inputs * 2 * planes + 4 * planes + 9 * 2 * planes * planes + 2 * planes

    channels, size, classes = 1, 40, 7
    total = convolutions(channels, 16) + cpa(channels, 16, True)
    for inputs, width in ((16, 16), (32, 32), (64, 64), (128, 128)):
        total += convolutions(inputs, width) + cpa(inputs, width, True)
        for i in range(4):
            wide = width + i * width // 4
            total += convolutions(wide, width // 4) + cpa(wide, width // 4, False)
    total += sum((size // reduction) ** 2 + 1 for reduction in (1, 1, 2, 4, 8))
    total += 2 * 496 + 496 * classes + classes
    assert parameters(perturb.models.build("upanet16", classes, size, channels)) == total


def reference_block(block, x):
    """CPA(x, conv path of x) as the paper writes it: a Linear over channels at every pixel."""

    def linear_and_norm(module):
        convolution, norm = module
        weight = convolution.weight[:, :, 0, 0]
        mapped = torch.einsum("bchw,oc->bohw", x, weight) + convolution.bias[:, None, None]
        return batch_norm(norm, mapped)

    def batch_norm(norm, y):
        mean = y.mean(dim=(0, 2, 3), keepdim=True)
        variance = y.var(dim=(0, 2, 3), keepdim=True, correction=0)
        y = (y - mean) / (variance + norm.eps).sqrt()
        return y * norm.weight[:, None, None] + norm.bias[:, None, None]

    y = x
    for i in (0, 3):
        y = F.conv2d(y, block.convolutions[i].weight, padding=1)
        y = batch_norm(block.convolutions[i + 1], y).clamp(min=0)
    y = y + linear_and_norm(block.attention)
    flat = y.flatten(1)
    y = (
        (flat - flat.mean(1, True)) / (flat.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    ).view_as(y)
    if block.shortcut is not None:
        y = y + linear_and_norm(block.shortcut)
    if block.stride == 2:
        b, c, h, w = y.shape
        y = y.view(b, c, h // 2, 2, w // 2, 2).mean(dim=(3, 5))
    return y


def test_upanet_equals_the_paper():
    """The whole network against a plain reading of the specification, in float64."""
    torch.manual_seed(0)
    model = perturb.models.build("upanet16", 10, 16).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)

    outputs = [reference_block(model.embedding, x)]
    for stage in model.stages:
        y = reference_block(stage.first, outputs[-1])
        for block in stage.dense:
            y = torch.cat([y, reference_block(block, y)], dim=1)
        outputs.append(y)
    assert [tuple(y.shape[1:]) for y in outputs] == [
        (16, 16, 16), (32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)
    ]  # fmt: skip
    vectors = []
    for y, attention in zip(outputs, model.attention, strict=True):
        pooled = y.mean(dim=(2, 3)) + y.flatten(2) @ attention.weight[0] + attention.bias
        variance = pooled.var(1, keepdim=True, correction=0)
        vectors.append((pooled - pooled.mean(1, True)) / (variance + 1e-5).sqrt())
    joined = torch.cat(vectors[::-1], dim=1)
    assert joined.shape == (4, 496)
    joined = (joined - joined.mean(0)) / (joined.var(0, correction=0) + model.norm.eps).sqrt()
    joined = joined * model.norm.weight + model.norm.bias
    expected = joined @ model.head.weight.T + model.head.bias

    torch.testing.assert_close(model(x), expected, rtol=1e-8, atol=1e-8)


def test_upanet_strides_and_shortcuts():
    stages = perturb.models.build("upanet16", 10, 32).stages
    assert [stage.first.stride for stage in stages] == [1, 2, 2, 2]
    for stage in stages:
        assert stage.first.shortcut is not None
        assert all(block.shortcut is None and block.stride == 1 for block in stage.dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "image_size", "channels"),
    [
        ("upanet16", 16, 3), ("upanet16", 8, 1), ("resnet18", 16, 3), ("resnet18", 9, 1),
        ("cnn", 8, 1), ("cnn", 17, 3), ("cnn", 4, 1), ("resnet18_imagenet", 32, 1),
    ],
)  # fmt: skip
def test_forward_and_backward(name, image_size, channels, dtype, deterministic):
    torch.manual_seed(1)
    model = perturb.models.build(name, 10, image_size, channels).to(dtype)
    inputs = torch.randn(6, channels, image_size, image_size, dtype=dtype)
    logits = model(inputs)
    assert logits.shape == (6, 10)
    assert logits.dtype == dtype
    F.cross_entropy(logits, torch.arange(6)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        # A normalisation takes out what UPANet's attention and shortcut biases add.
        if not re.search(r"(attention|shortcut)\.\d\.bias$", parameter_name):
            assert parameter.grad.abs().sum() > 0, parameter_name
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(inputs[:2]), model(inputs)[:2], rtol=1e-4, atol=1e-5)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_resnet18_shapes():
    model = perturb.models.build("resnet18", 10, 32)
    y = model.stem(torch.zeros(1, 3, 32, 32))
    shapes = [tuple(y.shape[1:])]
    for block in model.blocks:
        y = block(y)
        shapes.append(tuple(y.shape[1:]))
    assert shapes == [(64, 32, 32)] * 3 + [
        shape for shape in ((128, 16, 16), (256, 8, 8), (512, 4, 4)) for _ in range(2)
    ]


def test_a_batch_of_one_image_in_evaluation():
    """As the last batch of a test split can be."""
    for name in SMALL:
        model = perturb.models.build(name, 10, 8).eval()
        channels = perturb.models.MODELS[name].channels
        assert model(torch.zeros(1, channels, 8, 8)).shape == (1, 10)


def test_cnn_learns_digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    labels = torch.tensor(labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[360:], order[:360]
    model = perturb.models.build("cnn", 10, 8)
    model.load_state_dict(perturb.models.initial_weights("cnn", 10, 8, seed=0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(10):
        for batch in train[torch.randperm(len(train), generator=shuffle)].split(100):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(inputs[test]).argmax(1) == labels[test]).float().mean()
    assert accuracy >= 0.97


@pytest.mark.parametrize(
    ("name", "image_size", "channels", "message"),
    [
        ("upanet16", 28, 3, "divisible by 8; these have 28"),
        ("upanet16", 0, 3, "8 pixels or more"),
        ("cnn", 3, 1, "4 pixels or more"),
        ("resnet18", 32, 0, "channels is 0"),
        ("vit", 32, 4, "1 or 3 channels"),
        ("vit", 28, 3, "divisible by 8; these have 28"),
    ],
)
def test_unfit_inputs_are_named(name, image_size, channels, message):
    with pytest.raises(PerturbError, match=message):
        perturb.models.build(name, 10, image_size, channels)


def test_one_class_is_refused():
    with pytest.raises(PerturbError, match="num_classes is 1"):
        perturb.models.build("cnn", 1, 8)


@pytest.mark.parametrize("prefix", ["", "real_"])
@pytest.mark.parametrize(
    ("width", "sizes"), [(8, {1: 576, 8: 2304, 15: 36864}), (16, {1: 2304, 8: 9216})]
)
def test_the_layers_of_the_thin_xnor_resnet_have_the_logs_numbers_of_weights(prefix, width, sizes):
    model = perturb.models.build(f"{prefix}xnor_resnet18_{width}", 10, 32)
    assert len(model.units) == 16
    for number, weights in sizes.items():
        assert model.units[number - 1].convolution.weight.numel() == weights


def test_a_binary_convolution_is_its_definition_and_clamps():
    torch.manual_seed(0)
    unit = perturb.models.build("xnor_resnet18_8", 10, 8, 1).units[0].eval()
    unit.convolution.weight.data.mul_(5)
    inputs = torch.randn(3, 8, 8, 8)
    weight = unit.convolution.weight.detach().clamp(-1, 1)
    scale = weight.abs().mean(dim=(1, 2, 3))
    binary = torch.where(unit.norm(inputs) >= 0, 1.0, -1.0)
    expected = F.conv2d(binary, torch.where(weight >= 0, 1.0, -1.0), padding=1)
    expected = F.relu(expected * scale[:, None, None]) + inputs
    assert torch.allclose(unit(inputs), expected, rtol=1e-5, atol=1e-5)


def test_the_second_convolution_of_a_stage_change_sees_the_inputs_a_pixel_on():
    torch.manual_seed(0)
    convolution = perturb.models.build("xnor_resnet18_8", 10, 16, 1).units[4].convolution
    inputs = torch.randn(2, 8, 8, 8).sign()
    shifted = torch.zeros_like(inputs)
    shifted[:, :, :-1, :-1] = inputs[:, :, 1:, 1:]
    expected = torch.cat([convolution.first(inputs), convolution.second(shifted)], dim=1)
    assert torch.equal(convolution(inputs), expected) and expected.shape == (2, 16, 4, 4)


@pytest.mark.long
@pytest.mark.parametrize("prefix", ["", "real_"])
def test_the_thin_xnor_resnets_do_not_diverge_at_the_learning_rate_of_the_study(prefix):
    torch.manual_seed(0)
    model = perturb.models.build(f"{prefix}xnor_resnet18_16", 10, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(12):
        loss = F.cross_entropy(model(torch.randn(32, 3, 32, 32)), torch.randint(10, (32,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss < 5
