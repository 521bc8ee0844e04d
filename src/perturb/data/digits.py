"""The 1,797 handwritten 8x8 digits in scikit-learn's wheel: real data without a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perturb.data.dataset import Dataset, Images, Shape
from perturb.data.splits import stratified_indices
from perturb.files import sha256_arrays

TEST_IMAGES = 360


@dataclass(frozen=True)
class Digits(Dataset):
    """`sklearn.datasets.load_digits`, split 1,437/360 by class, once and for all."""

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the digits; `data_root` is not looked at, the files are scikit-learn's own.

        Pixels 0..16 are scaled to 0..255. The set has no official split: a stratified one is
        drawn here and stays the same whatever the seed of the validation split is.
        """
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        labels = digits.target.astype(np.int64)
        test = np.zeros(len(labels), dtype=bool)
        test[stratified_indices(labels, TEST_IMAGES, seed=0, purpose="test split of digits")] = True
        return Images(
            train_images=images[~test],
            train_labels=labels[~test],
            test_images=images[test],
            test_labels=labels[test],
            class_names=tuple(str(digit) for digit in range(10)),
            kind="scikit-learn load_digits",
            files={"digits": sha256_arrays({"images": images, "labels": labels})},
        )


DIGITS = Digits(name="digits", flip=False, shape=Shape(1_437, 360, 10, 8, 1))
