"""The splits of a run: what trains, what chooses an epoch, what tests, as the protocol says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from perturb.random import numpy_generator

if TYPE_CHECKING:
    from perturb.data.prepared import PreparedData


class ImageLimit(Protocol):
    """How many images of each split a short run uses."""

    @property
    def train(self) -> int:
        """Most images that train."""

    @property
    def test(self) -> int:
        """Most images that test, and most that validate."""


class SplitSettings(Protocol):
    """What of a run's settings decides its splits."""

    @property
    def protocol(self) -> str:
        """`from400` or `holdout`, see `make_splits`."""

    @property
    def split_seed(self) -> int:
        """Fixes which images a limit leaves."""

    @property
    def limit(self) -> ImageLimit | None:
        """None: all images."""


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, C] and the labels int64 [N] that a user of the data set is given.

    Where those hold label noise, `true_labels` int64 [N] do not; else it is None.
    """

    images: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def chosen(self, which: np.ndarray) -> Split:
        """Return the images `which`: sorted indices, or a mask [N]."""
        true = None if self.true_labels is None else self.true_labels[which]
        return Split(self.images[which], self.labels[which], true)


def balanced_subset(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return sorted indices of `count` images, classes as even as the labels [N] allow.

    Numbers of two classes differ by at most 1, but for a class that has no more images: all of it
    is chosen then. Fixed by the seed; a smaller subset of one seed is part of every larger one.
    """
    order = numpy_generator(seed, "subset").permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:count])


def make_splits(data: PreparedData, settings: SplitSettings) -> dict[str, Split]:
    """Return train, validation and test, as the protocol says.

    `from400`: the whole train split trains and test plays validation (the same object);
    `holdout`: the stratified hold-out of train is validation. `limit` then thins train and test.

    With label noise the hold-out is as noisy as the rest of train, for who has no true labels
    cannot choose an epoch by them; test is not. The images of each split are those of the data
    set without noise, so that labels are all that differs.
    """
    train = Split(data.train_images, data.train_labels, data.train_true_labels)
    test = Split(data.test_images, data.test_labels)
    validation = test
    if settings.protocol == "holdout":
        held_out = np.zeros(len(train), dtype=bool)
        held_out[data.validation_indices] = True
        train, validation = train.chosen(~held_out), train.chosen(held_out)
    limit = settings.limit
    if limit:
        thinned = thin(test, limit.test, settings.split_seed)
        held_out_too = thin(validation, limit.test, settings.split_seed)
        validation = thinned if validation is test else held_out_too
        test, train = thinned, thin(train, limit.train, settings.split_seed)
    return {"train": train, "validation": validation, "test": test}


def thin(split: Split, count: int, seed: int) -> Split:
    """Return `count` images of a split, balanced by their true labels (`balanced_subset`)."""
    labels = split.labels if split.true_labels is None else split.true_labels
    return split.chosen(balanced_subset(labels, count, seed))
