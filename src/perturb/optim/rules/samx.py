"""SAMX: PUGD whose ascent step leaves abs(w) out.

The notebook's "no abs(p)" variant.
"""

from __future__ import annotations

from torch import Tensor

from perturb.optim.rules import pugd

PARAMETERS = {"radius": 1.0}
SECOND_PASS = "every step"


class Rule(pugd.Rule):
    """e = r g / (norm(g) + E); u as PUGD."""

    def set_epoch(self, epoch: int) -> None:
        """Keep the name's own radius, which no schedule moves."""
        super().set_epoch(epoch)
        self.radius = self.method.parameters["radius"]

    def ascent(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """Return g."""
        return gradient
