"""AE-SAM (Jiang et al. 2023, equations 5 to 8): SAM only where the gradient is large."""

from __future__ import annotations

from torch import Tensor

from perturb.optim.optimizer import GradientAt
from perturb.optim.rules import sam

PARAMETERS = {"rho": 0.05, "lambda1": -1.0, "lambda2": 1.0, "decay": 0.9}


class Rule(sam.Rule):
    """u = g* where norm(g)^2 >= mu + c sigma, c linear from lambda2 to lambda1; else u = g."""

    lambda1: float
    lambda2: float
    decay: float
    mean: float = 0.0
    variance: float = 0.0

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return g* or g; the running mean and variance of norm(g)^2 take this batch in first."""
        square = self.gradient_norm.item() ** 2
        self.mean = self.decay * self.mean + (1 - self.decay) * square
        self.variance = self.decay * self.variance + (1 - self.decay) * (square - self.mean) ** 2
        progress = self.epoch / self.method.epochs
        threshold = self.lambda2 + (self.lambda1 - self.lambda2) * progress
        if square >= self.mean + threshold * self.variance**0.5:
            return gradient_at(self.ascent(gradient))
        return gradient

    def _remembered(self) -> tuple[str, ...]:
        return (*super()._remembered(), "mean", "variance")
