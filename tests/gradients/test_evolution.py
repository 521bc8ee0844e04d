"""NES and SPSA on losses whose smoothed gradient and estimator's variance are known."""

import numpy as np
import pytest
import torch
from torch import nn

from perturb.errors import PerturbError
from perturb.gradients import evolution, nes
from perturb.gradients.evolution import KINDS, estimates
from perturb.gradients.network import (
    SignNetwork,
    flatten,
    initial_weights,
    losses,
    normal_inputs,
    targets_of,
    unflatten,
)

UNITS = 5
MATRIX = torch.diag(torch.arange(1.0, UNITS + 1).double())
MATRIX[0, 1] = MATRIX[1, 0] = 0.5
SLOPE = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]).double()
CENTRE = torch.tensor([0.3, -0.2, 0.1, 0.4, -0.5]).double()
OFFSET = 7.0
SIGMA = 0.2


def quadratic(points):
    """c + b w + w A w / 2: smoothing adds a constant, so its smoothed gradient is b + A w."""
    return OFFSET + points @ SLOPE + ((points @ MATRIX) * points).sum(dim=-1) / 2


GRADIENT = SLOPE + MATRIX @ CENTRE


def repeated(kind, evaluations, repeats):
    draws = [
        estimates(quadratic, CENTRE, SIGMA, evaluations, [kind], seed)[kind]
        for seed in range(repeats)
    ]
    return torch.stack(draws).numpy()


def variance_by_theory(kind, evaluations):
    """The variance of each entry of an estimate of N evaluations, from moments of e.

    With f(e) = L(w + sigma e) = l0 + sigma g e + sigma^2 e A e / 2, of N(0, I):
    E f e = sigma g, and E (f e_i)^2 from fourth and sixth moments. `antithetic` keeps only the odd
    part sigma g e: variance (|g|^2 + g_i^2) 2 / N a pair; SPSA's e_i^2 = 1 leaves |g|^2 - g_i^2.
    """
    g = GRADIENT.numpy()
    square = (g**2).sum()
    if kind == "antithetic":
        return 2 * (square + g**2) / evaluations
    if kind == "spsa":
        return 2 * (square - g**2) / evaluations
    level = quadratic(CENTRE).item()
    # E[(q e_i)^2] for q = l + sigma^2/2 e A e, with Wick's theorem for the quadratic form.
    a = MATRIX.numpy()
    half = SIGMA**2 / 2
    trace, trace2 = np.trace(a), np.trace(a @ a)
    diagonal, diagonal2 = np.diag(a), np.diag(a @ a)
    first = trace + 2 * diagonal  # E[(e A e) e_i^2]
    second = trace**2 + 2 * trace2 + 4 * trace * diagonal + 8 * diagonal2  # E[(e A e)^2 e_i^2]
    odd = SIGMA**2 * (square + 2 * g**2)  # E[(sigma g e)^2 e_i^2]

    def of(mean):
        even = mean**2 + 2 * mean * half * first + half**2 * second
        return (even + odd - (SIGMA * g) ** 2) / SIGMA**2

    if kind == "plain":
        return of(level) / evaluations
    # Leave-one-out: the baseline is independent of the sample, its own noise adds at order 1/N^2.
    return of(-half * trace) / evaluations


@pytest.mark.parametrize("kind", ["plain", "baseline", "antithetic", "spsa"])
def test_an_estimate_is_unbiased_with_the_variance_of_theory(kind):
    repeats, evaluations = 6000, 40
    found = repeated(kind, evaluations, repeats)
    variance = variance_by_theory(kind, evaluations)
    standard_error = np.sqrt(variance / repeats) + 1e-12
    assert (np.abs(found.mean(axis=0) - GRADIENT.numpy()) < 4.5 * standard_error).all()
    slack = 0.1 if kind != "baseline" else 0.1 + 2 / evaluations
    ratio = found.var(axis=0, ddof=1)[variance > 0] / variance[variance > 0]
    assert (np.abs(ratio - 1) < slack).all(), ratio


def test_the_variance_tells_the_arms_apart_by_far():
    plain, baseline, antithetic = (
        variance_by_theory(kind, 40).sum() for kind in ("plain", "baseline", "antithetic")
    )
    assert plain > 20 * baseline
    assert found_variance("plain") > 20 * found_variance("antithetic")
    assert antithetic > baseline / 4


def found_variance(kind):
    return repeated(kind, 40, 200).var(axis=0).sum()


def test_rank_fitness_points_along_the_gradient_and_knows_no_scale():
    found = estimates(quadratic, CENTRE, SIGMA, 2000, ["rank"], 0)["rank"]
    scaled = estimates(lambda p: 1e4 * quadratic(p) ** 3, CENTRE, SIGMA, 2000, ["rank"], 0)["rank"]
    assert torch.equal(found, scaled), "a rising function of the loss changes no rank"
    assert torch.cosine_similarity(found, GRADIENT, dim=0) > 0.98


def test_kinds_that_perturb_alike_share_their_losses():
    asked = []

    def counted(points):
        asked.append(len(points))
        return quadratic(points)

    together = estimates(counted, CENTRE, SIGMA, 100, KINDS, 3)
    assert sum(asked) == 300, "one-sided, pairs, Rademacher pairs"
    assert list(together) == list(KINDS)
    for kind in KINDS:
        alone = estimates(quadratic, CENTRE, SIGMA, 100, [kind], 3)[kind]
        assert torch.allclose(alone, together[kind], rtol=1e-12)


def test_a_module_and_the_stacked_toy_give_the_same_estimate():
    dimension = 6
    weights = initial_weights(dimension, 0, "evaluated")
    inputs = normal_inputs(dimension, 300, 0, 0, "test")
    targets = targets_of(initial_weights(dimension, 0, "target"), inputs)
    network = SignNetwork(dimension)
    for layer, weight in zip(network.layers, weights, strict=True):
        layer.weight.data = weight
    by_name = nes(
        network, lambda m: (m(inputs) - targets).square().mean(), 0.3, 200, kind="baseline", seed=5
    )
    flat = estimates(
        lambda points: losses(points, inputs, targets),
        flatten(weights),
        0.3,
        200,
        ["baseline"],
        5,
    )["baseline"]
    for found, expected in zip(by_name.values(), unflatten(flat, dimension), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kept", [0, 10**6])
def test_neither_threads_nor_what_is_kept_change_a_bit(kept, monkeypatch):
    expected = estimates(quadratic, CENTRE, SIGMA, 1000, KINDS, 3)
    monkeypatch.setattr(evolution, "_KEPT", kept)
    torch_has = torch.get_num_threads()
    for threads in (1, 2):
        found = estimates(quadratic, CENTRE, SIGMA, 1000, KINDS, 3, threads=threads)
        assert all(torch.equal(found[kind], expected[kind]) for kind in KINDS)
        assert torch.get_num_threads() == torch_has


# float32 by tables where samples are not too few, float64 by products, as on a GPU.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("samples", "count"), [(1, 1), (999, 3), (2500, 70)])
def test_stacked_losses_are_those_of_each_weight_set(samples, count, dtype):
    stacked = [
        tuple(weight.to(dtype) for weight in initial_weights(8, seed, "evaluated"))
        for seed in range(count)
    ]
    inputs = normal_inputs(8, samples, 0, 0, "test").to(dtype)
    targets = targets_of(tuple(w.to(dtype) for w in initial_weights(8, 99, "target")), inputs)
    found = losses(torch.stack([flatten(weights) for weights in stacked]), inputs, targets)
    expected = [(targets_of(w, inputs) - targets).double().square().mean() for w in stacked]
    assert torch.allclose(found, torch.stack(expected), rtol=1e-5)


def test_a_mistake_has_a_message():
    model = nn.Linear(2, 1)
    loss = lambda m: m.weight.sum()  # noqa: E731
    with pytest.raises(PerturbError, match="Did you mean 'antithetic'"):
        nes(model, loss, 0.1, 10, kind="antithetik")
    with pytest.raises(PerturbError, match="sigma is 0"):
        nes(model, loss, 0, 10)
    with pytest.raises(PerturbError, match="an even number"):
        nes(model, loss, 0.1, 11)
    with pytest.raises(PerturbError, match="two or more"):
        nes(model, loss, 0.1, 1, kind="plain")


def test_rosenbrock():
    """The log's check: N = 100, a = 1, b = 100; step and sigma fall after 30,000 steps.

    Steps are as long as the learning rate, whatever the gradient: raw ones diverge at 0.1.
    """

    def rosenbrock(points):
        x, y = points.unbind(dim=-1)
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    point = torch.tensor([-1.0, 1.5]).double()
    for step in range(45_000):
        scale = 0.1 ** max(0, -(-(step - 30_000) // 10_000)) if step > 30_000 else 1.0
        gradient = estimates(rosenbrock, point, 0.01 * scale, 100, ["antithetic"], step)
        point = point - 0.1 * scale * nn.functional.normalize(gradient["antithetic"], dim=0)
    assert torch.allclose(point, torch.ones(2).double(), atol=0.05), point
