"""Planes with known values, for tests."""

import numpy as np

from perturb.landscape.files import Plane, Trajectory

ATTRIBUTES = {
    "dataset": "digits",
    "model": "cnn",
    "method": "sgd_30",
    "seed": 0,
    "direction_seed": 0,
    "normalisation": "filter",
    "images": 500,
    "device": "cpu",
    "precision": "float32",
    "scale": "full",
}


def make_plane(values, points=41, alpha=None, beta=None, trajectory=None, **attributes):
    """Return the plane of a function of (alpha, beta), or of an array, on -1..1."""
    shape = values.shape if isinstance(values, np.ndarray) else (points, points)
    alpha = np.linspace(-1, 1, shape[1]) if alpha is None else alpha
    beta = np.linspace(-1, 1, shape[0]) if beta is None else beta
    loss = values if isinstance(values, np.ndarray) else values(alpha[None], beta[:, None])
    accuracy = np.exp(-np.abs(np.nan_to_num(loss)))
    return Plane(alpha, beta, loss, accuracy, ATTRIBUTES | attributes, trajectory)


def make_trajectory(epochs=6):
    """Return a path that runs to (0, 0)."""
    left = np.linspace(0.9, 0, epochs)
    path = np.stack([left, left**2 - 0.5 * left], axis=1)
    loss = 0.01 + 2 * left
    return Trajectory(np.arange(epochs), path, loss, 1.1 * loss, np.array([0.831, 0.102]))
