"""Single runs over several data sets: probability of improvement, performance profiles.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", section
4: a handful of runs on each of several tasks, with intervals from a bootstrap that is stratified,
which draws runs anew within each task. Runs of one seed are not paired there, and not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perturb.analysis.statistics import CONFIDENCE
from perturb.analysis.tables import ComparisonTable

RESAMPLES = 2000
POINTS = 101  # of a profile

# The values of a method's runs on each data set, larger is better.
Scores = Sequence[np.ndarray]


@dataclass(frozen=True)
class Probability:
    """How often a run of one method is better than one of another, and its 95 % interval.

    `low` and `high` are None where no data set has two runs of either.
    """

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Profile:
    """The share of a method's runs above each threshold, with a pointwise 95 % band; all [P]."""

    thresholds: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def scores(
    tables: Sequence[ComparisonTable], names: Sequence[Mapping[str, str]]
) -> dict[str, list]:
    """Return the values of every method's finished runs on each data set, larger is better.

    Methods by their name over data sets (`names` has it by their own, of each table); only those
    that have finished runs on all.
    """
    found: list[dict[str, np.ndarray]] = []
    for table, over in zip(tables, names, strict=True):
        sign = 1.0 if table.plan.measure.larger_is_better else -1.0
        rows = table.frame[["method", "by_seed"]].to_numpy()
        found.append(
            {over[m]: sign * np.array(text.split(), dtype=np.float64) for m, text in rows if text}
        )
    common = set(found[0]).intersection(*found[1:]) if found else set()
    return {name: [of[name] for of in found] for name in sorted(common)}


def probability_of_improvement(ours: Scores, theirs: Scores) -> Probability:
    """Return the probability that a run of `ours` is better than one of `theirs`, mean over tasks.

    On each task the Mann-Whitney statistic as a share of the pairs; ties count half. The interval
    is the percentiles' of a stratified bootstrap, drawn by a generator of fixed seed.
    """
    mean = float(np.mean([_wins(x, y) for x, y in zip(ours, theirs, strict=True)]))
    if max(len(one) for one in (*ours, *theirs)) < 2:
        return Probability(mean)
    generator = np.random.default_rng(0)
    drawn = np.mean(
        [
            _wins(_redrawn(x, generator), _redrawn(y, generator))
            for x, y in zip(ours, theirs, strict=True)
        ],
        axis=0,
    )
    low, high = np.quantile(drawn, _tails())
    return Probability(mean, float(low), float(high))


def profile(values: Scores, thresholds: np.ndarray) -> Profile:
    """Return the share of runs above each of `thresholds` [P], mean over tasks."""
    generator = np.random.default_rng(0)
    share = np.mean([_above(one, thresholds) for one in values], axis=0)
    drawn = np.mean([_above(_redrawn(one, generator), thresholds) for one in values], axis=0)
    low, high = np.quantile(drawn, _tails(), axis=0)
    return Profile(thresholds, share, low, high)


def relative_to(values: Scores, reference: Scores) -> list[np.ndarray]:
    """Return values less the mean of the reference's runs on the same task."""
    return [one - other.mean() for one, other in zip(values, reference, strict=True)]


def thresholds(values: Sequence[Scores]) -> np.ndarray:
    """Return `POINTS` thresholds over the range of all runs of several methods."""
    every = np.concatenate([one for scores in values for one in scores])
    low, high = float(every.min()), float(every.max())
    margin = 0.02 * (high - low) or 1e-6
    return np.linspace(low - margin, high + margin, POINTS)


def _redrawn(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return values[generator.integers(0, len(values), (RESAMPLES, len(values)))]


def _wins(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the share of pairs that the first wins, over the last axis of both; ties half."""
    off = ours[..., :, None] - theirs[..., None, :]
    return ((off > 0) + 0.5 * (off == 0)).mean(axis=(-1, -2))


def _above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return (values[..., :, None] > thresholds).mean(axis=-2)


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
