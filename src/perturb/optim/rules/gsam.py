"""GSAM (Zhuang et al. 2022, algorithm 1): SAM that also narrows the surrogate gap."""

from __future__ import annotations

from torch import Tensor

from perturb.optim.norms import EPSILON, norm_of
from perturb.optim.optimizer import GradientAt
from perturb.optim.rules import sam

PARAMETERS = {"rho_max": 0.05, "rho_min": 0.01, "alpha": 0.4}
POSITIONAL = 2
SECOND_PASS = "every step"


class Rule(sam.Rule):
    """rho follows the learning rate, rho_max to rho_min; u = g* - alpha (g orthogonal to g*)."""

    rho_max: float
    rho_min: float
    alpha: float

    @property
    def rho(self) -> float:
        """rho_t = rho_min + (rho_max - rho_min) lr / lr_max: the cosine ends at lr_min = 0.

        lr_max is the rate that the optimiser was built with, or where one of PyTorch's schedulers
        says so (OneCycleLR) its `max_lr`. A rate above it counts as it.
        """
        group = self.param_groups[0]
        highest = group.get("max_lr", group["peak_lr"])
        share = min(group["lr"] / highest, 1.0) if highest else 1.0
        return self.rho_min + (self.rho_max - self.rho_min) * share

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return g* less alpha times the part of g orthogonal to g*."""
        perturbed = gradient_at(self.ascent(gradient))
        # A sum of products: `dot` drifts by 3e-4 over 85 million numbers.
        along = (gradient * perturbed).sum() / (norm_of(perturbed) + EPSILON) ** 2
        return perturbed - self.alpha * (gradient - along * perturbed)
