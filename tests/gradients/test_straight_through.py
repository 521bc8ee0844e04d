"""The straight-through estimators against their closed forms."""

import numpy as np
import pytest
import torch

from perturb.errors import PerturbError
from perturb.gradients.network import initial_weights, normal_inputs, straight_through, targets_of
from perturb.models.binary import SURROGATES, sign, straight_through_sign, surrogate

Z = np.array([-20.0, -1.6, -1.3, -1.0, -0.7, -0.5, -0.2, -0.05, 0.0, 0.05, 0.3, 0.5, 0.9, 1.0, 2.0])


def reste(z):
    inside = np.where(np.abs(z) < 0.1, 0.1 ** (1 / 3 - 1), 0)
    return np.where(np.abs(z) < 0.1, inside, np.maximum(np.abs(z), 0.1) ** (-2 / 3) / 3) * (
        np.abs(z) <= 1.5
    )


CLOSED = {
    "clip": lambda z: (np.abs(z) <= 1) * 1.0,
    "steep": lambda z: (np.abs(z) <= 0.5) * 1.0,
    "swish_sign": lambda z: 5 * (2 - 5 * z * np.tanh(2.5 * z)) / (1 + np.cosh(5 * z)),
    "polynomial": lambda z: np.maximum(0, 2 - 2 * np.abs(z)),
    "reste": reste,
}


def backward(name, upstream):
    z = torch.tensor(Z, requires_grad=True)
    straight_through_sign(z, surrogate(name)).backward(torch.tensor(upstream))
    return z.grad.numpy()


@pytest.mark.parametrize("name", CLOSED)
def test_the_mask_is_its_closed_form(name):
    upstream = np.linspace(-1, 2, len(Z))
    assert np.allclose(backward(name, upstream), upstream * CLOSED[name](Z), rtol=1e-12)


def test_ewgs_scales_by_the_side_of_the_gradient():
    upstream = np.linspace(-1, 2, len(Z))
    signs = np.where(Z >= 0, 1, -1)
    expected = upstream * (1 + 0.2 * np.sign(upstream) * (Z - signs)) * (np.abs(Z) <= 1)
    assert np.allclose(backward("ewgs", upstream), expected, rtol=1e-12)
    assert set(SURROGATES) == {*CLOSED, "ewgs"}


@pytest.mark.parametrize(("name", "area"), [("clip", 2), ("steep", 1), ("polynomial", 2)])
def test_a_mask_integrates_to_what_it_stands_for(name, area):
    grid = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    total = SURROGATES[name](grid, torch.ones_like(grid)).sum() * (grid[1] - grid[0])
    assert abs(total.item() - area) < 1e-3


def test_swish_sign_is_finite_and_nothing_far_away_in_float32():
    z = torch.tensor([-1e4, -50.0, 50.0, 1e4])
    mask = SURROGATES["swish_sign"](z, torch.ones(4))
    assert torch.isfinite(mask).all() and (mask.abs() < 1e-6).all()


def test_sign_is_one_at_zero():
    assert sign(torch.tensor([-1e-30, 0.0, 3.0])).tolist() == [-1, 1, 1]


def test_the_gradient_of_the_toy_is_the_chain_rule_by_hand():
    weights = initial_weights(5, 0, "evaluated")
    inputs = normal_inputs(5, 50, 0, 0, "test")
    targets = targets_of(initial_weights(5, 0, "target"), inputs)
    found = straight_through(weights, inputs, targets, "polynomial")
    hidden, z = [inputs.numpy()], []
    for weight in weights[:3]:
        z.append(hidden[-1] @ weight.numpy().T)
        hidden.append(np.where(z[-1] >= 0, 1.0, -1.0))
    error = 2 * ((hidden[3] @ weights[3].numpy().T)[:, 0] - targets.numpy()) / len(inputs)
    assert np.allclose(found[3].numpy(), error @ hidden[3], rtol=1e-4, atol=1e-6)
    back = error[:, None] * weights[3].numpy()
    for layer in (2, 1, 0):
        back = back * CLOSED["polynomial"](z[layer])
        assert np.allclose(found[layer].numpy(), back.T @ hidden[layer], rtol=1e-3, atol=1e-5)
        back = back @ weights[layer].numpy()


def test_an_unknown_estimator_gets_the_closest_name():
    with pytest.raises(PerturbError, match="Did you mean 'polynomial'"):
        surrogate("polinomial")
