"""What one run costs, in units that seconds are known for. Pure, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The work of one run.

    `count` is of `unit`: batch gradients of a network that is trained, or what else a study counts
    by. `exact`, or the most that its method can come to.
    """

    count: float
    exact: bool = True
    unit: str = "gradient evaluations"
