"""What a landscape leaves on disk: arrays and, as JSON, everything that decided them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perturb.errors import PerturbError
from perturb.files import read_arrays, write_arrays

_RERUN = "Delete the file and run again to make it anew."


@dataclass(frozen=True)
class Trajectory:
    """Where training went in a plane.

    `epochs` int64 [K], the checkpoints' own, the final weights last; `path` float64 [K, 2], their
    coordinates (alpha, beta), the final weights at (0, 0); `projected_loss` and `true_loss`
    float64 [K], at the projection and at the checkpoint itself; `explained_variance` float64 [2],
    the share of the path's variance along either direction.
    """

    epochs: np.ndarray
    path: np.ndarray
    projected_loss: np.ndarray
    true_loss: np.ndarray
    explained_variance: np.ndarray


@dataclass(frozen=True)
class Plane:
    """Loss and accuracy over theta* + alpha d1 + beta d2.

    `alpha` float64 [A], `beta` float64 [B]; `loss` (nats, mean over the images) and `accuracy`
    (fraction) float64 [B, A], one row per beta. Where the loss is not finite it is kept as it is.
    `attributes` says what was computed: checkpoint, directions, images, device, precision.
    """

    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    attributes: dict[str, Any]
    trajectory: Trajectory | None = None

    @property
    def centre(self) -> tuple[int, int] | None:
        """Row and column of (0, 0), or None where no grid point is there."""
        rows, columns = np.flatnonzero(self.beta == 0), np.flatnonzero(self.alpha == 0)
        return (int(rows[0]), int(columns[0])) if len(rows) and len(columns) else None

    @property
    def masked(self) -> int:
        """Number of points whose loss is not finite."""
        return int((~np.isfinite(self.loss)).sum())

    def cut(self, axis: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (coordinate, loss, accuracy) along `alpha` or `beta`, the other at 0."""
        if self.centre is None:
            raise ValueError("the plane has no grid point at (0, 0): no cut through it")
        row, column = self.centre
        if axis == "alpha":
            return self.alpha, self.loss[row], self.accuracy[row]
        return self.beta, self.loss[:, column], self.accuracy[:, column]


def write_plane(path: str | Path, plane: Plane) -> None:
    """Write a plane as `.npz`, the same bytes for the same plane."""
    arrays = {name: getattr(plane, name) for name in ("alpha", "beta", "loss", "accuracy")}
    if plane.trajectory is not None:
        arrays |= {f"trajectory_{name}": a for name, a in vars(plane.trajectory).items()}
    write_arrays(path, arrays, plane.attributes)


def read_plane(path: str | Path) -> Plane:
    """Read a plane; raises PerturbError naming the file where it is missing or damaged."""
    arrays, attributes = read_arrays(path)
    prefix = "trajectory_"
    path_arrays = {
        k.removeprefix(prefix): arrays.pop(k) for k in list(arrays) if k.startswith(prefix)
    }
    try:
        trajectory = Trajectory(**path_arrays) if path_arrays else None
        return Plane(**arrays, attributes=attributes, trajectory=trajectory)
    except TypeError as error:
        raise PerturbError(f"{path}: not a plane ({error}). {_RERUN}") from None
