"""sign(z) with a backward pass of its own: the straight-through estimators, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from perturb.errors import PerturbError, did_you_mean

# Given z and the gradient of the loss by sign(z), both of one shape: what stands for the gradient
# by z. All but EWGS multiply by a mask that depends on z alone.
Surrogate = Callable[[Tensor, Tensor], Tensor]


def sign(z: Tensor) -> Tensor:
    """Return 1 or -1 with the sign of z; 1 at zero."""
    return torch.copysign(torch.ones((), dtype=z.dtype, device=z.device), z)


def clip(z: Tensor, gradient: Tensor, bound: float = 1.0) -> Tensor:
    """Return `gradient` where abs(z) <= bound, else 0 (Hubara et al. 2016)."""
    return gradient * (z.abs() <= bound)


def swish_sign(z: Tensor, gradient: Tensor, beta: float = 5.0) -> Tensor:
    """Return `gradient` times b (2 - b z tanh(b z / 2)) / (1 + cosh(b z)) (Darabi et al. 2018)."""
    scaled = beta * z
    # cosh overflows where the mask has long been zero.
    mask = beta * (2 - scaled * torch.tanh(scaled / 2)) / (1 + torch.cosh(scaled.clamp(-80, 80)))
    return gradient * mask


def polynomial(z: Tensor, gradient: Tensor) -> Tensor:
    """Return `gradient` times 2 - 2 abs(z) inside 1, else 0 (Liu et al. 2018, Bi-Real Net)."""
    return gradient * (2 - 2 * z.abs()).clamp(min=0)


def reste(
    z: Tensor, gradient: Tensor, power: float = 3.0, inner: float = 0.1, outer: float = 1.5
) -> Tensor:
    """Return `gradient` times the slope of sign(z) abs(z)^(1/power) (Wu et al. 2023, ReSTE).

    Within `inner` of zero it is the slope of the chord, as it would grow without bound; beyond
    `outer` it is 0.
    """
    size = z.abs()
    slope = size.clamp(min=inner) ** (1 / power - 1) / power
    slope = torch.where(size < inner, inner ** (1 / power - 1), slope)
    return gradient * torch.where(size <= outer, slope, 0.0)


def ewgs(z: Tensor, gradient: Tensor, scale: float = 0.2) -> Tensor:
    """Return g (1 + scale sign(g) (z - sign(z))) where abs(z) <= 1, else 0 (Lee et al. 2021)."""
    return clip(z, gradient * (1 + scale * gradient.sign() * (z - sign(z))))


SURROGATES: dict[str, Surrogate] = {
    "clip": clip,
    "steep": partial(clip, bound=0.5),
    "swish_sign": swish_sign,
    "polynomial": polynomial,
    "reste": reste,
    "ewgs": ewgs,
}


def surrogate(name: str) -> Surrogate:
    """Return the straight-through estimator of that name; PerturbError with the closest one."""
    if name not in SURROGATES:
        raise PerturbError(
            f"Unknown straight-through estimator '{name}'.{did_you_mean(name, SURROGATES)}"
        )
    return SURROGATES[name]


class _Sign(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, backward: Surrogate) -> Tensor:
        return sign(z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.surrogate = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.surrogate(*ctx.saved_tensors, gradient), None


def straight_through_sign(z: Tensor, backward: Surrogate = clip) -> Tensor:
    """Return sign(z), whose gradient is that of the straight-through estimator `backward`."""
    return _Sign.apply(z, backward)
