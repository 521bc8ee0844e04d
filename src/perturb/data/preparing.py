"""Preparing a user's folder of images, and saying what is in a data set twice.

A module of its own: what prepares the built-in data sets stays as it was, so that none of their
runs is made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from perturb.data import duplicates, prepared, registry, remarks, variants
from perturb.data.image_folder import ImageFolder
from perturb.data.prepared import PreparedData
from perturb.errors import PerturbError
from perturb.files import write_json
from perturb.limits import of_few_test_images


def prepare_folder(
    name: str, folder: str | Path, *, npz: str | Path, manifest: str | Path, split_seed: int = 0
) -> None:
    """Read a folder of images by class under `name` and write its arrays and its manifest.

    As `prepared.prepare`, and more in the manifest: `left_out` (the files that are not read, by
    reason), `notes` (how it was read), `one_colour` (images without any contrast), `duplicates`
    (`perturb.data.remarks`). All of it is told on standard error, too.

    Raises PerturbError as there, and where a class has no image to hold out.
    """
    paths = {"npz": npz, "manifest": manifest}
    prepared.prepare(name, ".", **paths, split_seed=split_seed, folder=folder)
    data = prepared.load(npz, manifest)
    _check_held_out(name, data)
    variant = variants.parse(name)
    base = registry.find(variant.base, folder)
    if not isinstance(base, ImageFolder):
        raise TypeError(f"{name}: a folder is read by {ImageFolder.__name__}")
    layout = base.layout()
    names = () if variant.dropped else tuple(name for split in base.names(layout) for name in split)
    described = data.manifest | {
        **base.facts(layout),
        "one_colour": _one_colour(data),
        "duplicates": remarks.described(duplicates.leakage(data), _counts(data), names),
    }
    write_json(manifest, described)
    for line in [*remarks.of_manifest(described), *of_few_test_images(len(data.test_labels))]:
        print(f"{name}: {line}.", file=sys.stderr)


def find_duplicates(
    images: str | Path, manifest: str | Path, output: str | Path, equal_only: bool = False
) -> None:
    """Write what a prepared data set has twice, and which test images a network has seen.

    JSON: all that `remarks.described` says; `seen_test_images`, indices into the test split;
    `remarks`, the sentences for a reader of a table; the data's SHA-256. With `equal_only`, as a
    smoke run has it, copies that are not equal are not looked for. Raises PerturbError where
    the data is damaged.
    """
    data = prepared.load(images, manifest)
    found = duplicates.leakage(data, equal_only)
    # A folder's manifest has the examples by the names of their files.
    of_folder = data.manifest.get("duplicates")
    said = of_folder or remarks.described(found, _counts(data))
    write_json(
        output,
        {
            "dataset": data.manifest["dataset"],
            "data_sha256": data.manifest["sha256"],
            **said,
            "remarks": remarks.of_manifest(data.manifest | {"duplicates": said}),
            "seen_test_images": found.seen.tolist(),
        },
    )


def _counts(data: PreparedData) -> tuple[int, int]:
    return len(data.train_labels), len(data.test_labels)


def _check_held_out(name: str, data: PreparedData) -> None:
    held_out = data.train_labels if data.train_true_labels is None else data.train_true_labels
    counts = np.bincount(held_out[data.validation_indices], minlength=data.manifest["num_classes"])
    lacking = np.flatnonzero(counts == 0)
    if len(lacking):
        number = data.manifest["class_counts"]["train"][lacking[0]]
        raise PerturbError(
            f"Data set '{name}': class '{data.manifest['class_names'][lacking[0]]}' has {number} "
            "train images, too few for one of the 20 % that are held out for validation to be "
            "among them. Add images."
        )


def _one_colour(data: PreparedData) -> int:
    splits = (data.train_images, data.test_images)
    return sum(int((np.ptp(images, axis=(1, 2)) == 0).all(1).sum()) for images in splits)
