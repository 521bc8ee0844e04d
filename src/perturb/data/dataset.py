"""What a data set is before it is prepared: where its images come from and what they mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perturb.data.identities import Sightings


@dataclass(frozen=True)
class Shape:
    """A data set as a model sees it: images of each split, classes, pixels a side, channels.

    `width` is that of images that are no squares, whose height `image_size` is; else 0.
    """

    train: int
    test: int
    num_classes: int
    image_size: int
    channels: int
    width: int = 0


@dataclass(frozen=True)
class Images:
    """The images and labels of one data set in its official split, as read from its source.

    `train_images` and `test_images` are uint8 [N, H, W, C], labels int64 [N]. `kind` names the
    layout that was read, `files` maps the names of its files to the SHA-256 of their contents,
    `partial` says that the set is smaller than the official one. Where `train_labels` hold label
    noise, `train_true_labels` int64 [N] are those without it, and `noise` describes it.
    `train_subjects` [N] say whose image each is, where that is known: validation then has no
    subject of train. With `sightings` the test labels are identities to be found again, not
    classes of train.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    kind: str
    files: Mapping[str, str]
    partial: bool = False
    train_true_labels: np.ndarray | None = None
    noise: Mapping[str, Any] = field(default_factory=dict)
    train_subjects: np.ndarray | None = None
    sightings: Sightings | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name: what the data's SHA-256 is taken over."""
        arrays = {
            "train_images": self.train_images,
            "train_labels": self.train_labels,
            "test_images": self.test_images,
            "test_labels": self.test_labels,
        }
        if self.train_true_labels is not None:
            arrays["train_true_labels"] = self.train_true_labels
        if self.sightings is not None:
            arrays |= self.sightings.arrays()
        return arrays

    def true_labels(self) -> np.ndarray:
        """Return the train labels without noise."""
        return self.train_labels if self.train_true_labels is None else self.train_true_labels


@dataclass(frozen=True)
class Dataset(ABC):
    """A data set that can be prepared.

    `flip` says whether a horizontal flip keeps the meaning of the label. `mean` and `std` (a
    channel, of pixels / 255) are the published ones; None: computed from the train split. `shape`
    is that of the official distribution, for a plan that is made before the data is there; None
    where it is not known.
    """

    name: str
    flip: bool = True
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    shape: Shape | None = None

    @abstractmethod
    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the set from `data_root`; PerturbError names what is missing or corrupt."""
