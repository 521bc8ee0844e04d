"""How much the loss can rise nearby: SAM's sharpness (Foret et al. 2021) and ASAM's adaptive one.

Both are maxima over a ball, which nobody can compute for a network: what is found by climbing is
a lower bound of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from perturb.landscape.objective import Objective

ETA = 0.01
# Further steps, in radii. With 4, ten steps come within 0.1 % of the value at which they settle on
# a trained CNN, with 1 within 2 %; longer ones would leap to and fro where the loss is concave.
STRIDE = 4


@dataclass(frozen=True)
class Sharpness:
    """L(w + e) - L(w) in nats for the perturbations e met when climbing in a ball of `radius`.

    `increases` has one number per ascent step. The climb stops early at a loss that is not finite.
    """

    radius: float
    increases: tuple[float, ...]

    @property
    def one_step(self) -> float:
        """The increase after the first step, the perturbation with which SAM trains."""
        return self.increases[0]

    @property
    def several_steps(self) -> float:
        """The largest increase that was met, `one_step` included; NaN where one was NaN."""
        return float(np.max(self.increases))


def sharpness(objective: Objective, radii: Sequence[float], steps: int = 10) -> list[Sharpness]:
    """Return SAM's sharpness at each radius rho: max over norm(e) <= rho of L(w + e) - L(w).

    The first step is `e = rho g / norm(g)` (Foret et al. 2021, equation 2); each further one adds
    `4 rho g / norm(g)`, g at w + e, and projects e on the ball. Where g is exactly 0 there is no
    way up to take, and the increase is 0.

    Raises ValueError where a radius is not positive or `steps` less than 1.
    """
    return _climb(objective, torch.ones_like(objective.weights), radii, steps)


def adaptive_sharpness(
    objective: Objective, radii: Sequence[float], steps: int = 10, eta: float = ETA
) -> list[Sharpness]:
    """Return ASAM's sharpness: max over norm(T^-1 e) <= rho of L(w + e) - L(w), at each rho.

    T = abs(w) + eta on weights, 1 on biases and normalisation (Kwon et al. 2021, section 4). The
    climb is `sharpness`'s in u = T^-1 e, where the region is a ball and the gradient T g, so its
    first step is `e = rho T^2 g / norm(T g)` (equation 8).

    Raises ValueError where a radius is not positive or `steps` less than 1.
    """
    weights = objective.weights
    scale = torch.where(objective.is_weight, weights.abs() + eta, torch.ones_like(weights))
    return _climb(objective, scale, radii, steps)


def _climb(
    objective: Objective, scale: Tensor, radii: Sequence[float], steps: int
) -> list[Sharpness]:
    """Return the increases in the balls norm(u) <= rho, where e = scale * u and `scale` is [n]."""
    if steps < 1 or not all(radius > 0 for radius in radii):
        raise ValueError(f"ascent needs positive radii and a step or more: {radii}, {steps} steps")
    weights = objective.weights
    start, gradient = objective.loss_and_gradient(weights)
    first = _unit(scale * gradient)
    climbs = []
    for radius in radii:
        position, losses = radius * first, []
        for step in range(steps):
            at = weights + scale * position
            if step == steps - 1:
                losses.append(objective.loss(at))
                break
            loss, gradient = objective.loss_and_gradient(at)
            losses.append(loss)
            if not math.isfinite(loss):
                break
            position = position + STRIDE * radius * _unit(scale * gradient)
            position *= (radius / vector_norm(position)).clamp(max=1)
        climbs.append(Sharpness(radius, tuple(loss - start for loss in losses)))
    return climbs


def _unit(vector: Tensor) -> Tensor:
    """Return `vector` / norm(vector); zeros for zeros, NaN for NaN."""
    return vector / vector_norm(vector).clamp(min=torch.finfo(vector.dtype).tiny)
