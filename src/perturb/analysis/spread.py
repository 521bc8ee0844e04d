"""Whether methods share one spread between seeds: a test that is right for coarse values.

Bartlett's statistic, with its distribution by Monte Carlo (Dufour 2006, sections 2 and 4): studies
of equal spread are drawn from the fitted block design, rounded as the values are, fitted and
compared with what was found. Its textbook distribution, chi-squared, is for continuous values of
independent groups. Accuracies are multiples of one image's share: the residuals of three seeds are
then equal by chance, at which the logarithm of their variance is infinite.
"""

from __future__ import annotations

import numpy as np

from perturb.analysis.statistics import ROUNDING

RESAMPLES = 9999
_AT_ONCE = 1_000_000  # numbers, of resamples that are fitted together


def equal_spread(
    design: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    step: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float | None:
    """Return the p-value of the test that the noise of every group has one standard deviation.

    The share of studies drawn whose statistic is as large as that of `values`, itself among them:
    at least 1 / (`resamples` + 1). None for fewer than two groups, or where no noise is left.

    Args:
        design: of the means, [values, columns]; may have columns that others make up for.
        values: [values].
        groups: of each value, an integer; those below 0 take part in the fit alone.
        step: of which every value is a multiple, as 1 / images; 0 where they are continuous.
        resamples: studies drawn.
        seed: of the generator that draws them.
    """
    fit = _Fit(design, groups, step)
    scale = fit.variance(values)
    if len(fit.sizes) < 2 or scale <= (ROUNDING * np.abs(values).max()) ** 2:
        return None
    # Rounding adds step^2 / 12 to the variance (Sheppard 1898), where noise spans a few steps.
    sd = np.sqrt(max(scale - step**2 / 12, scale / 4))
    means = values - fit.residuals(values)
    members = groups[:, None] == np.unique(groups[groups >= 0])
    generator = np.random.default_rng(seed)
    found, exceeding, left = fit.statistic(values[None])[0], 1, resamples
    while left:
        count = min(left, max(1, _AT_ONCE // len(values)))
        drawn = means + sd * generator.standard_normal((count, len(values)))
        if step:
            # Where between two steps a group's true mean lies is not known: anywhere.
            shift = generator.uniform(-0.5, 0.5, (count, members.shape[1])) @ members.T
            drawn = np.rint(drawn / step + shift) * step
        # Ties are as large, whatever the order of their sums has rounded them to.
        exceeding += int((fit.statistic(drawn) >= found - 1e-9 * abs(found)).sum())
        left -= count
    return exceeding / (resamples + 1)


class _Fit:
    """Least squares of a design, and Bartlett's statistic of its residuals by group."""

    def __init__(self, design: np.ndarray, groups: np.ndarray, step: float) -> None:
        left, sizes, _ = np.linalg.svd(design, full_matrices=False)
        self.basis = left[:, sizes > 1e-9 * sizes[0]]  # [values, rank]
        self.step = step
        order = np.argsort(groups, kind="stable")
        self.order = order[groups[order] >= 0]
        _, self.starts, self.sizes = np.unique(
            groups[self.order], return_index=True, return_counts=True
        )

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Return what the design leaves of `values` [..., values]."""
        return values - (values @ self.basis) @ self.basis.T

    def variance(self, values: np.ndarray) -> float:
        """Return the variance of the noise, 0 where the design leaves no degree of freedom."""
        degrees = len(values) - self.basis.shape[1]
        return float((self.residuals(values) ** 2).sum() / degrees) if degrees else 0.0

    def statistic(self, values: np.ndarray) -> np.ndarray:
        """Return Bartlett's statistic of each row of `values` [rows, values], but for a factor.

        To each variance that of rounding is added, so that its logarithm is finite where all
        residuals of a group are equal.
        """
        residuals = self.residuals(values)[:, self.order]
        means = np.add.reduceat(residuals, self.starts, axis=1) / self.sizes
        residuals -= np.repeat(means, self.sizes, axis=1)
        squares = np.add.reduceat(residuals**2, self.starts, axis=1)
        degrees = self.sizes - 1
        smallest = np.finfo(float).eps ** 2 * (squares.sum(1, keepdims=True) + 1e-300)
        variances = squares / degrees + self.step**2 / 12 + smallest
        pooled = (variances * degrees).sum(1) / degrees.sum()
        return degrees.sum() * np.log(pooled) - np.log(variances) @ degrees
