"""AdamW (Loshchilov and Hutter 2019, algorithm 2): Adam, weight decay beside the gradient."""

from __future__ import annotations

from torch import Tensor

from perturb.optim.bases import adam
from perturb.optim.flat import Part

OPTIONS = {"betas": (0.9, 0.999), "eps": 1e-8}
VECTORS = adam.VECTORS
COUNTERS = adam.COUNTERS


def descend(part: Part, direction: Tensor) -> None:
    """w *= 1 - lr*wd; then Adam's step with d = u."""
    adam.step(part, direction, decoupled=True)
