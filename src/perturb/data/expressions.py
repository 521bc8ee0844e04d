"""Faces with one of seven expressions: CK+48, FER2013 and RAF-DB as their users have them on disk.

None may be passed on, so none is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from perturb.data.dataset import Dataset, Images
from perturb.data.splits import grouped_indices
from perturb.errors import PerturbError

SIZE = 48
RAFDB_SIZE = 100
TEST_SHARE = 0.2
CK_COUNTS = {
    "anger": 135,
    "contempt": 54,
    "disgust": 177,
    "fear": 75,
    "happy": 207,
    "sadness": 84,
    "surprise": 249,
}
FER_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FER_COUNTS = {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
# The numbers of RAF-DB's list of labels, from 1.
RAF_CLASSES = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
RAF_COUNTS = {"train": 12_271, "test": 3_068}
_SUFFIXES = (".png", ".jpg", ".jpeg")


def _read(paths: Sequence[Path], size: int, mode: str) -> np.ndarray:
    """Return images as uint8 [N, size, size, 1 or 3]; PerturbError names one of another size."""
    images = np.empty((len(paths), size, size, len(mode)), dtype=np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            with Image.open(path) as opened:
                pixels = np.asarray(opened.convert(mode))
        except (OSError, SyntaxError) as error:
            raise PerturbError(f"{path}: corrupt image ({error}). Get it again.") from None
        if pixels.shape[:2] != (size, size):
            raise PerturbError(
                f"{path}: {pixels.shape[1]}x{pixels.shape[0]} pixels, where the distribution has "
                f"{size}x{size}. Get it again, or read your copy as a folder of images of your own "
                "(docs/add-a-data-set.md)."
            )
        image[:] = pixels.reshape(image.shape)
    return images


def _of_classes(folder: Path, classes: Sequence[str]) -> dict[str, list[Path]]:
    """Return the images of each class folder, in the order of the classes and of their names."""
    found = {}
    for name in classes:
        inside = folder / name
        if not inside.is_dir():
            raise PerturbError(f"{folder}: no folder '{name}'. It must have {', '.join(classes)}.")
        found[name] = sorted(p for p in inside.iterdir() if p.suffix.lower() in _SUFFIXES)
    return found


def _labels(by_class: Mapping[str, Sequence[Path]]) -> np.ndarray:
    counts = [len(paths) for paths in by_class.values()]
    return np.repeat(np.arange(len(counts)), counts).astype(np.int64)


def _flat(by_class: Mapping[str, Sequence[Path]]) -> list[Path]:
    return [path for paths in by_class.values() for path in paths]


def _digests(by_class: Mapping[str, Sequence[Path]], prefix: str = "") -> dict[str, str]:
    """Return one SHA-256 for each class, over the names and contents of its files."""
    found = {}
    for name, paths in by_class.items():
        digest = hashlib.sha256()
        for path in paths:
            digest.update(path.name.encode() + b";" + path.read_bytes())
        found[prefix + name] = digest.hexdigest()
    return found


def _folder(data_root: Path, names: Sequence[str], dataset: str, what: str) -> Path:
    """Return the first of the folders that is there; PerturbError that says what to put where."""
    for name in names:
        if (data_root / name).is_dir():
            return data_root / name
    raise PerturbError(
        f"Data set '{dataset}': no folder {data_root / names[0]}. It may not be passed on: get it "
        f"from its makers and put it there, {what}."
    )


def _whole(dataset: str, found: Mapping[str, int], official: Mapping[str, int], ok: bool) -> bool:
    """Return whether a copy is complete; PerturbError where it is not, and may not be in part."""
    differing = [
        f"{name} has {found.get(name, 0)} images, not {count}"
        for name, count in official.items()
        if found.get(name, 0) != count
    ]
    if differing and not ok:
        raise PerturbError(
            f"Data set '{dataset}' is not the official one: {'; '.join(differing)}. Get it again, "
            "or say partial_data: true in the config to use what is there."
        )
    return not differing


@dataclass(frozen=True)
class CkPlus48(Dataset):
    """CK+48: 981 crops of 48x48, `CK+48/<class>/S<subject>_<sequence>_<frame>.png`.

    It has no official split: a fifth is test, by subject, once and for all, for the frames of a
    sequence are nearly the same image. It has contempt and no neutral.
    """

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the crops, and which subject each is of."""
        what = "one folder per expression: " + ", ".join(CK_COUNTS)
        folder = _folder(data_root, ("CK+48", "ckplus48"), self.name, what)
        by_class = _of_classes(folder, tuple(CK_COUNTS))
        found = {name: len(paths) for name, paths in by_class.items()}
        whole = _whole(self.name, found, CK_COUNTS, allow_partial)
        paths, labels = _flat(by_class), _labels(by_class)
        subjects = np.array([path.name.partition("_")[0] for path in paths])
        test = np.zeros(len(labels), dtype=bool)
        drawn = grouped_indices(labels, subjects, TEST_SHARE, seed=0, purpose="test split of CK+48")
        test[drawn] = True
        images = _read(paths, SIZE, "L")
        return Images(
            train_images=images[~test],
            train_labels=labels[~test],
            test_images=images[test],
            test_labels=labels[test],
            class_names=tuple(CK_COUNTS),
            kind="folder CK+48",
            files=_digests(by_class),
            partial=not whole,
            train_subjects=subjects[~test],
        )


@dataclass(frozen=True)
class Fer2013(Dataset):
    """FER2013: 48x48 grey, `fer2013/{Training,PublicTest,PrivateTest}/<class>/*`.

    The private test is test. Training and the public test train; of a copy without `Training`,
    which is a partial one, the public test alone.
    """

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the folders; the public test is no test here, for many papers chose by it."""
        what = f"with {', '.join(FER_COUNTS)}, each with a folder per expression"
        folder = _folder(data_root, ("fer2013", "FER2013"), self.name, what)
        splits = {
            name: _of_classes(folder / name, FER_CLASSES)
            for name in FER_COUNTS
            if (folder / name).is_dir()
        }
        found = {name: sum(map(len, by_class.values())) for name, by_class in splits.items()}
        whole = _whole(self.name, found, FER_COUNTS, allow_partial)
        if "PrivateTest" not in splits or len(splits) == 1:
            raise PerturbError(f"{folder}: needs PrivateTest, and PublicTest or Training.")
        trained = [splits[name] for name in splits if name != "PrivateTest"]
        test = splits["PrivateTest"]
        digests: dict[str, str] = {}
        for name, by_class in splits.items():
            digests |= _digests(by_class, f"{name}/")
        return Images(
            train_images=np.concatenate([_read(_flat(part), SIZE, "L") for part in trained]),
            train_labels=np.concatenate([_labels(part) for part in trained]),
            test_images=_read(_flat(test), SIZE, "L"),
            test_labels=_labels(test),
            class_names=FER_CLASSES,
            kind="folders of FER2013",
            files=digests,
            partial=not whole,
        )


@dataclass(frozen=True)
class RafDb(Dataset):
    """RAF-DB's basic expressions: `basic/Image/aligned/*_aligned.jpg` and its list of labels."""

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the aligned faces, 100x100, in the order of the list of labels."""
        what = "with basic/Image/aligned and basic/EmoLabel/list_patition_label.txt"
        folder = _folder(data_root, ("RAF-DB", "rafdb"), self.name, what)
        basic = folder / "basic" if (folder / "basic").is_dir() else folder
        listed = basic / "EmoLabel" / "list_patition_label.txt"
        if not listed.is_file():
            raise PerturbError(f"{listed}: no such file; RAF-DB's makers give it with the images.")
        paths: dict[str, list[Path]] = {"train": [], "test": []}
        labels: dict[str, list[int]] = {"train": [], "test": []}
        for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), 1):
            name, _, label = line.strip().partition(" ")
            split = name.partition("_")[0]
            known = [str(number) for number in range(1, len(RAF_CLASSES) + 1)]
            if split not in paths or label.strip() not in known:
                raise PerturbError(
                    f"{listed}, line {number}: '{line}' is no line of RAF-DB's list. "
                    "Expected such as: train_00001.jpg 5"
                )
            image = basic / "Image" / "aligned" / f"{Path(name).stem}_aligned.jpg"
            paths[split].append(image)
            labels[split].append(int(label) - 1)
        counted = {split: len(of_split) for split, of_split in paths.items()}
        whole = _whole(self.name, counted, RAF_COUNTS, allow_partial)
        return Images(
            train_images=_read(paths["train"], RAFDB_SIZE, "RGB"),
            train_labels=np.array(labels["train"], dtype=np.int64),
            test_images=_read(paths["test"], RAFDB_SIZE, "RGB"),
            test_labels=np.array(labels["test"], dtype=np.int64),
            class_names=RAF_CLASSES,
            kind="RAF-DB basic, aligned",
            files=_digests(paths),
            partial=not whole,
        )


CKPLUS48 = CkPlus48(name="ckplus48")
FER2013 = Fer2013(name="fer2013")
RAFDB = RafDb(name="rafdb")
