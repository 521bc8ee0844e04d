"""Fixed stratified splits."""

from __future__ import annotations

import numpy as np


def stratified_indices(labels: np.ndarray, count: int, *, seed: int, purpose: str) -> np.ndarray:
    """Draw `count` indices so that every class keeps its share; sorted, int64 [count].

    Shares are rounded by largest remainder, and every class leaves at least one image out of the
    draw; where that is impossible fewer than `count` are drawn. The draw depends on `labels`,
    `seed` and `purpose` only.
    """
    # perturb.random needs torch, seconds to import, which readers of prepared data do without.
    from perturb.random import numpy_generator

    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * (count / max(len(labels), 1))
    drawn = np.minimum(np.floor(exact).astype(np.int64), sizes - 1)
    by_remainder = np.argsort(-(exact - drawn), kind="stable")
    for position in by_remainder:
        if drawn.sum() < count and drawn[position] < sizes[position] - 1:
            drawn[position] += 1
    generator = numpy_generator(seed, purpose)
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in zip(classes, drawn, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def grouped_indices(
    labels: np.ndarray, groups: np.ndarray, share: float, *, seed: int, purpose: str
) -> np.ndarray:
    """Draw about `share` of the images so that no group is drawn in part; sorted, int64.

    Groups are subjects, for example. Classes keep their shares as far as whole groups allow
    (scikit-learn's StratifiedGroupKFold). The draw depends on `labels`, `groups`, `seed` and
    `purpose` only.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    from perturb.random import stream

    folds = StratifiedGroupKFold(
        n_splits=round(1 / share), shuffle=True, random_state=stream(seed, 0, purpose) % 2**32
    )
    _, drawn = next(iter(folds.split(labels, labels, groups)))
    return np.sort(drawn).astype(np.int64)
