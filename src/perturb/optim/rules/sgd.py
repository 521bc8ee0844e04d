"""Plain SGD: the gradient itself."""

from __future__ import annotations

from torch import Tensor

from perturb.optim.optimizer import GradientAt, PerturbedOptimizer

PARAMETERS = {}
SECOND_PASS = "never"


class Rule(PerturbedOptimizer):
    """u = g."""

    perturbs = False

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return g."""
        return gradient
