"""Data for retrieval: identities seen by cameras, of which those of test are not those of train.

Train labels are classes as ever. Test labels are identities: which images are queries, and which
camera took each image, is kept beside them (`Sightings`). Identities of test are not classes of
train, so no classifier's accuracy can be taken on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

JUNK, DISTRACTOR = -1, 0  # identities of Market-1501 that are nobody's


@dataclass(frozen=True)
class Sightings:
    """Which camera took each image, and which images of test are queries; the others are gallery.

    `train_cameras` int64 [N], `test_cameras` int64 [M], `test_is_query` bool [M].
    """

    train_cameras: np.ndarray
    test_cameras: np.ndarray
    test_is_query: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, as a prepared data set has them."""
        return {
            "train_cameras": self.train_cameras,
            "test_cameras": self.test_cameras,
            "test_is_query": self.test_is_query,
        }

    def described(self, test_labels: np.ndarray) -> dict[str, Any]:
        """Return what a manifest says of them."""
        identities = np.unique(test_labels)
        return {
            "cameras": np.unique(np.concatenate([self.train_cameras, self.test_cameras])).tolist(),
            "test_identities": int((~np.isin(identities, (JUNK, DISTRACTOR))).sum()),
            "queries": int(self.test_is_query.sum()),
            "gallery": int((~self.test_is_query).sum()),
            "distractors": int((test_labels == DISTRACTOR).sum()),
            "junk": int((test_labels == JUNK).sum()),
        }


def take_sightings(arrays: dict[str, np.ndarray]) -> Sightings | None:
    """Take the arrays of sightings out of `arrays` and return them; None where it has none."""
    if "test_is_query" not in arrays:
        return None
    return Sightings(
        arrays.pop("train_cameras"), arrays.pop("test_cameras"), arrays.pop("test_is_query")
    )


@dataclass(frozen=True)
class IdentitySplit:
    """Places of images [N]: those of train, and of test the queries and the gallery, each rising.

    `classes` are the identities of train, sorted: the class of an image of train is its place.
    """

    train: np.ndarray
    query: np.ndarray
    gallery: np.ndarray
    classes: np.ndarray


def split_identities(identities: np.ndarray, cameras: np.ndarray, seed: int = 0) -> IdentitySplit:
    """Give half of the identities [N], rounded down, to train and the others to test.

    Of test one image of each identity and camera is a query, the others are gallery. Fixed by the
    seed. An identity of a single camera, which no query could find, is train's where there is room.
    """
    from perturb.random import numpy_generator

    generator = numpy_generator(seed, "identity split")
    known = np.unique(identities)
    several = np.array([len(np.unique(cameras[identities == one])) > 1 for one in known])
    order = generator.permutation(len(known))
    order = order[np.argsort(several[order], kind="stable")]  # those of one camera come first
    classes = np.sort(known[order[: len(known) // 2]])
    is_train = np.isin(identities, classes)
    is_query = np.zeros(len(identities), dtype=bool)
    shuffled = generator.permutation(np.flatnonzero(~is_train))
    pairs = np.stack([identities[shuffled], cameras[shuffled]])
    is_query[shuffled[np.unique(pairs, axis=1, return_index=True)[1]]] = True
    return IdentitySplit(
        np.flatnonzero(is_train),
        np.flatnonzero(is_query),
        np.flatnonzero(~is_train & ~is_query),
        classes,
    )


def class_counts(labels: Mapping[str, np.ndarray], classes: int, test: bool) -> dict[str, Any]:
    """Return how many images each class has, by split; without test where its labels are none."""
    return {
        split: np.bincount(of_split, minlength=classes).tolist()
        for split, of_split in labels.items()
        if split != "test" or test
    }
