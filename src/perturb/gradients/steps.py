"""The learning rates that steps along a gradient are scanned over. Pure, without torch."""

from __future__ import annotations

import numpy as np


def learning_rates(a_decade: int) -> list[float]:
    """Return logarithmically spaced learning rates from 1e-5 to 1, both and 0.1 among them."""
    return [float(f"{rate:.12g}") for rate in np.logspace(-5, 0, 5 * a_decade + 1)]
