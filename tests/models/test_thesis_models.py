"""The models of the thesis log: parameters and multiply-accumulates as it states them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import perturb.models


@pytest.mark.parametrize(
    ("name", "size", "channels", "parameters", "products"),
    [
        ("mlp", 28, 1, 535_818, 535_040),
        ("resnet34", 32, 3, 21_282_122, 1_159_402_496),
        ("resnet32", 32, 3, 464_154, 68_862_592),
        ("mobilenetv2", 32, 3, 2_296_922, 91_154_944),
    ],
)
def test_parameters_and_products(name, size, channels, parameters, products):
    with torch.device("meta"):
        model = perturb.models.build(name, 10, size, channels).eval()
        inputs = torch.empty(1, channels, size, size)
        with FlopCounterMode(display=False) as counter:
            assert model(inputs).shape == (1, 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert counter.get_total_flops() == 2 * products


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [("mlp", 8, 1), ("mlp", 1, 3), ("resnet32", 8, 1), ("resnet34", 8, 3), ("mobilenetv2", 8, 3)],
)
def test_every_parameter_learns(name, size, channels):
    torch.manual_seed(0)
    model = perturb.models.build(name, 10, size, channels)
    inputs = torch.randn(4, channels, size, size)
    torch.nn.functional.cross_entropy(model(inputs), torch.arange(4)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def test_shortcuts_of_option_a_hold_no_parameter_and_keep_the_middle_channels():
    from perturb.models.resnet32 import Block

    block = Block(16, 32).eval()
    for parameter in block.path[-1].parameters():
        torch.nn.init.zeros_(parameter)
    inputs = torch.rand(2, 16, 8, 8)
    outputs = block(inputs)
    assert outputs.shape == (2, 32, 4, 4)
    assert torch.equal(outputs[:, 8:24], inputs[:, :, ::2, ::2])
    assert not outputs[:, :8].any() and not outputs[:, 24:].any()
