"""Writing a data set into results/data once, and reading it back checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perturb.data import registry
from perturb.data.dataset import Dataset, Images
from perturb.data.identities import Sightings, class_counts, take_sightings
from perturb.data.splits import grouped_indices, stratified_indices
from perturb.errors import PerturbError
from perturb.files import read_json, read_npz, sha256_arrays, write_json, write_npz

VALIDATION_SHARE = 0.2
_AGAIN = "Delete the file and run again to prepare it anew."


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set: images uint8 [N, H, W, C], labels int64 [N], and its manifest.

    `validation_indices` (sorted, into train) is the stratified 20 % hold-out. `train_labels` are
    what is trained on; where they hold label noise, `train_true_labels` int64 [N] do not, else it
    is None. The hold-out is the same with noise and without. With `sightings` the test labels are
    identities to be found again, not classes of train.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    validation_indices: np.ndarray
    manifest: dict[str, Any]
    train_true_labels: np.ndarray | None = None
    sightings: Sightings | None = None


def channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of pixels / 255 a channel, rounded to 4 decimals.

    From exact integer counts, so that no order of summation can change a digit. A constant
    channel gets the standard deviation 1, for it is divided by.
    """
    values = np.arange(256)
    means, stds = [], []
    for channel in range(images.shape[-1]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        number = int(counts.sum())
        mean = int(counts @ values) / number
        variance = int(counts @ values**2) / number - mean**2
        means.append(round(mean / 255, 4))
        stds.append(round(max(variance, 0.0) ** 0.5 / 255, 4) or 1.0)
    return means, stds


def _manifest(
    dataset: Dataset, images: Images, validation_indices: np.ndarray, split_seed: int
) -> dict[str, Any]:
    """Describe the prepared arrays; nothing in it depends on where the files lay."""
    mean, std = dataset.mean, dataset.std
    if mean is None or std is None:
        mean, std = channel_statistics(images.train_images)
    labels = {"train": images.train_labels, "test": images.test_labels}
    num_classes = len(images.class_names)
    size = images.train_images.shape[1]
    described = {
        "dataset": dataset.name,
        "sha256": sha256_arrays(images.arrays()),
        "split_sha256": sha256_arrays({"validation_indices": validation_indices}),
        "split_seed": split_seed,
        "num_classes": num_classes,
        "class_names": list(images.class_names),
        "image_size": size,
        "channels": images.train_images.shape[3],
        "counts": {split: len(of_split) for split, of_split in labels.items()},
        "class_counts": class_counts(labels, num_classes, images.sightings is None),
        "mean": list(mean),
        "std": list(std),
        "partial": images.partial,
        "flip": dataset.flip,
        "crop_padding": max(1, size // 8),
        "source": {"kind": images.kind, "files": dict(images.files)},
    }
    if images.train_subjects is not None:
        described["subjects"] = len(set(images.train_subjects))
    if images.sightings is not None:
        described["identities"] = images.sightings.described(images.test_labels)
    return described | ({"noise": dict(images.noise)} if images.noise else {})


def prepare(
    name: str,
    data_root: str | Path,
    *,
    npz: str | Path,
    manifest: str | Path,
    split_seed: int = 0,
    allow_partial: bool = False,
    folder: str | Path | None = None,
    class_map: Mapping[str, Any] | None = None,
) -> None:
    """Read data set `name` from `data_root` and write its arrays and its manifest.

    `name` may be a variant (`digits_noise-0.4`). `folder` is a user's own folder of images by
    class, read under the base of `name`. With `allow_partial` an incomplete official set passes,
    and the manifest says so. `class_map` says of which data set `name` has the classes under other
    names (`perturb.data.mapped`). `split_seed` fixes the 20 % validation hold-out, and label noise.
    Raises PerturbError for an unknown name, missing files (which, where to put them, their
    checksums) and corrupt ones.
    """
    dataset = registry.find(name, folder, split_seed, class_map)
    images = dataset.read(Path(data_root).expanduser().resolve(), allow_partial)
    validation_indices = _held_out(images, split_seed)
    if not len(validation_indices) or not len(images.test_labels):
        raise PerturbError(
            f"Data set '{name}': {len(images.train_labels)} train and {len(images.test_labels)} "
            "test images are too few to hold any out for validation and test. Add images."
        )
    described = _manifest(dataset, images, validation_indices, split_seed)
    write_npz(npz, {**images.arrays(), "validation_indices": validation_indices})
    write_json(manifest, described)


def _held_out(images: Images, seed: int) -> np.ndarray:
    """Return the indices of train that are validation: by class, and by subject where known."""
    labels, purpose = images.true_labels(), "validation split"
    if images.train_subjects is not None:
        subjects = images.train_subjects
        return grouped_indices(labels, subjects, VALIDATION_SHARE, seed=seed, purpose=purpose)
    count = round(VALIDATION_SHARE * len(labels))
    return stratified_indices(labels, count, seed=seed, purpose=purpose)


def _check(path: Path, what: str, expected: str, found: str) -> None:
    if expected != found:
        raise PerturbError(
            f"{path}: {what} is not what its manifest says: sha256 expected {expected}, found "
            f"{found}. {_AGAIN}"
        )


def load(npz: str | Path, manifest: str | Path) -> PreparedData:
    """Return the prepared data set in `npz`, verified against `manifest`.

    Raises PerturbError naming the file, with expected and found SHA-256, where they disagree.
    """
    described, arrays = read_manifest(manifest), read_npz(npz, _AGAIN)
    split = {name: arrays.pop(name) for name in ("validation_indices",) if name in arrays}
    _check(Path(npz), "the data", described["sha256"], sha256_arrays(arrays))
    _check(Path(npz), "the split", described["split_sha256"], sha256_arrays(split))
    sightings = take_sightings(arrays)
    return PreparedData(**arrays, **split, manifest=described, sightings=sightings)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Return a data set's manifest; PerturbError where it is missing or was altered."""
    return read_json(path, _AGAIN)
