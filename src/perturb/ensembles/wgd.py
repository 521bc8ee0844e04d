"""Repulsive ensembles by Wasserstein gradient descent, kde-WGD (D'Angelo & Fortuin 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def median_bandwidth(squared: Tensor) -> Tensor:
    """Return h = median of squared distances / log M, 0-d, of `squared` [M, M] (M > 1).

    Liu & Wang 2016: then each member's kernels sum to about 1. The median is over pairs i < j.
    """
    members = len(squared)
    pairs = squared[tuple(torch.triu_indices(members, members, offset=1))]
    # quantile, for torch's median of an even number of values is the lower one
    return torch.quantile(pairs.double(), 0.5).to(squared) / math.log(members)


def repulsion(members: Tensor, bandwidth: float | None = None) -> Tensor:
    """Return `sum_j grad_i k(x_i, x_j) / sum_j k(x_i, x_j)` [M, n] of members [M, n].

    It is the gradient of the log of their kernel density, k = exp(-norm(x_i - x_j)^2 / h): what is
    subtracted from the gradient of the log posterior (equation 15). h is `bandwidth`, by default
    by the median heuristic.
    """
    squared = torch.cdist(members, members, compute_mode="donot_use_mm_for_euclid_dist").square()
    h = median_bandwidth(squared) if bandwidth is None else bandwidth
    kernel = torch.exp(-squared / h)
    weights = kernel / kernel.sum(1, keepdim=True)
    # sum_j w_ij (x_i - x_j), with weights that sum to 1
    return -2 / h * (members - weights @ members)


def descend(
    log_density_gradient: Callable[[Tensor], Tensor],
    members: Tensor,
    *,
    steps: int,
    lr: float,
    bandwidth: float | None = None,
) -> Tensor:
    """Return the members [M, n] after `steps` of x_i += lr (grad log p(x_i) - repulsion)."""
    for _ in range(steps):
        push = log_density_gradient(members) - repulsion(members, bandwidth)
        members = members + lr * push
    return members
