"""Estimators for stochastic binary units, against the sum over all states."""

import numpy as np
import pytest
import torch

from perturb.gradients.stochastic import ESTIMATORS, exact

LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-0.5, 0.0, 0.8]], dtype=torch.float64)
TARGET = torch.tensor([0.3, 1.1], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, -0.7, 0.4], dtype=torch.float64)


def loss(bits):
    """Two problems of three units, not linear in them: [S, 2, 3] to [S, 2]."""
    return ((2 * bits - 1) @ WEIGHTS + bits.prod(dim=-1) - TARGET).square()


def test_the_exact_gradient_is_the_derivative_of_the_expectation():
    logits = LOGITS.clone().requires_grad_()
    total = 0
    for state in np.ndindex(2, 2, 2):
        bits = torch.tensor(state, dtype=torch.float64).expand(2, 3)
        p = logits.sigmoid()
        total = total + (torch.where(bits > 0, p, 1 - p).prod(dim=-1) * loss(bits[None])[0]).sum()
    (expected,) = torch.autograd.grad(total, logits)
    assert torch.allclose(exact(loss, LOGITS), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_unbiased(name):
    draws = torch.Generator().manual_seed(0)
    found = torch.stack([ESTIMATORS[name](loss, LOGITS, 8, draws) for _ in range(5_000)])
    error = found.mean(dim=0) - exact(loss, LOGITS)
    standard_error = found.std(dim=0) / len(found) ** 0.5
    assert (error.abs() < 4.5 * standard_error).all()
    assert (standard_error < 0.03).all(), "a wide interval shows nothing"
