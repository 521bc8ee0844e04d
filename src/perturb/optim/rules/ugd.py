"""UGD: the unit gradient (Tseng et al., arXiv 2110.00199)."""

from __future__ import annotations

from torch import Tensor

from perturb.optim.optimizer import GradientAt, PerturbedOptimizer, of_length

PARAMETERS = {}
SECOND_PASS = "never"


class Rule(PerturbedOptimizer):
    """u = g / (norm(g) + E)."""

    perturbs = False

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return the gradient scaled to unit norm."""
        return of_length(1, gradient, self.gradient_norm, out=self.flat.scratch)
