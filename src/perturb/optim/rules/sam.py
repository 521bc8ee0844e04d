"""SAM (Foret et al. 2021, equations 2 and 3)."""

from __future__ import annotations

from torch import Tensor

from perturb.optim.optimizer import GradientAt, PerturbedOptimizer

PARAMETERS = {"rho": 0.05}
SECOND_PASS = "every step"


class Rule(PerturbedOptimizer):
    """e = rho g / (norm(g) + E); u = g*, the gradient at w + e."""

    rho: float

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return g*."""
        return gradient_at(self.ascent(gradient))

    def ascent(self, gradient: Tensor) -> Tensor:
        """Return e, the ascent step of length rho along g; a group's own rho is its part's."""
        return self.of_radius("rho", gradient, self.gradient_norm, out=self.flat.scratch)
