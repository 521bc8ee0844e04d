"""How long a step takes: warm-up, then each step by itself, the device synchronised."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FEWEST, MOST = 5, 10_000


@dataclass(frozen=True)
class Timing:
    """Seconds of steps [n] in the order in which they were made."""

    seconds: np.ndarray

    @property
    def total(self) -> float:
        """All of them."""
        return float(self.seconds.sum())

    def quantile(self, share: float) -> float:
        """Return the seconds that a share of the steps does not exceed."""
        return float(np.quantile(self.seconds, share))


def time_steps(
    step: Callable[[Any], object],
    fresh_input: Callable[[], Any],
    synchronise: Callable[[], None] = lambda: None,
    *,
    warm_up: int = 3,
    seconds: float = 2.0,
) -> Timing:
    """Time `step` of a fresh input again and again, `seconds` in all and five times at least.

    Args:
        step: what is timed.
        fresh_input: makes its input, outside of the time.
        synchronise: waits until the device has done all that it was given; before and after
            each step, or a GPU's time would be that of handing the work over.
        warm_up: steps before that, which are not timed.
        seconds: after which no further step begins.

    Garbage is not collected in between.
    """
    for _ in range(warm_up):
        step(fresh_input())
    synchronise()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    found: list[float] = []
    spent = 0.0
    try:
        while (spent < seconds or len(found) < FEWEST) and len(found) < MOST:
            given = fresh_input()
            synchronise()
            start = time.perf_counter()
            step(given)
            synchronise()
            found.append(time.perf_counter() - start)
            spent += found[-1]
    finally:
        if collecting:
            gc.enable()
    return Timing(np.array(found))
