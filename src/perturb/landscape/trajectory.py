"""Where training went: principal components of the path of its checkpoints (Li et al. 2018, 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perturb.errors import PerturbError
from perturb.landscape.directions import Direction

Reader = Callable[[str], Tensor]


@dataclass(frozen=True)
class Components:
    """Two orthonormal directions, the path [K, 2] in them, and the variance [2] they explain."""

    first: Direction
    second: Direction
    path: np.ndarray
    explained_variance: np.ndarray


def principal_components(names: Sequence[str], path: Sequence[Reader], final: Reader) -> Components:
    """Return the plane of the path of checkpoints, as seen from the final weights.

    Principal component analysis of theta_k - theta*, centred, over the tensors `names`. `path`
    and `final` give a checkpoint's tensor by name; one tensor of every checkpoint is in memory at
    a time. Each direction's sign makes the path begin at a positive coordinate.

    Raises PerturbError where there are fewer than three checkpoints, or where they do not span a
    plane.
    """
    if len(path) < 3:
        raise PerturbError(
            f"landscape: {len(path)} checkpoints make no trajectory; it takes 3. "
            "Set landscape.checkpoint_every lower, or train.checkpoint_every for single runs."
        )
    gram = np.zeros((len(path), len(path)))
    for name in names:
        differences = _differences(name, path, final)
        gram += (differences @ differences.T).numpy()
    # The Gram matrix of the centred differences has the principal components' eigenvalues.
    centre = np.eye(len(path)) - 1 / len(path)
    values, vectors = np.linalg.eigh(centre @ gram @ centre)
    values, vectors = values[::-1][:2], vectors[:, ::-1][:, :2]
    total = np.trace(centre @ gram @ centre)
    if not values[1] > 1e-12 * max(total, 1e-300):
        raise PerturbError(
            "landscape: the checkpoints lie on a line or on one point: no plane to draw."
        )
    weights = torch.from_numpy(centre @ vectors / np.sqrt(values))
    coordinates = gram @ weights.numpy()  # (theta_k - theta*) . d
    signs = np.where(coordinates[0] < 0, -1.0, 1.0)
    directions: list[Direction] = [{}, {}]
    for name in names:
        differences = _differences(name, path, final)
        combined = weights.T @ differences
        for direction, values_of, sign in zip(directions, combined, signs, strict=True):
            direction[name] = (sign * values_of).view(final(name).shape).to(final(name).dtype)
    return Components(*directions, coordinates * signs, values / total)


def _differences(name: str, path: Sequence[Reader], final: Reader) -> Tensor:
    """Return theta_k - theta* of one tensor, float64 [K, entries]."""
    end = final(name).double().flatten()
    return torch.stack([read(name).double().flatten() - end for read in path])


def covering_grid(path: np.ndarray, points: int, margin: float = 0.15) -> list[np.ndarray]:
    """Return alpha and beta, `points` each, of a square around the path [K, 2] and its margin."""
    low, high = path.min(axis=0), path.max(axis=0)
    half = (0.5 + margin) * max((high - low).max(), 1e-12)
    return [np.linspace(c - half, c + half, points) for c in (low + high) / 2]
