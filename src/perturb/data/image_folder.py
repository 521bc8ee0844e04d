"""A user's own data set: a folder of images with one folder a class."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from perturb.data.dataset import Dataset, Images, Shape
from perturb.data.splits import stratified_indices
from perturb.errors import PerturbError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif"))
SPLIT_NAMES = frozenset(("train", "test", "val", "valid", "validation"))
LARGEST_SIDE = 64
TEST_SHARE = 0.2
_LOOKED_AT = 1000  # images of a folder that is counted and not read


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images_by_class(parent: Path) -> dict[str, list[Path]]:
    """Return the image files in each class folder of `parent`, both in order of name."""
    by_class = {
        folder.name: sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
        for folder in _folders(parent)
    }
    empty = [name for name, paths in by_class.items() if not paths]
    if empty:
        raise PerturbError(
            f"{parent / empty[0]}: no images in this class folder. Put images there "
            f"({', '.join(sorted(SUFFIXES))}) or remove it."
        )
    return by_class


def _open(path: Path, size: int | None = None, mode: str = "") -> Image.Image:
    """Open an image upright; with `size` decoded, converted to `mode`, `size` x `size` pixels."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                raise PerturbError(f"{path}: a 16-bit image. Save it with 8 bits a channel.")
            if size is None:
                return image
            upright = ImageOps.exif_transpose(image).convert(mode)
            if upright.size == (size, size):
                return upright
            return upright.resize((size, size), Image.Resampling.BILINEAR)
    except PerturbError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise PerturbError(
            f"{path}: corrupt image ({type(error).__name__}: {error}). Mend or remove it."
        ) from None


def _size_and_mode(paths: list[Path]) -> tuple[int, str]:
    """Choose the side of all images, and L (grey) or RGB.

    The side is the commonest shorter side (the smallest of those equally common), at most 64, in
    multiples of 8 as models with three halvings need it. Grey only if every image is.
    """
    sides: Counter[int] = Counter()
    grey = True
    for path in paths:
        image = _open(path)
        sides[min(image.size)] += 1
        grey = grey and image.mode in ("1", "L")
    commonest = max(sides, key=lambda side: (sides[side], -side))
    return max(8, min(commonest, LARGEST_SIDE) // 8 * 8), "L" if grey else "RGB"


def _digest(paths: list[Path]) -> str:
    """Return one SHA-256 over the names and contents of the files."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name}:{len(content)};".encode())
        digest.update(content)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """`folder` with train/<class>/* and test/<class>/*, or <class>/* for a fixed 80/20 split."""

    folder: Path

    def counted(self) -> Shape:
        """Return the shape that `read` will come to, in seconds: files are counted, not decoded.

        Size and colour are told from the headers of 1,000 images, evenly spaced: they can differ
        from what all images come to where a folder holds more, of several sizes.

        Raises PerturbError for a folder that is laid out otherwise.
        """
        splits = self._splits()
        counts = {name: sum(map(len, by_class.values())) for name, by_class in splits.items()}
        test = counts["test"] if "test" in counts else round(TEST_SHARE * counts["train"])
        train = counts["train"] - (0 if "test" in counts else test)
        every = [
            path for by_class in splits.values() for paths in by_class.values() for path in paths
        ]
        size, mode = _size_and_mode(every[:: -(-len(every) // _LOOKED_AT)])
        return Shape(train, test, len(splits["train"]), size, len(mode))

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read, resize to one square size and split the images; `data_root` is not looked at.

        Raises PerturbError for a folder that is laid out otherwise and for a corrupt image.
        """
        splits = self._splits()
        classes = tuple(next(iter(splits.values())))
        every = [
            path for by_class in splits.values() for paths in by_class.values() for path in paths
        ]
        size, mode = _size_and_mode(every)
        arrays = {
            name: self._decode(by_class, classes, size, mode) for name, by_class in splits.items()
        }
        if "test" not in arrays:
            images, labels = arrays["train"]
            test = np.zeros(len(labels), dtype=bool)
            count = round(TEST_SHARE * len(labels))
            test[stratified_indices(labels, count, seed=0, purpose="test split of folder")] = True
            arrays = {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}
        return Images(
            *arrays["train"],
            *arrays["test"],
            class_names=classes,
            kind="folder of images",
            files=self._digests(splits),
        )

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each class folder, as `read` puts it in the manifest."""
        return self._digests(self._splits())

    @staticmethod
    def _digests(splits: dict[str, dict[str, list[Path]]]) -> dict[str, str]:
        return {
            "/".join((*((split,) if len(splits) > 1 else ()), name)): _digest(paths)
            for split, by_class in splits.items()
            for name, paths in by_class.items()
        }

    def files(self) -> list[Path]:
        """Return the files that `read` reads; PerturbError as there."""
        splits = self._splits().values()
        return [path for by_class in splits for paths in by_class.values() for path in paths]

    def _splits(self) -> dict[str, dict[str, list[Path]]]:
        """Return the image files by split ("train" alone where there is one level) and class."""
        if not self.folder.is_dir():
            raise PerturbError(
                f"Data set '{self.name}': no folder {self.folder}. "
                "Correct its path in the config under image_folders."
            )
        names = {folder.name for folder in _folders(self.folder)}
        if {"train", "test"} <= names:
            splits = {name: _images_by_class(self.folder / name) for name in ("train", "test")}
            differing = sorted(set(splits["train"]) ^ set(splits["test"]))
            if differing:
                raise PerturbError(
                    f"{self.folder}: class folder '{differing[0]}' is in one of train and test "
                    "only. Give both the same classes."
                )
        elif names & SPLIT_NAMES:
            raise PerturbError(
                f"{self.folder}: has {', '.join(sorted(names & SPLIT_NAMES))}, needs both train "
                "and test (or neither: then one folder a class, split 80/20)."
            )
        else:
            splits = {"train": _images_by_class(self.folder)}
        if len(splits["train"]) < 2:
            raise PerturbError(
                f"{self.folder}: needs at least two class folders with images in them "
                "(<class>/*, or train/<class>/* and test/<class>/*)."
            )
        return splits

    @staticmethod
    def _decode(
        by_class: dict[str, list[Path]], classes: tuple[str, ...], size: int, mode: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [N, size, size, 1 or 3] and labels int64 [N]."""
        labels = np.repeat(np.arange(len(classes)), [len(by_class[name]) for name in classes])
        images = np.empty((len(labels), size, size, len(mode)), dtype=np.uint8)
        paths = [path for name in classes for path in by_class[name]]
        for image, path in zip(images, paths, strict=True):
            image[:] = np.asarray(_open(path, size, mode)).reshape(image.shape)
        return images, labels.astype(np.int64)
