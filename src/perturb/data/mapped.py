"""A data set whose classes are renamed, joined or left out, so that two sets have the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perturb.data.dataset import Dataset, Images
from perturb.errors import PerturbError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class MappedDataset(Dataset):
    """`base`, its classes called as `classes` says: None leaves a class and its images out.

    The new classes stand in the order in which they are first named.
    """

    base: Dataset
    classes: Mapping[str, str | None]

    @classmethod
    def of(cls, name: str, base: Dataset, classes: Mapping[str, str | None]) -> MappedDataset:
        """Return `base` under another name and with these classes."""
        return cls(name=name, flip=base.flip, base=base, classes=classes)

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read `base`; PerturbError where its classes are not those that are mapped."""
        images = self.base.read(data_root, allow_partial)
        where = f"config, class_maps.{self.name}.classes"
        unknown = [name for name in self.classes if name not in images.class_names]
        if unknown:
            raise PerturbError(
                f"{where}: {self.base.name} has no class '{unknown[0]}'."
                f"{did_you_mean(unknown[0], images.class_names)}"
            )
        missing = [name for name in images.class_names if name not in self.classes]
        if missing:
            raise PerturbError(
                f"{where}: says nothing of '{missing[0]}'. Give it a name, or null to leave it out."
            )
        names = tuple(dict.fromkeys(name for name in self.classes.values() if name))
        targets = (self.classes[name] for name in images.class_names)
        table = np.array([names.index(name) if name else -1 for name in targets])
        train, test = table[images.train_labels], table[images.test_labels]
        kept, kept_test = train >= 0, test >= 0
        subjects = images.train_subjects
        return replace(
            images,
            train_images=images.train_images[kept],
            train_labels=train[kept],
            test_images=images.test_images[kept_test],
            test_labels=test[kept_test],
            class_names=names,
            kind=f"{images.kind}, classes mapped",
            train_subjects=None if subjects is None else subjects[kept],
        )
