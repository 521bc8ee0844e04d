"""A run's predictions on disk: the class that it gives each test image, and whether it is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perturb.errors import PerturbError
from perturb.files import read_arrays, write_arrays
from perturb.runs import Run

FILE = "last.npz"
_AGAIN = "Delete the file and run again to make it anew."


@dataclass(frozen=True)
class Predictions:
    """What a run says of its test images.

    `indices` int64 [N] into the data set's test split, `predicted` int64 [N] classes, `correct`
    bool [N]; all empty for a run that diverged. `attributes` say what they were made from.
    """

    indices: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray
    attributes: Mapping[str, Any]

    @property
    def differs(self) -> bool:
        """Whether they come to another accuracy than the run's record has, as on another device."""
        recorded = self.attributes["record_accuracy"]
        return recorded is not None and abs(recorded - self.correct.mean()) > 1e-9


def write(path: str | Path, predictions: Predictions) -> None:
    """Write predictions as `.npz`, the same bytes for the same ones."""
    arrays = {name: getattr(predictions, name) for name in ("indices", "predicted", "correct")}
    write_arrays(path, arrays, dict(predictions.attributes))


def read(path: str | Path) -> Predictions:
    """Read predictions; PerturbError naming the file where it is missing or damaged."""
    arrays, attributes = read_arrays(path)
    if {"indices", "predicted", "correct"} - arrays.keys():
        raise PerturbError(f"{path}: no predictions of a run. {_AGAIN}")
    return Predictions(arrays["indices"], arrays["predicted"], arrays["correct"], attributes)


def file_of(run: Run) -> str:
    """Return a run's file of predictions, relative to the results."""
    return f"predictions/{run}/{FILE}"
