"""CIFAR-100 in all its official layouts: the python version, and the binary one.

A module of its own: what reads CIFAR-10 stays as it was, so that none of its runs is made again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from perturb.data.cifar import CIFAR100 as PYTHON_VERSION
from perturb.data.cifar import PIXELS, Cifar, _records
from perturb.data.dataset import Images
from perturb.data.sources import Found, Layout, checksum_text, corrupt, find, md5, sha256
from perturb.errors import PerturbError

NAMES = "fine_label_names.txt"
# The archive's checksum is its distributor's; those of the two files are the archive's contents'.
BINARY = Layout(
    kind="binary",
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    archive_md5="03b5dce01913d631647c71ecec9e9cb8",
    train=("train.bin",),
    test=("test.bin",),
    md5={
        "train.bin": "6172c7755cfe09b2fe270c85cebc1b15",
        "test.bin": "4499cfba6c016c1be1438163640a0898",
        NAMES: "not published",
    },
)
RECORDS = {"train.bin": 50_000, "test.bin": 10_000}


@dataclass(frozen=True, kw_only=True)
class Cifar100(Cifar):
    """CIFAR-100, whose binary version has two labels a record, and its names in a file of text."""

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the set as `Cifar` does, from the binary version where that is what is there."""
        found = find(self.layouts, data_root, allow_partial)
        if found is None or found.layout.folder != BINARY.folder:
            return super().read(data_root, allow_partial)
        names = _names(found)
        parts = {
            name: _file(found, name, allow_partial, self.url) for name in ("train.bin", "test.bin")
        }
        return Images(
            *parts["train.bin"],
            *parts["test.bin"],
            class_names=names,
            kind=BINARY.kind,
            files={name: sha256(content) for name, content in sorted(found.contents.items())},
            partial=any(md5(found.contents[name]) != BINARY.md5[name] for name in RECORDS),
        )


def _names(found: Found) -> tuple[str, ...]:
    lines = found.contents[NAMES].decode("latin1").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) != PYTHON_VERSION.num_classes or len(names) != len(set(names)):
        raise PerturbError(
            f"{found.location(NAMES)}: {len(names)} names of classes, not the 100 of CIFAR-100."
        )
    return names


def _file(found: Found, name: str, allow_partial: bool, url: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and fine labels: records of a coarse label, a fine one and 3,072 pixels."""
    content, location = found.contents[name], found.location(name)
    expected = BINARY.md5[name]
    if not content or len(content) % (2 + PIXELS):
        raise PerturbError(
            f"{location}: {len(content)} bytes is no whole number of {2 + PIXELS}-byte records "
            f"({checksum_text(content, expected)})."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 2 + PIXELS)
    images, labels = _records(records[:, 2:], records[:, 1], PYTHON_VERSION.num_classes, location)
    smaller = len(labels) < RECORDS[name]
    if md5(content) != expected and not (allow_partial and smaller):
        part = f"{len(labels):,} of {RECORDS[name]:,} images" if smaller else ""
        raise corrupt(location, content, expected, url, part)
    return images, labels


CIFAR100 = Cifar100(
    **{field.name: getattr(PYTHON_VERSION, field.name) for field in fields(PYTHON_VERSION)}
    | {"layouts": (*PYTHON_VERSION.layouts, BINARY)}
)
