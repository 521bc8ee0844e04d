"""Features as retrieval compares them: finite, at unit length."""

from __future__ import annotations

import numpy as np

from perturb.errors import PerturbError


def unit_length(features: np.ndarray, name: str) -> np.ndarray:
    """Return a copy of `features` [N, d], float32, each divided by its Euclidean length.

    Raises PerturbError for features that are not finite (a diverged network's, which would rank
    all the same and score like chance or better) or of length zero; `name` says whose they are.
    """
    found = np.array(features, dtype=np.float32)
    if found.ndim != 2:
        raise PerturbError(f"{name} features must be [images, d], not {list(found.shape)}.")
    lengths = np.sqrt(np.einsum("nd,nd->n", found, found, dtype=np.float64))
    spoilt = np.flatnonzero(~np.isfinite(lengths))
    if len(spoilt):
        raise PerturbError(
            f"{len(spoilt)} of {len(found)} {name} features are not finite, the first that of "
            f"image {spoilt[0]}: the network has diverged, so there is nothing to rank. Evaluate "
            "an earlier checkpoint."
        )
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        raise PerturbError(
            f"{len(empty)} of {len(found)} {name} features are zero, the first that of image "
            f"{empty[0]}: they have no direction to be compared by. Evaluate another checkpoint."
        )
    found /= lengths[:, None].astype(np.float32)
    return found
