"""Whether accuracies are fractions or percent: decided file by file, checked across files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from scipy import stats

from perturb.audit.text import Unreadable

ABOVE_ONE = 1.0 + 1e-6
# A value and the next, a hundred times as large or as small, within rounding and an epoch's change.
JUMP = (70.0, 140.0)
FALL = -0.8  # Spearman's correlation with the epoch of a series that is hardly an accuracy


def scale_of(values: np.ndarray, signed: bool, stated: str, name: str) -> tuple[str, list[str]]:
    """Return `percent` or `fraction` for accuracies [measured], and what speaks against them.

    `signed`: the file's cells bear percent signs; `stated`: what the configuration says, or `auto`.
    Raises Unreadable where they can be neither.
    """
    finite = values[np.isfinite(values)]
    high, low = (float(finite.max()), float(finite.min())) if len(finite) else (0.0, 0.0)
    found = "percent" if signed or high > ABOVE_ONE else "fraction"
    scale = stated if stated != "auto" and not signed else found
    limit = 100 * ABOVE_ONE if scale == "percent" else ABOVE_ONE
    if high > limit or low < 0:
        wrong = high if high > limit else low
        raise Unreadable(
            f"{name} leaves the range of accuracies (found {wrong:g}, read as {scale}): "
            "set audits.<name>.accuracy, 'fraction' or 'percent', or another field"
        )
    doubts = []
    if scale != found:
        doubts.append(
            f"the configuration says percent, and no accuracy is above 1 (best {high:g}): "
            "fractions, or a run that never learned. Set audits.<name>.accuracy: fraction, or "
            "leave it out"
        )
    return scale, doubts + _oddities(values, scale)


def _oddities(values: np.ndarray, scale: str) -> list[str]:
    """Say what no run's accuracies do."""
    finite = values[np.isfinite(values)]
    doubts = []
    before, after = finite[:-1], finite[1:]
    both = (before > 0) & (after > 0)
    ratio = np.maximum(before[both] / after[both], after[both] / before[both])
    if scale == "percent" and ((ratio > JUMP[0]) & (ratio < JUMP[1])).any():
        doubts.append("changes by a factor of a hundred from one epoch to the next: two scales")
    if len(finite) >= 6 and np.ptp(finite) > 0:
        trend = stats.spearmanr(np.arange(len(finite)), finite).statistic
        if trend < FALL and finite[-1] < 0.5 * finite[0]:
            doubts.append(
                f"falls from {finite[0]:g} to {finite[-1]:g} as a loss does: is this its column?"
            )
        if np.array_equal(np.diff(finite), np.ones(len(finite) - 1)):
            doubts.append("counts upwards by 1 as an epoch does: is this its column?")
    return doubts


def disagreeing(scales: Mapping[str, tuple[str, bool]]) -> dict[str, str]:
    """Return the files whose scale is not that of most, with what to say: by path.

    `scales` is (scale, whether the file itself says so by its signs) by path, of one data set and
    model. A run in percent that never learned cannot be told from one in fractions.
    """
    counts = Counter(scale for scale, _ in scales.values())
    if len(counts) < 2:
        return {}
    most = counts.most_common()
    common = most[0][0] if most[0][1] > most[1][1] else None
    return {
        path: (
            f"read as {scale}, where {sum(counts.values()) - counts[scale]} other files are "
            f"{'percent' if scale == 'fraction' else 'fractions'}: its scale cannot be told for "
            "certain. Write all files in one scale, or audit them apart"
        )
        for path, (scale, certain) in scales.items()
        if scale != common and not (certain and scale == "percent")
    }
