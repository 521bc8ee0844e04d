"""A plane of the loss surface, point by point, so that a killed job goes on where it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from perturb.files import read_state, sha256_arrays, write_arrays
from perturb.landscape.files import Plane
from perturb.landscape.surface import Surface

SAVE_SECONDS = 2.0


def symmetric_grid(points: int, span: float = 1.0) -> np.ndarray:
    """Return `points` coordinates from -span to span, float64, with an exact 0 where odd."""
    steps = np.arange(points) - (points - 1) / 2
    return span * steps / max((points - 1) / 2, 1)


def compute(
    surface: Surface,
    alpha: np.ndarray,
    beta: np.ndarray,
    attributes: Mapping[str, Any],
    *,
    state: str | Path | None = None,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Plane:
    """Return loss and accuracy of `surface` at every point of the grid, one row per beta.

    Rows already computed are kept in the file `state` every two seconds, with what they belong to:
    `attributes`, the grid and what the surface is of (`Surface.sha256`). A call that finds such a
    file computes the missing rows only, and comes to the same bytes. A state that is damaged or
    was written for another plane is reported and not used.
    `report` is called after each row with the number of rows done and of all.
    """
    belongs = dict(attributes) | {"grid_sha256": sha256_arrays({"alpha": alpha, "beta": beta})}
    belongs |= {"surface_sha256": surface.sha256()} if state else {}
    values = np.full((len(beta), len(alpha), 2), np.nan)
    done = np.zeros(len(beta), dtype=bool)
    state = Path(state) if state else None
    if state and (kept := read_state(state, belongs)):
        values, done = kept["values"], kept["done"]
        print(f"perturb: going on after {done.sum()} of {len(done)} rows.", file=sys.stderr)
    saved = time.monotonic()
    missing = np.flatnonzero(~done)
    with closing(surface.rows(alpha.tolist(), beta[missing].tolist())) as rows:
        for row, found in zip(missing, rows, strict=True):
            values[row] = found.numpy()
            done[row] = True
            report(int(done.sum()), len(done))
            if state and time.monotonic() - saved > SAVE_SECONDS:
                write_arrays(state, {"values": values, "done": done}, belongs)
                saved = time.monotonic()
    return Plane(alpha, beta, values[..., 0], values[..., 1], dict(attributes))
