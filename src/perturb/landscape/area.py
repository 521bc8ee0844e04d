"""How wide a minimum is in a plane: the area where the loss stays below a level."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from contourpy import FillType, contour_generator

from perturb.landscape.files import Plane


@dataclass(frozen=True)
class FlatArea:
    """The part of a plane with loss below `level` (nats).

    `area` is in units of alpha x beta. `at_border`: the part touches the plane's border, so `area`
    is a lower bound. `masked_cells` counts the grid cells with a corner whose loss is not finite:
    they are in no area. `area` is NaN where the loss at the centre is not finite.
    """

    area: float
    level: float
    at_border: bool
    masked_cells: int


def flat_area(plane: Plane, margin: float) -> FlatArea:
    """Return the epsilon-flat area: where loss < loss(0, 0) + `margin` (nats), any connected part.

    Marching squares on the grid itself, linear along the edges of its cells: the error falls with
    the square of the spacing. Raises ValueError where no grid point is at (0, 0).
    """
    if plane.centre is None:
        raise ValueError("the plane has no grid point at (0, 0): there is no level to compare with")
    finite = np.isfinite(plane.loss)
    whole = finite[:-1, :-1] & finite[1:, :-1] & finite[:-1, 1:] & finite[1:, 1:]
    masked_cells = int((~whole).sum())
    level = float(plane.loss[plane.centre] + margin)
    if not np.isfinite(level):
        return FlatArea(float("nan"), level, False, masked_cells)
    border = np.concatenate(
        [plane.loss[0], plane.loss[-1], plane.loss[1:-1, 0], plane.loss[1:-1, -1]]
    )
    generator = contour_generator(
        plane.alpha,
        plane.beta,
        np.ma.masked_invalid(plane.loss),
        corner_mask=False,
        fill_type=FillType.OuterOffset,
    )
    polygons, offsets = generator.filled(-np.inf, level)
    area = sum(
        _shoelace(points[start:end])
        for points, starts in zip(polygons, offsets, strict=True)
        for start, end in pairwise(starts)
    )
    return FlatArea(float(area), level, bool((border < level).any()), masked_cells)


def _shoelace(ring: np.ndarray) -> float:
    """Return the signed area of a closed ring [N, 2]; contourpy turns holes the other way round."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return 0.5 * float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
