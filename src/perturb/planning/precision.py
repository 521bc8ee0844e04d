"""How wide an interval a number of seeds gives, and which differences it can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Design:
    """How a method is compared with its reference.

    `paired`: at the same seeds, as the tables do it, over the seeds that both have; the interval
    of the mean difference has df n - 1 and the standard deviation
    sqrt(sd1^2 + sd2^2 - 2 correlation sd1 sd2). Otherwise two independent samples, df n1 + n2 - 2.
    """

    paired: bool = True
    correlation: float = 0.0

    def half_width(self, sd: float, n: int, reference_sd: float, reference_n: int) -> float:
        """Return half the 95 % t interval of a difference, in the unit of the deviations."""
        error, df = self._error(sd, n, reference_sd, reference_n)
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, df) * error)

    def resolves(
        self, difference: float, sd: float, n: int, reference_sd: float, reference_n: int
    ) -> bool:
        """Whether a true difference is found at the 5 % level in 80 % of studies or more.

        From the noncentral t distribution, not corrected for the number of comparisons.
        """
        error, df = self._error(sd, n, reference_sd, reference_n)
        critical = stats.t.ppf((1 + CONFIDENCE) / 2, df)
        shift = difference / error
        power = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
        return bool(power >= POWER)

    def _error(self, sd: float, n: int, reference_sd: float, reference_n: int) -> tuple[float, int]:
        """Return the standard error of the difference and its degrees of freedom."""
        if self.paired:
            pairs = min(n, reference_n)
            covariance = self.correlation * sd * reference_sd
            variance = sd**2 + reference_sd**2 - 2 * covariance
            return float(np.sqrt(variance / pairs)), pairs - 1
        return float(np.sqrt(sd**2 / n + reference_sd**2 / reference_n)), n + reference_n - 2
