"""Sharpness of quadratics against the exact maximum over the ball, by the secular equation."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from perturb.landscape.objective import Objective
from perturb.landscape.sharpness import ETA, Sharpness, adaptive_sharpness, sharpness

from .problems import images, network, network_objective, quadratic, with_spectrum

RADII = (0.1, 0.7, 3.0)
SPECTRA = ([4.0, 2.5, 1.0, 0.5, 0.2, 0.1], [4.0, 2.5, 1.0, 0.5, -0.3, -1.0])
CENTRE = np.array([0.3, -0.2, 0.5, 0.1, -0.4, 0.6])
WEIGHTS = np.array([1.0, -0.5, 0.25, 0.02, -1.5, 0.8])


def maximum(matrix, gradient, radius):
    """Max over norm(u) <= radius of g u + 0.5 u A u where the largest eigenvalue is positive.

    u = (mu - A)^-1 g with mu > lambda_1 and norm(u) = radius (More and Sorensen 1983).
    """
    values, basis = np.linalg.eigh(matrix)
    g = basis.T @ gradient
    excess = lambda mu: np.linalg.norm(g / (mu - values)) - radius  # noqa: E731
    top = values[-1]
    mu = brentq(excess, top + abs(g[-1]) / radius / 2, top + np.linalg.norm(g) / radius, xtol=1e-14)
    u = g / (mu - values)
    return g @ u + 0.5 * (values * u * u).sum()


def adaptive_problem(spectrum):
    """The objective, its Hessian and gradient in u = T^-1 e, and T; the last two are biases."""
    matrix = with_spectrum(spectrum)
    objective = quadratic(matrix, WEIGHTS, centre=CENTRE, bias_size=2)
    scale = np.append(np.abs(WEIGHTS[:4]) + 0.01, [1.0, 1.0])
    gradient = scale * (matrix @ (WEIGHTS - CENTRE))
    return objective, scale[:, None] * matrix * scale, gradient


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_several_steps_reach_the_maximum_over_the_ball(spectrum):
    matrix = with_spectrum(spectrum)
    objective = quadratic(matrix, WEIGHTS, centre=CENTRE)
    gradient = matrix @ (WEIGHTS - CENTRE)
    for found in sharpness(objective, RADII, steps=200):
        assert found.several_steps == pytest.approx(
            maximum(matrix, gradient, found.radius), rel=1e-9
        )
        assert found.one_step < found.several_steps * (1 - 1e-6)


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_adaptive_several_steps_reach_the_maximum_over_the_ellipsoid(spectrum):
    objective, matrix, gradient = adaptive_problem(spectrum)
    for found in adaptive_sharpness(objective, RADII, steps=400):
        assert found.several_steps == pytest.approx(
            maximum(matrix, gradient, found.radius), rel=1e-9
        )


def test_one_step_is_that_of_sam():
    objective = network_objective()
    weights, gradient = objective.weights, objective.gradient()
    for found, radius in zip(sharpness(objective, RADII, steps=1), RADII, strict=True):
        moved = weights + radius * gradient / gradient.norm()
        assert found.radius == radius
        assert found.increases == (found.one_step,)
        assert found.one_step == pytest.approx(objective.loss(moved) - objective.loss(), rel=1e-12)


def test_one_step_is_that_of_asam():
    """T^2 g / norm(T g), with T = abs(w) + 0.01 on the convolution's and the linear's weights."""
    objective = network_objective()
    gradient = objective.gradient()
    size = torch.cat(
        [
            (p.detach().abs() + 0.01 if p.dim() > 1 else torch.ones_like(p)).reshape(-1)
            for p in objective.model.parameters()
        ]
    )
    assert ETA == 0.01
    for found, radius in zip(adaptive_sharpness(objective, RADII, steps=1), RADII, strict=True):
        moved = objective.weights + radius * size**2 * gradient / (size * gradient).norm()
        assert found.one_step == pytest.approx(objective.loss(moved) - objective.loss(), rel=1e-12)


@pytest.mark.parametrize("measured", [sharpness, adaptive_sharpness])
def test_no_step_leaves_the_ball_and_the_best_one_counts(measured):
    objective = network_objective()
    met = []

    class Watched(Objective):
        def loss_and_gradient(self, weights=None):
            met.append(weights)
            return super().loss_and_gradient(weights)

        def loss(self, weights=None):
            met.append(weights)
            return super().loss(weights)

    watched = Watched(objective.model, objective.batches)
    (found,) = measured(watched, [2.0], steps=12)
    weights = objective.weights
    scale = torch.ones_like(weights)
    if measured is adaptive_sharpness:
        scale = torch.where(objective.is_weight, weights.abs() + 0.01, scale)
    distances = [((at - weights) / scale).norm().item() for at in met]
    assert distances[0] == 0
    assert distances[1] == pytest.approx(2.0, rel=1e-12)
    assert max(distances) <= 2.0 * (1 + 1e-12)
    assert len(found.increases) == 12
    assert found.several_steps == max(found.increases) > found.one_step
    assert found.increases == pytest.approx([objective.loss(w) - objective.loss() for w in met[1:]])


def test_a_concave_loss_falls_and_the_best_step_is_the_first():
    """From w = 1 the top of -0.5 w^2 is at 0: a radius of 3 leaps over it to -2."""
    (found,) = sharpness(quadratic(-np.eye(1), [1.0]), [3.0], steps=5)
    assert found.one_step == pytest.approx(-0.5 * 4 + 0.5)
    assert found.several_steps >= found.one_step


def test_a_zero_gradient_has_no_way_up():
    (found,) = sharpness(quadratic(np.eye(4), np.zeros(4)), [1.0], steps=3)
    assert found.increases == (0.0, 0.0, 0.0)


def test_a_loss_that_is_not_finite_is_returned_as_it_is():
    def breaks(value):
        def loss_function(logits, labels):
            loss = torch.nn.functional.cross_entropy(logits, labels)
            return loss * torch.where(loss > 3, value, 1.0)

        return Objective(network(), [images()], loss_function)

    for value, shown in ((math.nan, math.isnan), (math.inf, lambda x: x == math.inf)):
        mild, wild = sharpness(breaks(value), [0.01, 20.0], steps=5)
        assert all(map(math.isfinite, mild.increases))
        assert math.isfinite(mild.several_steps)
        assert shown(wild.increases[-1]) and shown(wild.several_steps)
    (found,) = sharpness(quadratic(np.full((2, 2), np.nan)), [1.0], steps=5)
    assert math.isnan(found.one_step) and math.isnan(found.several_steps)
    assert math.isnan(Sharpness(1.0, (0.5, math.nan)).several_steps)


@pytest.mark.parametrize(("radii", "steps"), [([0.0], 3), ([0.1, -1.0], 3), ([0.1], 0)])
def test_a_ball_must_have_a_size_and_a_climb_a_step(radii, steps):
    with pytest.raises(ValueError, match="positive radii"):
        sharpness(network_objective(), radii, steps)
