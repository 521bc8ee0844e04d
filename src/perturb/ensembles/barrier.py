"""How high a path between two networks rises. Pure, without torch."""

from __future__ import annotations

from collections.abc import Sequence


def barrier(values: Sequence[float]) -> float:
    """Return how high a path rises: its largest value less the mean of its two ends.

    Frankle et al. 2020, section 2, of errors; `values` are along the path, its ends among them.
    """
    return max(values) - (values[0] + values[-1]) / 2
