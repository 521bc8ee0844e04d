"""The coordinate discrete gradient against brute force, its box integral, and its closed forms."""

import math

import pytest
import torch
from torch import nn

from perturb.errors import PerturbError
from perturb.gradients import cdg
from perturb.gradients.coordinate import factorised
from perturb.gradients.network import SignNetwork, initial_weights, normal_inputs, targets_of

WINDOWS = (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def problem(dimension, samples, dtype, seed=0):
    weights = tuple(w.to(dtype) for w in initial_weights(dimension, seed, "evaluated"))
    target = tuple(w.to(dtype) for w in initial_weights(dimension, seed, "target"))
    inputs = normal_inputs(dimension, samples, seed, 0, "test").to(dtype)
    return weights, inputs, targets_of(target, inputs)


def squared_errors(weights, inputs, targets):
    return (targets_of(weights, inputs) - targets) ** 2


def brute_force(weights, inputs, targets, layer, eps):
    """Two forwards a weight; samples are compared before they are summed, in double."""
    gradient = torch.zeros_like(weights[layer], dtype=torch.float64)
    for index in range(weights[layer].numel()):
        errors = []
        for step in (eps, -eps):
            moved = [w.clone() for w in weights]
            moved[layer].view(-1)[index] += step
            errors.append(squared_errors(moved, inputs, targets).double())
        gradient.view(-1)[index] = (errors[0] - errors[1]).mean() / (2 * eps)
    return gradient


def away_from_boundaries(weights, inputs, targets, margin):
    """Leave out samples with a unit that rounding alone would flip: there both ways are right."""
    hidden, kept = inputs.double(), torch.ones(len(inputs), dtype=torch.bool)
    for weight in weights[:-1]:
        z = hidden @ weight.double().T
        for eps in (0, *WINDOWS):
            distance = (z.abs()[:, :, None] - eps * hidden.abs()[:, None]).abs()
            kept &= (distance > margin).all(dim=2).all(dim=1)
        hidden = torch.where(z >= 0, 1.0, -1.0).double()
    return inputs[kept], targets[kept]


@pytest.mark.parametrize(
    ("dtype", "margin", "tolerance"), [(torch.float32, 3e-6, 1e-5), (torch.float64, 0, 1e-10)]
)
@pytest.mark.parametrize("dimension", [8, 10])
def test_the_factorised_gradient_is_brute_force_in_every_layer_at_every_eps(
    dimension, dtype, margin, tolerance
):
    weights, inputs, targets = problem(dimension, 400, dtype)
    inputs, targets = away_from_boundaries(weights, inputs, targets, margin)
    assert len(inputs) > 300
    found = factorised(weights, inputs, targets, WINDOWS)
    for eps, gradient in zip(WINDOWS, found, strict=True):
        for layer, of_layer in enumerate(gradient):
            expected = brute_force(weights, inputs, targets, layer, eps)
            assert expected.norm() > 0 or eps < 0.1
            # The slope of a parabola is a difference of large numbers when it is brute force.
            slack = 1e-7 / eps if (layer == 3 and dtype == torch.float32) else 0
            assert (of_layer - expected).norm() <= (tolerance + slack) * expected.norm()


def test_weights_and_inputs_on_a_grid_agree_to_the_last_bit_even_on_the_boundaries():
    """Sums of small binary fractions are exact, so ties are hit, and rounding explains nothing."""
    weights, inputs, _ = problem(8, 300, torch.float32, seed=3)
    weights = tuple((w * 16).round() / 16 for w in weights)
    inputs = (inputs * 8).round() / 8
    targets = (normal_inputs(1, 300, 0, 0, "targets")[:, 0] * 8).round() / 8
    hidden = torch.where(inputs @ weights[0].T >= 0, 1.0, -1.0)
    windows = (1.0, 0.25, 0.0625)
    assert ((hidden @ weights[1].T).abs() == 0.25).any()
    for eps, gradient in zip(windows, factorised(weights, inputs, targets, windows), strict=True):
        for layer in range(3):
            expected = brute_force(weights, inputs, targets, layer, eps)
            assert torch.allclose(gradient[layer].double(), expected, rtol=1e-6, atol=1e-8)


def test_any_model_by_vmap_is_the_factorised_gradient():
    weights, inputs, targets = problem(6, 200, torch.float64)
    network = SignNetwork(6).double()
    for layer, weight in zip(network.layers, weights, strict=True):
        layer.weight.data = weight
    found = cdg(network, lambda model: (model(inputs) - targets).square().mean(), 0.3, at_once=7)
    for gradient, expected in zip(
        found.values(), factorised(weights, inputs, targets, [0.3])[0], strict=True
    ):
        assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-14)
    one = cdg(network, lambda m: (m(inputs) - targets).square().mean(), 0.3, ["layers.1.weight"])
    assert list(one) == ["layers.1.weight"]


def test_it_is_the_gradient_of_the_loss_smoothed_by_a_box():
    """d/dw of 1/(2 eps) int L(w + u) du, for a smooth loss whose box integral is known."""
    model = nn.Linear(3, 1, bias=False).double()
    eps = 0.4
    found = cdg(model, lambda m: m.weight.exp().sum(), eps)["weight"]
    expected = model.weight.detach().exp() * math.sinh(eps) / eps
    assert torch.allclose(found, expected, rtol=1e-12)


def test_the_model_is_left_as_it_was_and_mistakes_have_a_message():
    model = nn.Linear(3, 1)
    before = {name: p.clone() for name, p in model.named_parameters()}
    cdg(model, lambda m: m(torch.ones(1, 3)).sum(), 0.1)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    with pytest.raises(PerturbError, match="Did you mean 'weight'"):
        cdg(model, lambda m: m.weight.sum(), 0.1, ["wieght"])
    for eps in (0, -1, float("nan")):
        with pytest.raises(PerturbError, match="above 0"):
            cdg(model, lambda m: m.weight.sum(), eps)
