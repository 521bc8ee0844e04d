"""PUGD with radius r and scale s (Tseng et al., arXiv 2110.00199).

The notebook calls them R and S.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perturb.optim.optimizer import GradientAt, PerturbedOptimizer, of_length

PARAMETERS = {}
SECOND_PASS = "every step"


class Rule(PerturbedOptimizer):
    """e = r abs(w) g / (norm(abs(w) g) + E); u = (s g + g*) / (norm(s g + g*) + E)."""

    def set_epoch(self, epoch: int) -> None:
        """Set radius and scale too, on the clock that the optimiser was built with."""
        super().set_epoch(epoch)
        clock = max(epoch - 1, 0) if self.schedule_clock == "lagged" else epoch
        for name in ("radius", "scale"):
            schedule = getattr(self.method, name)
            value = schedule.value(clock, self.method.epochs) if schedule else 1.0
            setattr(self, name, value)

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return the unit vector along s g + g*."""
        update = gradient_at(self.ascent(weights, gradient), self.radius)
        update.add_(gradient, alpha=self.scale)
        return of_length(1, update, out=update)

    def ascent(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """Return the direction of the ascent step, of any length: abs(w) g."""
        return torch.abs(weights, out=self.flat.scratch).mul_(gradient)
