"""Fashion-MNIST (Xiao et al. 2017): IDX files, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perturb.data.dataset import Dataset, Images, Shape
from perturb.data.download import download, missing_message
from perturb.data.sources import checksum_text, corrupt, md5, sha256
from perturb.errors import PerturbError

FOLDERS = (".", "fashion-mnist", "FashionMNIST/raw")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class IdxFile:
    """One of the four files: the MD5 of its `.gz` as published and that of what is inside."""

    name: str
    gz_md5: str
    md5: str


FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        "25c81989df183df01b3e8a0aad5dffbe",
        "9018921c3c673c538a1fc5bad174d6f9",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        "bef4ecab320f06d8554ea6380940ec79",
        "8181f5470baa50b63fa0f6fddb340f0a",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        "bb300cfdad3c16e7a12a480ee83cd310",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
)


def parse_idx(content: bytes, dimensions: int, file: str) -> np.ndarray:
    """Return the uint8 array of an IDX file (big-endian header: type, dimensions, sizes)."""
    header = 4 * (1 + dimensions)
    sizes = np.frombuffer(content[4:header], ">i4") if len(content) >= header else np.array([-1])
    shape = tuple(int(size) for size in sizes)
    if content[:4] != bytes((0, 0, 8, dimensions)) or min(shape) < 1:
        raise PerturbError(f"{file}: not an IDX file of bytes with {dimensions} dimension(s).")
    if len(content) != header + int(np.prod(shape)):
        raise PerturbError(f"{file}: {len(content)} bytes do not hold an array of shape {shape}.")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_content(path: Path, file: IdxFile) -> bytes:
    """Return the bytes of an IDX file, unzipped where its name ends in `.gz`."""
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        raise corrupt(str(path), raw, file.gz_md5, URL) from None


@dataclass(frozen=True)
class FashionMnist(Dataset):
    """70,000 grey images of clothes, 28x28, 10 classes; a mirrored shoe is still a shoe."""

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the four files from one folder under `data_root`, or download them there.

        Checksums are of the unzipped contents, whoever zipped them. With `allow_partial` files
        with fewer images than the official ones pass. Raises PerturbError.
        """
        paths = self._find(data_root)
        if paths is None:
            reason = download(URL, self._fetch, data_root)
            paths = None if reason else self._find(data_root)
            if paths is None:
                reason = reason or "it left no such files"
                places = self._places(data_root)
                raise PerturbError(missing_message(self.name, reason, data_root, places))
        contents = {file.name: _read_content(paths[file.name], file) for file in FILES}
        arrays = [self._parse(paths[f.name], contents[f.name], f, allow_partial) for f in FILES]
        for images, labels, file in ((*arrays[:2], FILES[1]), (*arrays[2:], FILES[3])):
            if len(images) != len(labels) or labels.max() >= len(CLASSES):
                raise PerturbError(
                    f"{paths[file.name]}: {len(labels)} labels up to {labels.max()} for "
                    f"{len(images)} images of {len(CLASSES)} classes."
                )
        train_images, train_labels, test_images, test_labels = arrays
        return Images(
            train_images=train_images[..., None],
            train_labels=train_labels.astype(np.int64),
            test_images=test_images[..., None],
            test_labels=test_labels.astype(np.int64),
            class_names=CLASSES,
            kind="idx",
            files={name: sha256(content) for name, content in contents.items()},
            partial=any(md5(contents[file.name]) != file.md5 for file in FILES),
        )

    def _find(self, data_root: Path) -> dict[str, Path] | None:
        """Return the path of each file, all in one folder; None where no folder has any."""
        for folder in FOLDERS:
            candidates = {
                file.name: [data_root / folder / f"{file.name}{suffix}" for suffix in ("", ".gz")]
                for file in FILES
            }
            paths = {
                name: next((path for path in pair if path.is_file()), None)
                for name, pair in candidates.items()
            }
            missing = [file for file in FILES if paths[file.name] is None]
            if not missing:
                return paths
            if len(missing) < len(FILES):
                lines = "\n".join(
                    f"  {candidates[file.name][1]}  md5 {file.gz_md5}" for file in missing
                )
                raise PerturbError(
                    f"Fashion-MNIST in {data_root / folder} is incomplete. Add these files "
                    f"(or the same without .gz):\n{lines}"
                )
        return None

    def _fetch(self, folder: str) -> None:
        import torchvision

        torchvision.datasets.FashionMNIST(folder, download=True)

    def _places(self, data_root: Path) -> str:
        lines = ["- all four files, in this folder, zipped or not:"]
        for file in FILES:
            path = data_root / "fashion-mnist" / file.name
            lines.append(f"    {path}.gz  md5 {file.gz_md5} (without .gz: {file.md5})")
        return "\n".join(lines)

    def _parse(self, path: Path, content: bytes, file: IdxFile, allow_partial: bool) -> np.ndarray:
        """Return images uint8 [N, 28, 28] or labels uint8 [N] of one file, checked."""
        dimensions = 3 if "idx3" in file.name else 1
        try:
            array = parse_idx(content, dimensions, str(path))
        except PerturbError as error:
            raise PerturbError(f"{error} ({checksum_text(content, file.md5)})") from None
        official = 60_000 if file.name.startswith("train") else 10_000
        smaller = len(array) < official
        if md5(content) != file.md5 and not (allow_partial and smaller):
            part = f"{len(array):,} of {official:,} records" if smaller else ""
            raise corrupt(str(path), content, file.md5, URL, part)
        if dimensions == 3 and array.shape[1:] != (28, 28):
            raise PerturbError(f"{path}: images of {array.shape[1:]} pixels, expected (28, 28).")
        return array


FASHION_MNIST = FashionMnist(name="fashion_mnist", shape=Shape(60_000, 10_000, 10, 28, 1))
