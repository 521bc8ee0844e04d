"""kde-WGD: its force against autograd, and three posteriors in two dimensions.

D'Angelo & Fortuin show such posteriors as pictures, without numbers: the moments here are those of
the posteriors themselves, and how far kde-WGD may be off is what their pictures show, clouds that
lie at the mode and are narrower than the posterior.
"""

import math

import pytest
import torch

from perturb.ensembles import wgd

MEAN = torch.tensor([1.0, -1.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)


def start(members, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(members, 2, dtype=torch.float64, generator=generator)


def by_autograd(log_density):
    def gradient(members):
        at = members.detach().requires_grad_()
        return torch.autograd.grad(log_density(at).sum(), at)[0]

    return gradient


def test_the_force_is_the_gradient_of_the_log_kernel_density():
    members, h = start(6), 0.7
    at = members.clone().requires_grad_()
    squared = (at[:, None] - members[None]).square().sum(2)
    (expected,) = torch.autograd.grad(torch.exp(-squared / h).sum(1).log().sum(), at)
    torch.testing.assert_close(wgd.repulsion(members, h), expected)


def test_the_bandwidth_is_the_median_heuristic():
    members = torch.tensor([[0.0], [1.0], [3.0]])  # squared distances 1, 9, 4
    squared = torch.cdist(members, members).square()
    assert wgd.median_bandwidth(squared).item() == pytest.approx(4 / math.log(3))


def test_a_gaussian():
    precision = torch.linalg.inv(COVARIANCE)
    found = wgd.descend(lambda x: -(x - MEAN) @ precision, start(50), steps=1500, lr=0.05)
    torch.testing.assert_close(found.mean(0), MEAN, rtol=0, atol=0.01)
    covariance = torch.cov(found.T)
    assert covariance[0, 1] / covariance[0, 0] == pytest.approx(0.6, abs=0.2)
    assert (0.6 < covariance.diagonal()).all() and (covariance.diagonal() < 1).all()


def test_two_modes_keep_half_of_the_members_each():
    centres = torch.tensor([[-2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)

    def log_density(x):
        return torch.logsumexp(-(x[:, None] - centres).square().sum(2), 1)

    found = wgd.descend(by_autograd(log_density), start(50), steps=800, lr=0.05)
    left = (found[:, 0] < 0).double().mean().item()
    assert 0.4 <= left <= 0.6
    assert found[:, 0].abs().mean().item() == pytest.approx(2, abs=0.2)


def test_a_banana():
    """x is standard normal, y given x has mean x^2/2 and variance 1/4: E y = 1/2, Var y = 3/4."""

    def log_density(x):
        return -(x[:, 0] ** 2) / 2 - 2 * (x[:, 1] - x[:, 0] ** 2 / 2) ** 2

    found = wgd.descend(by_autograd(log_density), start(50), steps=2000, lr=0.02)
    mean, covariance = found.mean(0), torch.cov(found.T)
    assert mean[0].item() == pytest.approx(0, abs=0.1)
    assert mean[1].item() == pytest.approx(0.5, abs=0.2)
    assert covariance[0, 0].item() == pytest.approx(1, abs=0.35)
    assert covariance[1, 1].item() == pytest.approx(0.75, abs=0.35)


def test_without_repulsion_all_members_end_at_the_mode():
    found = wgd.descend(lambda x: -(x - MEAN), start(10), steps=200, lr=0.1, bandwidth=1e9)
    assert (found - MEAN).abs().max() < 0.01
