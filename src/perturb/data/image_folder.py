"""A user's own data set: a folder of images with one folder a class."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perturb.data import folder_layout, image_sizes
from perturb.data.dataset import Dataset, Images, Shape
from perturb.data.folder_layout import Layout
from perturb.data.image_files import decode, header
from perturb.data.splits import stratified_indices
from perturb.errors import PerturbError

TEST_SHARE = 0.2
SMALLEST_CLASS = 3  # images: one to train, one to hold out, one to test
_LOOKED_AT = 1000  # images of a folder that is counted and not read


def _sizes_and_mode(paths: list[Path]) -> tuple[list[tuple[int, int]], str]:
    """Return the images' sizes, and L (grey, only if every image is) or RGB."""
    headers = [header(path) for path in paths]
    grey = all(one.mode in ("1", "L") for one in headers)
    return [one.size for one in headers], "L" if grey else "RGB"


def _digest(paths: list[Path]) -> str:
    """Return one SHA-256 over the names and contents of the files, the first in their folder."""
    digest, folder = hashlib.sha256(), paths[0].parent
    for path in paths:
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}:{len(content)};".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """`folder` with train/<class>/* and test/<class>/*, or <class>/* for a fixed 80/20 split.

    What else it may look like, and what of it is not read, says `perturb.data.folder_layout`.
    """

    folder: Path
    side: int = 0  # of all images, in pixels; 0: as their own sizes say (`image_sizes.side_of`)

    def remarks(self) -> list[str]:
        """Return what one may not expect of the images, before they are read.

        From the headers that `counted` looks at.
        """
        layout = self.layout()
        sizes, _ = _sizes_and_mode(self._some(layout))
        return image_sizes.remarks(sizes, self.side or image_sizes.side_of(sizes))

    def _some(self, layout: Layout) -> list[Path]:
        every = self._paths(layout)
        return every[:: -(-len(every) // _LOOKED_AT)]

    def counted(self) -> Shape:
        """Return the shape that `read` will come to, in seconds: files are counted, not decoded.

        Size and colour are told from the headers of 1,000 images, evenly spaced: they can differ
        from what all images come to where a folder holds more, of several sizes.

        Raises PerturbError for a folder that is laid out otherwise.
        """
        layout = self.layout()
        train, test = (len(names) for names in self.names(layout))
        sizes, mode = _sizes_and_mode(self._some(layout))
        side = self.side or image_sizes.side_of(sizes)
        return Shape(train, test, len(layout.splits["train"]), side, len(mode))

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read, bring to one square size and split the images; `data_root` is not looked at.

        Raises PerturbError for a folder that is laid out otherwise, for an image that cannot be
        read as it is meant and for a class with too few.
        """
        layout = self.layout()
        classes = tuple(layout.splits["train"])
        sizes, mode = _sizes_and_mode(self._paths(layout))
        size = self.side or image_sizes.side_of(sizes)
        arrays = {
            name: self._decode(by_class, classes, size, mode)
            for name, by_class in layout.splits.items()
        }
        if "test" not in arrays:
            images, labels = arrays["train"]
            test = _drawn_for_test(labels)
            arrays = {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}
        return Images(
            *arrays["train"],
            *arrays["test"],
            class_names=classes,
            kind="folder of images",
            files=self._digests(layout),
        )

    def layout(self) -> Layout:
        """Return how the folder is laid out; PerturbError where a class has too few images."""
        layout = folder_layout.find(self.name, self.folder)
        needed = SMALLEST_CLASS - ("test" in layout.splits)
        for name, paths in layout.splits["train"].items():
            if len(paths) < needed:
                where = " of train" if "test" in layout.splits else ""
                raise PerturbError(
                    f"{self.folder}: class '{name}'{where} has {len(paths)} image"
                    f"{'s' * (len(paths) != 1)}, too few for every split to have one: at least "
                    f"{needed} are needed. Add images or remove the class."
                )
        return layout

    def names(self, layout: Layout) -> tuple[list[str], list[str]]:
        """Return the paths of the train and the test images in their order, below the folder."""
        found = {
            split: [path.relative_to(self.folder).as_posix() for path in layout.paths(split)]
            for split in layout.splits
        }
        if "test" in found:
            return found["train"], found["test"]
        sizes = [len(paths) for paths in layout.splits["train"].values()]
        test = _drawn_for_test(np.repeat(np.arange(len(sizes)), sizes))
        names = np.array(found["train"], dtype=object)
        return names[~test].tolist(), names[test].tolist()

    def facts(self, layout: Layout) -> Mapping[str, Any]:
        """Return what a manifest says of the reading: left out files by reason, notes."""
        headers = [header(path) for path in self._paths(layout)]
        alpha = sum(one.alpha for one in headers)
        frames = sum(one.several for one in headers)
        notes = list(layout.notes)
        notes += [f"{alpha} images with transparency, laid on white"] if alpha else []
        sizes = [one.size for one in headers]
        notes += image_sizes.remarks(sizes, self.side or image_sizes.side_of(sizes))
        notes += [f"{frames} files of several frames, the first of which is read"] if frames else []
        left_out = {
            reason: {"count": len(paths), "paths": list(paths)}
            for reason, paths in layout.left_out.items()
        }
        return {"left_out": left_out, "notes": notes}

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each class folder, as `read` puts it in the manifest."""
        return self._digests(self.layout())

    @staticmethod
    def _digests(layout: Layout) -> dict[str, str]:
        return {
            "/".join((*((split,) if len(layout.splits) > 1 else ()), name)): _digest(paths)
            for split, by_class in layout.splits.items()
            for name, paths in by_class.items()
        }

    def files(self) -> list[Path]:
        """Return the files that `read` reads; PerturbError as there."""
        return self._paths(self.layout())

    @staticmethod
    def _paths(layout: Layout) -> list[Path]:
        return [path for split in layout.splits for path in layout.paths(split)]

    @staticmethod
    def _decode(
        by_class: dict[str, list[Path]], classes: tuple[str, ...], size: int, mode: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [N, size, size, 1 or 3] and labels int64 [N]."""
        labels = np.repeat(np.arange(len(classes)), [len(by_class[name]) for name in classes])
        images = np.empty((len(labels), size, size, len(mode)), dtype=np.uint8)
        paths = [path for name in classes for path in by_class[name]]
        for image, path in zip(images, paths, strict=True):
            image[:] = np.asarray(decode(path, size, mode)).reshape(image.shape)
        return images, labels.astype(np.int64)


def _drawn_for_test(labels: np.ndarray) -> np.ndarray:
    """Return which images of the labels [N] test: 80/20 by class, at least one of each."""
    count = round(TEST_SHARE * len(labels))
    drawn = stratified_indices(labels, count, seed=0, purpose="test split of folder")
    test = np.zeros(len(labels), dtype=bool)
    test[drawn] = True
    for label in np.setdiff1d(labels, labels[drawn]):
        members = np.flatnonzero(labels == label)
        test[members[stratified_indices(np.zeros(len(members)), 1, seed=0, purpose="one")]] = True
    return test
