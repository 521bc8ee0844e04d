"""What the optimiser that all update rules share gives a rule, and asks of a base and a term."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from perturb.optim.flat import Part


class Term(Protocol):
    """A part of the loss that depends on the weights alone, known by its gradient."""

    def add(self, gradient: Tensor, weights: Tensor) -> None:
        """Add its gradient at `weights` [n] to `gradient` [n], in place.

        Once for each batch gradient: at w, and at w + e where the rule looks there.
        """


class GradientAt(Protocol):
    """What a rule asks for gradients of the same batch at other weights."""

    def __call__(self, perturbation: Tensor, length: float | None = None) -> Tensor:
        """Return the gradient [n] at w + e: e is `perturbation` [n], or it scaled to a length."""


class Base(Protocol):
    """A base optimiser: a file of `perturb/optim/bases/`.

    Attributes:
        VECTORS: names of what it remembers of each weight, vectors [k] of zeros at first.
        COUNTERS: names of what it counts for each tensor, 0-d, 0 at first.
    """

    VECTORS: tuple[str, ...]
    COUNTERS: tuple[str, ...]

    def descend(self, part: Part, direction: Tensor) -> None:
        """Step the part's weights and state in place; `direction` u [k] is not to be changed."""
