"""LookSAM (Liu et al. 2022, algorithm 1): the second gradient every k steps, reused between."""

from __future__ import annotations

import torch
from torch import Tensor

from perturb.optim.flat import in_memory_order
from perturb.optim.norms import EPSILON, norm_of
from perturb.optim.optimizer import GradientAt
from perturb.optim.rules import sam

PARAMETERS = {"rho": 0.05, "k": 5, "alpha": 0.7}
SECOND_PASS = "every k-th step"


class Rule(sam.Rule):
    """Every k-th step u = g*, and gv, its part orthogonal to g, is kept.

    Between, u = g + alpha (norm(g) / norm(gv)) gv.
    """

    k: float
    alpha: float
    looks: int = 0

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return g*, or g with the kept part of g* orthogonal to it added."""
        flat = self.flat
        look = self.looks % int(self.k) == 0
        self.looks += 1
        if look:
            perturbed = gradient_at(self.ascent(gradient))
            # A sum of products: `dot` drifts by 3e-4 over 85 million numbers.
            along = (perturbed * gradient).sum() / (self.gradient_norm + EPSILON) ** 2
            orthogonal = perturbed - along * gradient
            for tensor, part in zip(flat.tensors, flat.shaped(orthogonal), strict=True):
                self.state[tensor]["orthogonal"] = part
            return perturbed
        places = flat.shaped(flat.scratch)
        kept = [
            self.state[t].get("orthogonal", torch.zeros_like(place))
            for t, place in zip(flat.tensors, places, strict=True)
        ]
        orthogonal = torch.cat(list(map(in_memory_order, kept, places)))
        reuse = self.alpha * self.gradient_norm / (norm_of(orthogonal) + EPSILON)
        return gradient + reuse * orthogonal

    def _remembered(self) -> tuple[str, ...]:
        return (*super()._remembered(), "looks")
