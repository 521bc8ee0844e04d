"""A data set without the images that it has twice: the variant `<name>_duplicates-dropped`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perturb.data import variants
from perturb.data.dataset import Dataset, Images
from perturb.errors import PerturbError


@dataclass(frozen=True, kw_only=True)
class WithoutDuplicates(Dataset):
    """`base`, read as always, of which copies are dropped (`perturb.data.duplicates`).

    Of test: every image with a copy in train. Of either split: copies of an earlier image of it,
    and every image of a group of copies that has two labels, of which one is wrong.
    """

    base: Dataset

    @classmethod
    def of(cls, base: Dataset) -> WithoutDuplicates:
        """Return `base` without copies, called as that variant of it; all else is as in `base`."""
        return cls(
            name=f"{base.name}_{variants.DROPPED}",
            flip=base.flip,
            mean=base.mean,
            std=base.std,
            base=base,
        )

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read `base` and drop its copies; PerturbError where a class is left without images."""
        from perturb.data.duplicates import leakage_of

        images = self.base.read(data_root, allow_partial)
        found = leakage_of(
            images.train_images, images.train_labels, images.test_images, images.test_labels
        )
        train = np.delete(
            np.arange(len(images.train_labels)),
            np.union1d(found.surplus_train, found.disputed_train),
        )
        dropped = np.concatenate([found.seen, found.surplus_test, found.disputed_test])
        test = np.delete(np.arange(len(images.test_labels)), np.unique(dropped))
        for split, labels in (
            ("train", images.train_labels[train]),
            ("test", images.test_labels[test]),
        ):
            left = np.bincount(labels, minlength=len(images.class_names))
            if not left.all():
                lacking = images.class_names[int(np.argmin(left))]
                raise PerturbError(
                    f"Data set '{self.name}': every {split} image of class '{lacking}' is a copy, "
                    f"and none is left. See results/data/{self.base.name}.duplicates.json, and "
                    "split the images anew."
                )
        return replace(
            images,
            train_images=images.train_images[train],
            train_labels=images.train_labels[train],
            test_images=images.test_images[test],
            test_labels=images.test_labels[test],
        )
