"""CIFAR-10 and CIFAR-100 in their official layouts (Krizhevsky 2009)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perturb.data.dataset import Dataset, Images, Shape
from perturb.data.download import download, missing_message
from perturb.data.pickles import load_plain
from perturb.data.sources import (
    Found,
    Layout,
    checksum_text,
    corrupt,
    describe,
    find,
    md5,
    sha256,
)
from perturb.errors import PerturbError

PIXELS = 3 * 32 * 32

CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())


def _records(pixels: np.ndarray, labels: np.ndarray, classes: int, file: str) -> tuple:
    """Return images uint8 [N, 32, 32, 3] and labels int64 [N] once both make sense."""
    if len(pixels) != len(labels) or not len(labels):
        raise PerturbError(f"{file}: {len(pixels)} images and {len(labels)} labels.")
    if labels.min() < 0 or labels.max() >= classes:
        raise PerturbError(
            f"{file}: labels from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}."
        )
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _parse_binary(content: bytes, classes: int, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label byte and 3,072 pixel bytes, channels first."""
    if len(content) % (1 + PIXELS):
        raise PerturbError(
            f"{file}: {len(content)} bytes is no whole number of {1 + PIXELS}-byte records."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return _records(records[:, 1:], records[:, 0], classes, file)


def _parse_python(content: bytes, classes: int, file: str) -> tuple[np.ndarray, np.ndarray]:
    """A pickled dict with `data` uint8 [N, 3072] and a list `labels` or `fine_labels`."""
    value = load_plain(content, file)
    fields = value if isinstance(value, dict) else {}
    data, labels = fields.get("data"), fields.get("fine_labels", fields.get("labels"))
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape[1:] != (PIXELS,)
        or not isinstance(labels, list)
        or not all(isinstance(label, int) for label in labels)
    ):
        raise PerturbError(f"{file}: not a batch of CIFAR images (data, labels).")
    return _records(data, np.array(labels, dtype=np.int64), classes, file)


PARSERS: dict[str, Callable[[bytes, int, str], tuple[np.ndarray, np.ndarray]]] = {
    "binary": _parse_binary,
    "python": _parse_python,
}


@dataclass(frozen=True, kw_only=True)
class Cifar(Dataset):
    """A CIFAR data set in one of its official layouts.

    `records` is the official number of images in each file, `class_names` is None where the
    names are read from the file `meta`.
    """

    layouts: tuple[Layout, ...]
    url: str
    torchvision_class: str
    num_classes: int
    records: dict[str, int]
    class_names: tuple[str, ...] | None = None

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the set from `data_root`, or download it there.

        With `allow_partial` files may be missing or have fewer records than the official ones;
        a file of official size must have its official checksum always. Raises PerturbError.
        """
        found = find(self.layouts, data_root, allow_partial)
        if found is None:
            reason = download(self.url, self._fetch, data_root)
            found = None if reason else find(self.layouts, data_root, allow_partial)
            if found is None:
                places = describe(self.layouts, data_root)
                reason = reason or "it left no such files"
                raise PerturbError(missing_message(self.name, reason, data_root, places))
        class_names = self.class_names or self._read_class_names(found)
        train = self._read_split(found, found.layout.train, allow_partial)
        test = self._read_split(found, found.layout.test, allow_partial)
        return Images(
            *train,
            *test,
            class_names=class_names,
            kind=found.layout.kind,
            files={name: sha256(found.contents[name]) for name in sorted(found.contents)},
            partial=any(
                name not in found.contents or md5(found.contents[name]) != expected
                for name, expected in found.layout.md5.items()
            ),
        )

    def _fetch(self, folder: str) -> None:
        import torchvision

        getattr(torchvision.datasets, self.torchvision_class)(folder, download=True)

    def _read_class_names(self, found: Found) -> tuple[str, ...]:
        content, expected = found.contents["meta"], found.layout.md5["meta"]
        names = load_plain(content, found.location("meta"))
        if md5(content) != expected:
            raise corrupt(found.location("meta"), content, expected, self.url)
        return tuple(name.decode("latin1") for name in names["fine_label_names"])

    def _read_split(
        self, found: Found, names: tuple[str, ...], allow_partial: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the images uint8 [N, 32, 32, 3] and labels int64 [N] of the files `names`."""
        parts = []
        for name in names:
            if name not in found.contents:
                continue
            content, expected = found.contents[name], found.layout.md5[name]
            location = found.location(name)
            # Reading comes first: what a pickle was refused for says more than its checksum.
            try:
                images, labels = PARSERS[found.layout.kind](content, self.num_classes, location)
            except PerturbError as error:
                raise PerturbError(f"{error} ({checksum_text(content, expected)})") from None
            smaller = len(labels) < self.records[name]
            if md5(content) != expected and not (allow_partial and smaller):
                part = f"{len(labels):,} of {self.records[name]:,} images" if smaller else ""
                raise corrupt(location, content, expected, self.url, part)
            parts.append((images, labels))
        images, labels = zip(*parts, strict=True)
        return np.concatenate(images), np.concatenate(labels)


_CIFAR10_PYTHON = Layout(
    kind="python",
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)

_CIFAR10_BINARY = Layout(
    kind="binary",
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
    train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test=("test_batch.bin",),
    md5={
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
)

_CIFAR100_PYTHON = Layout(
    kind="python",
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    train=("train",),
    test=("test",),
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
)

CIFAR10 = Cifar(
    name="cifar10",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    shape=Shape(50_000, 10_000, 10, 32, 3),
    layouts=(_CIFAR10_PYTHON, _CIFAR10_BINARY),
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    torchvision_class="CIFAR10",
    num_classes=10,
    records={
        name: 10_000
        for layout in (_CIFAR10_PYTHON, _CIFAR10_BINARY)
        for name in (*layout.train, *layout.test)
    },
    class_names=CIFAR10_CLASSES,
)

CIFAR100 = Cifar(
    name="cifar100",
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2673, 0.2564, 0.2762),
    shape=Shape(50_000, 10_000, 100, 32, 3),
    layouts=(_CIFAR100_PYTHON,),
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    torchvision_class="CIFAR100",
    num_classes=100,
    records={"train": 50_000, "test": 10_000},
)
