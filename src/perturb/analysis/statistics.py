"""What a handful of seeds can say: intervals, differences, equivalence, what could be detected.

The computing is SciPy's and statsmodels'; what is here decides which test fits, and when there is
nothing to say. The bootstrap-t interval is ours, because neither has it; Holm's correction because
theirs takes a second. How often the intervals
cover, and the verdicts err, is measured by `perturb.analysis.coverage`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import DescrStatsW, ttost_ind

CONFIDENCE = 0.95
LEVEL = 0.05
POWER = 0.8
# Below this spread is rounding: accuracies are fractions of at most some ten thousand images.
ROUNDING = 1e-12
# Fewer seeds than this get no verdict: a t test on two has one degree of freedom.
FEW_SEEDS = 3
# Fewer values have so few distinct resamples that bootstrap-t is infinitely wide (3) or twice as
# wide as t (4), while percentile and BCa intervals cover 75 to 80 % (docs/statistics.md).
BOOTSTRAP_FROM = 5
BOOTSTRAP_RESAMPLES = 9999
# From this number of pairs on, their own standard deviation (known to 24 %) is believed before a
# pooled one.
OWN_SD_FROM = 10


@dataclass(frozen=True)
class Summary:
    """Mean of n values, sample standard deviation, 95 % t and bootstrap-t interval.

    None for what is unknown. All in the unit of the values.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A method against its reference: their difference, and what two kinds of test say of it.

    `design` is `paired` (over `summary.n` shared seeds) or `unpaired` (`summary.n` seeds against
    `n_reference` others). `p_value` is of no difference, `p_value_equivalence` of a difference as
    large as the margin; both two-sided questions. `remark` says why there is none, or is empty.
    """

    design: str
    summary: Summary
    n_reference: int
    p_value: float | None = None
    p_value_equivalence: float | None = None
    remark: str = ""

    @property
    def seeds(self) -> int:
        """How many seeds the smaller side has."""
        return min(self.summary.n, self.n_reference)


def p_text(value: float | None) -> str:
    """Write a p-value to two significant digits, or as `<0.001`; empty where there is none."""
    if value is None or np.isnan(value):
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def p_words(value: float) -> str:
    """Write a p-value in a sentence: `p = 0.03`, `p < 0.001`."""
    text = p_text(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def t_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the 95 % t interval of the mean over the last axis of `values`."""
    n = values.shape[-1]
    ends = stats.t.interval(
        CONFIDENCE, df=n - 1, loc=values.mean(-1), scale=stats.sem(values, axis=-1)
    )
    return ends[0], ends[1]


def bootstrap_interval(
    *samples: np.ndarray, resamples: int = BOOTSTRAP_RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the 95 % bootstrap-t interval of a mean, or a difference of two means.

    Efron and Tibshirani 1993, section 12.5: quantiles of the studentised differences between
    resampled and sample mean take the place of Student's. `samples` is one array [..., n], or two
    of which the second's mean is subtracted. Resamples are drawn by a generator of fixed seed. An
    end is infinite where more resamples than the interval leaves out have no spread.
    """
    generator = np.random.default_rng(0)
    mean, resampled_mean, error, resampled_error = 0.0, 0.0, 0.0, 0.0
    for sign, values in zip((1, -1), samples, strict=False):
        n = values.shape[-1]
        drawn = values[..., generator.integers(0, n, (resamples, n))]
        mean = mean + sign * values.mean(-1)
        resampled_mean = resampled_mean + sign * drawn.mean(-1)
        error = error + values.var(-1, ddof=1) / n
        resampled_error = resampled_error + drawn.var(-1, ddof=1) / n
    off = resampled_mean - mean[..., None]
    off[np.abs(off) <= ROUNDING] = 0.0
    resampled_error[resampled_error <= ROUNDING**2] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = np.where(off == 0, 0.0, off / np.sqrt(resampled_error))
    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(studentised, tail, axis=-1, method="lower")
    high = np.quantile(studentised, 1 - tail, axis=-1, method="higher")
    return mean - high * np.sqrt(error), mean - low * np.sqrt(error)


def summarise(values: Sequence[float]) -> Summary:
    """Return the mean, standard deviation (n - 1) and 95 % intervals of `values`.

    One value has no deviation and no interval. Values that are all equal have deviation 0 and no
    interval: one of width 0 would claim to know more than so few, coarse values can. A bootstrap
    interval needs `BOOTSTRAP_FROM` values.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        return Summary(0)
    mean = float(values.mean())
    if len(values) == 1:
        return Summary(1, mean)
    if np.ptp(values) <= ROUNDING:
        return Summary(len(values), mean, 0.0)
    interval = map(float, t_interval(values))
    return Summary(len(values), mean, float(values.std(ddof=1)), *interval, *_bootstrap(values))


def compare(
    values: Mapping[int, float], reference: Mapping[int, float], margin: float
) -> Comparison:
    """Compare values with a reference's, both by seed; `margin` is in the same unit, positive.

    Paired by seed, unless fewer than three seeds are shared where both sides have three or more:
    then by Welch's test. Equivalence is two one-sided tests against `margin` (Schuirmann 1987).

    Where all differences are equal, the t statistic is infinite, or of no difference at all 0 / 0:
    its p-value would come from the coarseness of the measure, not from evidence. It is left out,
    and so is the interval. Without spread nothing is equivalent.
    """
    shared = compared_seeds(values, reference)
    if shared is None:
        return _unpaired(list(values.values()), list(reference.values()), margin)
    differences = np.array([values[seed] - reference[seed] for seed in shared])
    summary, n = summarise(differences), len(shared)
    if n < 2:
        reason = "no seed shared with the reference" if not shared else "one pair of seeds"
        return Comparison("paired", summary, n, remark=reason)
    if np.ptp(differences) <= ROUNDING:
        if abs(differences[0]) > ROUNDING:
            return Comparison("paired", summary, n, remark="same difference at every seed")
        remark = "equal to the reference at every shared seed"
        return Comparison("paired", Summary(n, 0.0, 0.0), n, remark=remark)
    p_value = stats.ttest_1samp(differences, 0.0).pvalue
    return Comparison(
        "paired", summary, n, float(p_value), float(equivalence(differences, margin)[0])
    )


def compared_seeds(values: Mapping[int, float], reference: Mapping[int, float]) -> list[int] | None:
    """Return the seeds that a comparison pairs, or None where it is unpaired."""
    shared = sorted(values.keys() & reference.keys())
    unpaired = len(shared) < FEW_SEEDS <= min(len(values), len(reference))
    return None if unpaired else shared


def equivalence(differences: np.ndarray, margin: float) -> np.ndarray:
    """Return the p-value of two one-sided tests of each column of `differences`, [n] or [n, m].

    Small means: the mean lies between -margin and margin.
    """
    return np.atleast_1d(DescrStatsW(differences).ttost_mean(-margin, margin)[0])


def detectable_difference(n: int, sd: float) -> float:
    """Return the mean difference of n pairs that a two-sided t test at 5 % finds with power 0.8.

    `sd` is the standard deviation of the differences, and its unit that of what is returned
    (noncentral t; Cohen 1988).
    """
    effect = TTestPower().solve_power(nobs=n, alpha=LEVEL, power=POWER, alternative="two-sided")
    return float(effect) * sd


def detectable_difference_unpaired(n: int, n_reference: int, sd: float) -> float:
    """Return the same for two groups that share no seed; `sd` is that within a group."""
    ratio = n_reference / n
    return float(TTestIndPower().solve_power(nobs1=n, ratio=ratio, alpha=LEVEL, power=POWER)) * sd


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's step-down corrected p-values; None stays None and is not counted."""
    known = [index for index, value in enumerate(p_values) if value is not None]
    corrected: list[float | None] = [None] * len(p_values)
    if known:
        # statsmodels' multipletests collects garbage in each call: 0.1 to 1 s beside PyTorch.
        values = np.array([p_values[index] for index in known])
        order = np.argsort(values, kind="stable")
        stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
        for place, value in zip(order, np.minimum(stepped, 1.0), strict=True):
            corrected[known[place]] = float(value)
    return corrected


def _unpaired(values: list[float], reference: list[float], margin: float) -> Comparison:
    ours, theirs = np.array(values, dtype=np.float64), np.array(reference, dtype=np.float64)
    mean = float(ours.mean() - theirs.mean())
    if max(np.ptp(ours), np.ptp(theirs)) <= ROUNDING:
        reason = "the same number at every seed of both"
        return Comparison("unpaired", Summary(len(ours), mean), len(theirs), remark=reason)
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    interval = map(float, test.confidence_interval(CONFIDENCE))
    summary = Summary(len(ours), mean, None, *interval, *_bootstrap(ours, theirs))
    p_equivalence = ttost_ind(ours, theirs, -margin, margin, usevar="unequal")[0]
    return Comparison("unpaired", summary, len(theirs), float(test.pvalue), float(p_equivalence))


def _bootstrap(*samples: np.ndarray) -> tuple[float | None, float | None]:
    if min(map(len, samples)) < BOOTSTRAP_FROM:
        return None, None
    low, high = map(float, bootstrap_interval(*samples))
    return (low, high) if np.isfinite([low, high]).all() else (None, None)
