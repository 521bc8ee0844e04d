"""What runs say of single test images: accuracy without copies, intervals over seeds and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from perturb.analysis.statistics import CONFIDENCE
from perturb.errors import PerturbError
from perturb.predictions.files import Predictions, read


class TestImages:
    """The predictions of a table's runs, which all were tested on the same images.

    Args:
        predictions: of its runs.
        seen: test images, as indices into the split, that have a copy among the train images.
    """

    __test__ = False  # no test of pytest's

    def __init__(self, predictions: Iterable[Predictions], seen: Sequence[int] = ()) -> None:
        self.seen = np.asarray(seen, dtype=np.int64)
        self.of_run: dict[tuple[str, str, int], Predictions] = {}
        for one in predictions:
            named = one.attributes
            self.of_run[named["model"], named["method"], int(named["seed"])] = one

    @classmethod
    def read(cls, paths: Iterable[Path], seen: Sequence[int] = ()) -> TestImages:
        """Read the predictions of a table's runs."""
        return cls(map(read, paths), seen)

    def correct(self, runs: Iterable[Mapping[str, Any]]) -> dict[int, Predictions]:
        """Return the predictions of finished runs by seed.

        Raises PerturbError where a run's are of other weights than its record's. Nothing where any
        is missing, or where they are not of the same images.
        """
        found: dict[int, Predictions] = {}
        for run in runs:
            one = self.of_run.get((run["model"], run["method"], int(run["seed"])))
            if one is None:
                return {}
            if one.attributes["final_weights_sha256"] != run["final_weights_sha256"]:
                raise PerturbError(
                    f"{run['record']}: its predictions are of other weights. Delete the file of "
                    "the run's predictions and run again."
                )
            found[int(run["seed"])] = one
        first = next(iter(found.values()), None)
        same = all(np.array_equal(one.indices, first.indices) for one in found.values())
        return found if same else {}

    def without_copies(self, found: Mapping[int, Predictions]) -> float | None:
        """Return the mean accuracy on test images that have no copy in train; None where none has.

        None too where every image has one.
        """
        if not found or not len(self.seen):
            return None
        kept = ~np.isin(next(iter(found.values())).indices, self.seen)
        if not kept.any():
            return None
        return float(np.mean([one.correct[kept].mean() for one in found.values()]))


def matrix(found: Mapping[int, Predictions]) -> np.ndarray:
    """Return correctness, float64 [seeds, images], by seed."""
    rows = [found[seed].correct.astype(np.float64) for seed in sorted(found)]
    return np.stack(rows) if rows else np.zeros((0, 0))


def differences(ours: Mapping[int, Predictions], theirs: Mapping[int, Predictions]) -> np.ndarray:
    """Return differences of correctness, -1, 0 or 1, [shared seeds, images]; empty without any."""
    shared = sorted(ours.keys() & theirs.keys())
    if not shared or not np.array_equal(ours[shared[0]].indices, theirs[shared[0]].indices):
        return np.zeros((0, 0))
    return np.stack(
        [ours[s].correct.astype(np.float64) - theirs[s].correct.astype(np.float64) for s in shared]
    )


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return both ends of the 95 % interval of a mean over seeds and over images, both drawn.

    `values` [seeds, images] are of every seed on every image: two crossed random factors. The
    variance of their mean is that of the seeds, of the images and of the rest (the two-way analysis
    of variance; Owen 2007, "The pigeonhole bootstrap", eq. 6, is what resampling both would come
    to), with Satterthwaite's degrees of freedom (1946). Bouthillier et al. 2021 say why a test set
    is a source of variance as a seed is. None for fewer than two seeds or images, and without
    spread.
    """
    seeds, images = values.shape
    if min(seeds, images) < 2:
        return None
    mean, of_seeds, of_images = values.mean(), values.mean(axis=1), values.mean(axis=0)
    degrees = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)])
    squares = np.array([images * of_seeds.var() * seeds, seeds * of_images.var() * images, 0.0])
    squares[2] = max(((values - mean) ** 2).sum() - squares.sum(), 0.0)
    by_seed, by_image, rest = squares / degrees
    # A component of variance is not negative: where its square is the smaller, it counts as rest.
    parts = np.array([max(by_seed, rest), max(by_image, rest), -rest])
    variance = parts.sum() / values.size
    if variance <= 0:
        return None
    freedom = parts.sum() ** 2 / (parts**2 / degrees).sum()
    half = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(variance)
    return float(mean - half), float(mean + half)
