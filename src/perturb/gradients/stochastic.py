"""Gradients through stochastic binary units b ~ Bernoulli(sigmoid(logits)) of E f(b).

A deterministic sign has no distribution to differentiate: these are for stochastic units only.
Logits are [..., n]; `f` maps bits [S, ..., n] to losses [S, ...], n units at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


def exact(f: Loss, logits: Tensor) -> Tensor:
    """Return the gradient of E f(b) by the logits, summed over all 2^n states: [..., n]."""
    units = logits.shape[-1]
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=logits.dtype)
    states = states.to(logits.device).view(-1, *[1] * (logits.dim() - 1), units)
    bits = states.expand(-1, *logits.shape)
    probability = torch.where(bits > 0, logits.sigmoid(), (-logits).sigmoid()).prod(dim=-1)
    return ((probability * f(bits))[..., None] * (bits - logits.sigmoid())).sum(dim=0)


def _uniform(logits: Tensor, samples: int, draws: torch.Generator) -> Tensor:
    drawn = torch.rand((samples, *logits.shape), generator=draws, dtype=logits.dtype)
    tiny = torch.finfo(logits.dtype).tiny
    return drawn.to(logits.device).clamp(min=tiny, max=1 - torch.finfo(logits.dtype).eps)


def reinforce(f: Loss, logits: Tensor, samples: int, draws: torch.Generator) -> Tensor:
    """Return REINFORCE's estimate, its baseline the other samples' mean (Kool et al. 2019).

    `samples` evaluations of f, two or more.
    """
    probability = logits.sigmoid()
    bits = (_uniform(logits, samples, draws) < probability).to(logits)
    losses = f(bits)
    advantages = (losses - losses.mean(dim=0)) / (samples - 1)
    return (advantages[..., None] * (bits - probability)).sum(dim=0)


def arm(f: Loss, logits: Tensor, samples: int, draws: torch.Generator) -> Tensor:
    """Return the augment-REINFORCE-merge estimate (Yin and Zhou 2019).

    `samples` evaluations of f, an even number: two a draw.
    """
    uniform = _uniform(logits, samples // 2, draws)
    first = f((uniform > (-logits).sigmoid()).to(logits))
    second = f((uniform < logits.sigmoid()).to(logits))
    return ((first - second)[..., None] * (uniform - 0.5)).mean(dim=0)


def rebar(
    f: Loss, logits: Tensor, samples: int, draws: torch.Generator, temperature: float = 0.5
) -> Tensor:
    """Return REBAR's estimate with its control variate at scale 1 (Tucker et al. 2017).

    Three evaluations of f a sample, two of them at relaxed bits in [0, 1], where f must be
    differentiable.
    """
    logits = logits.detach()
    leaf = logits.expand(samples, *logits.shape).clone().requires_grad_()
    uniform, conditional = _uniform(logits, samples, draws), _uniform(logits, samples, draws)
    z = leaf + torch.logit(uniform)
    bits = (z > 0).to(logits)
    # z given bits, reparameterised: uniform on the side of 1 - p that made them what they are.
    off = (-leaf).sigmoid()
    given = torch.where(bits > 0, off + (1 - off) * conditional, off * conditional)
    eps = torch.finfo(logits.dtype).eps
    again = leaf + torch.logit(given, eps=eps)
    relaxed, relaxed_again = f((z / temperature).sigmoid()), f((again / temperature).sigmoid())
    score = -F.binary_cross_entropy_with_logits(leaf, bits, reduction="none").sum(dim=-1)
    surrogate = (f(bits) - relaxed_again).detach() * score + relaxed - relaxed_again
    (gradient,) = torch.autograd.grad(surrogate.sum(), leaf)
    return gradient.mean(dim=0)


ESTIMATORS = {"reinforce": reinforce, "arm": arm, "rebar": rebar}
# How many evaluations of f a sample of each takes.
EVALUATIONS = {"reinforce": 1, "arm": 1, "rebar": 3}
