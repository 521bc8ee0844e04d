"""Losses by table look-up, against plain forwards in float64 on numbers that neither rounds."""

import subprocess
import sys

import pytest
import torch

from perturb.gradients import lookup
from perturb.gradients.network import HIDDEN, flatten


def multiples(of, limit, *shape):
    return torch.randint(-limit, limit + 1, shape) * of


def plain(weights, inputs, targets):
    hidden = inputs
    for weight in weights[:-1]:
        z = hidden @ weight.T
        hidden = torch.where(z < 0, -1.0, 1.0).to(z)
    return ((hidden @ weights[-1].T)[:, 0] - targets).square().mean().item()


@pytest.mark.parametrize("samples", [1, 9, 600])
@pytest.mark.parametrize("hidden", [1, 2, HIDDEN])
@pytest.mark.parametrize("dimension", [1, 7, 8, 12, 16, 17, 64, 100])
def test_looked_up_losses_are_those_of_forwards(dimension, hidden, samples):
    torch.manual_seed(dimension)
    # Sums of so few bits are exact in float32 in any order, and often 0, where sign is 1.
    weights = [multiples(1 / 4, 2, 5, n, dimension) for n in [dimension] * hidden + [1]]
    weights[0][1] = 0
    # Columns of something larger: their memory is not theirs alone.
    inputs, targets = multiples(1 / 2, 3, dimension, samples).T, multiples(1 / 4, 8, samples, 2)
    targets = targets[:, 0]
    found = lookup.losses(flatten(weights), hidden, inputs, targets)
    expected = [
        plain([w[p].double() for w in weights], inputs.double(), targets.double()) for p in range(5)
    ]
    assert found.dtype == torch.float64 and found.tolist() == pytest.approx(expected, rel=1e-14)


def test_nowhere_to_keep_what_was_compiled():
    lines = [
        "import torch",
        "from numba.core import caching",
        "def refuse(self): raise OSError('read-only')",
        "caching.InTreeCacheLocator.ensure_cache_path = refuse",
        "caching.InTreeCacheLocatorFsAgnostic.ensure_cache_path = refuse",
        "caching.UserWideCacheLocator.ensure_cache_path = refuse",
        "from perturb.gradients.lookup import losses",
        "print(losses(torch.ones(1, 2), 1, torch.ones(3, 1), torch.zeros(3)).item())",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "1.0\n", done.stderr
