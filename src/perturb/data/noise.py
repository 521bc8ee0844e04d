"""Label noise: a data set some of whose train labels are wrong, and known to be.

Of every class exactly `round(n r)` of its n train images get another label (r as the name's decimal
says it, half to even). Which ones, and which label, is fixed by a seed:

- random: uniform over the other classes ("symmetric" noise without the true class);
- patterned (CORE: Ye et al. 2022, "Collaborative refining for person re-identification with label
  noise"): each image gets what a model trained on the true labels takes it for: its second choice,
  or its first where that is wrong. Both are the best class other than the true one. The paper's
  model is the re-identification network itself; here it is linear discriminant analysis of the
  pixels (`discriminant_scores`), which any data set has in seconds and which no study's network
  depends on. `noisy_labels` takes the choices of any other model.

The images that a smaller rate changes are among those of a larger one, and get the same labels;
both kinds change the same images. The test split keeps its true labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from perturb.data import variants
from perturb.data.dataset import Dataset, Images
from perturb.data.variants import Noise, Variant
from perturb.errors import PerturbError
from perturb.files import sha256_arrays

LARGEST_SIDE = 16


def noisy_labels(
    labels: np.ndarray, num_classes: int, rate: float, seed: int, choices: np.ndarray | None = None
) -> np.ndarray:
    """Return a copy of the true `labels`, int64 [N], of which a fraction `rate` is wrong.

    `choices` [N] is the wrong label of each image, where it is given one; None draws it uniformly
    from the other classes. Raises PerturbError where there is one class only, or where every class
    has so few images that none of its labels changes; ValueError where a choice is the true label.
    """
    from perturb.random import numpy_generator

    if num_classes < 2:
        raise PerturbError("label noise needs two classes at least: there is no other label.")
    if choices is not None and (choices == labels).any():
        raise ValueError("a wrong label must not be the true one")
    generator = numpy_generator(seed, "label noise")
    order = generator.permutation(len(labels))
    if choices is None:
        choices = (labels + generator.integers(1, num_classes, len(labels))) % num_classes
    given, exact = labels.astype(np.int64), Fraction(repr(rate))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        changed = members[: round(len(members) * exact)]
        given[changed] = choices[changed]
    if np.array_equal(given, labels):
        raise PerturbError(
            f"label noise of rate {rate} changes none of the {len(labels)} train labels: every "
            "class has too few images. Ask for a higher rate."
        )
    return given


def likeliest_mistakes(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the best class of `scores` [N, K] other than the true `labels` [N], int64 [N].

    That is a model's second choice, or its first where that is wrong. Raises ValueError for scores
    that are not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    others = scores.astype(np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    return others.argmax(axis=1)


def discriminant_scores(images: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the log-likelihood of each class, float64 [N, K], by linear discriminant analysis.

    `images` uint8 [N, H, W, C], averaged over blocks of pixels to at most 16 a side. Up to what
    all classes of an image share, `m_k' S^-1 x - m_k' S^-1 m_k / 2 + log n_k / N`, with class
    means m and the covariance S within classes, shrunk as Ledoit and Wolf (2004) do. A class
    without images scores less than all others. One thread, so that no other order of sums moves a
    near tie.
    """
    from sklearn.covariance import ledoit_wolf
    from threadpoolctl import threadpool_limits

    features = _averaged(images)
    features -= features.mean(axis=0)
    present, codes = np.unique(labels, return_inverse=True)
    with threadpool_limits(limits=1):
        means = np.stack([features[codes == code].mean(axis=0) for code in range(len(present))])
        covariance, _ = ledoit_wolf(features - means[codes], assume_centered=True)
        # The pseudo-inverse: with one image in each class there is nothing to invert.
        weights = np.linalg.pinv(covariance, hermitian=True) @ means.T
        prior = np.log(np.bincount(codes) / len(labels))
        found = features @ weights - (means.T * weights).sum(axis=0) / 2 + prior
    scores = np.full((len(labels), num_classes), found.min() - 1)
    scores[:, present] = found
    return scores


def _averaged(images: np.ndarray) -> np.ndarray:
    """Return float64 [N, F], 0..1: means over equal blocks; what is left at an edge is cut off."""
    count, height, width, channels = images.shape
    down, across = (-(-side // LARGEST_SIDE) for side in (height, width))
    rows, columns = height // down, width // across
    blocks = images[:, : rows * down, : columns * across].reshape(
        count, rows, down, columns, across, channels
    )
    return blocks.mean(axis=(2, 4)).reshape(count, -1) / 255


def transitions(true: np.ndarray, given: np.ndarray) -> dict[str, dict[str, int]]:
    """Return how often each true label (outer key) became each other one (inner key)."""
    pairs, counts = np.unique(np.stack([true, given])[:, true != given], axis=1, return_counts=True)
    found: dict[str, dict[str, int]] = {}
    for (before, after), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        found.setdefault(str(before), {})[str(after)] = count
    return found


@dataclass(frozen=True, kw_only=True)
class NoisyDataset(Dataset):
    """A data set with label noise: `base`, read as always, its train labels changed by `seed`."""

    base: Dataset
    noise: Noise
    seed: int

    @classmethod
    def of(cls, base: Dataset, noise: Noise, seed: int) -> NoisyDataset:
        """Return `base` with noise, called as that variant of it; all else is as in `base`."""
        return cls(
            name=variants.format(Variant(base.name, noise)),
            flip=base.flip,
            mean=base.mean,
            std=base.std,
            shape=base.shape,
            base=base,
            noise=noise,
            seed=seed,
        )

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read `base` and change its train labels; the true ones are kept beside them."""
        images = self.base.read(data_root, allow_partial)
        true, classes = images.train_labels, len(images.class_names)
        choices = None
        if self.noise.kind == "patterned":
            scores = discriminant_scores(images.train_images, true, classes)
            choices = likeliest_mistakes(scores, true)
        try:
            given = noisy_labels(true, classes, self.noise.rate, self.seed, choices)
        except PerturbError as error:
            raise PerturbError(f"Data set '{self.name}': {error}") from None
        return replace(
            images,
            train_labels=given,
            train_true_labels=true,
            noise=self._described(true, given, classes),
        )

    def _described(self, true: np.ndarray, given: np.ndarray, classes: int) -> dict[str, Any]:
        changed = int((true != given).sum())
        return {
            "base": self.base.name,
            "kind": self.noise.kind,
            "rate": self.noise.rate,
            "seed": self.seed,
            "changed": changed,
            "actual_rate": changed / len(true),
            "given_labels_sha256": sha256_arrays({"train_labels": given}),
            "true_class_counts": np.bincount(true, minlength=classes).tolist(),
            "transitions": transitions(true, given),
        }
