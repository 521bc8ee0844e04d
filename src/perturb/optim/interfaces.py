"""What the optimiser that all update rules share asks of a base, and of a term of the loss."""

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
