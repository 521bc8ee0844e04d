"""Batches fed by `Feed` against torchvision's CIFAR10 and a DataLoader with two workers.

Both flip, crop with padding 4 and normalise; both have two cores: the feed two threads, the
DataLoader two worker processes. Repeats alternate, medians count.
"""

from __future__ import annotations

import pickle
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks._measuring import cifar10, spread
from perturb.data import DATASETS
from perturb.data.feeding import Feed

BATCH = 500
REPEATS = 3
SECONDS = 240  # the whole, on two cores
QUICK = {"repeats": 2, "count": 10_000}
MEAN, STD = DATASETS["cifar10"].mean, DATASETS["cifar10"].std


class UncheckedCIFAR10(datasets.CIFAR10):
    """torchvision's class without the checksums: the files here are written by this benchmark."""

    def _check_integrity(self) -> bool:
        return True

    def _load_meta(self) -> None:
        """Leave out the names of the classes, which no batch needs."""


def write_python_version(root: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write the train images as the files that torchvision's CIFAR10 reads."""
    folder = root / datasets.CIFAR10.base_folder
    folder.mkdir()
    flat = images.transpose(0, 3, 1, 2).reshape(5, -1, 3072)
    for (name, _), data, part in zip(
        datasets.CIFAR10.train_list, flat, labels.reshape(5, -1), strict=True
    ):
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": part.tolist()}))


def plain_loader(root: Path) -> DataLoader:
    """Return the usual way: transforms image by image, in worker processes."""
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    dataset = UncheckedCIFAR10(str(root), train=True, transform=transform)
    return DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=2)


def seconds(batches: Iterable, expected: int) -> float:
    """Return how long one epoch of batches takes."""
    start = time.perf_counter()
    count = sum(len(labels) for _, labels in batches)
    elapsed = time.perf_counter() - start
    assert count == expected
    return elapsed


def run(repeats: int = REPEATS, count: int = 50_000) -> list[dict]:
    """Return one row a way of feeding: images a second, and the ratio to torchvision's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        images, labels, what = cifar10()
        images, labels = images[:count], labels[:count]
        common = {"batch_size": BATCH, "mean": MEAN, "std": STD, "seed": 0}
        feeds = {
            "Feed, flip and crop": Feed(images, labels, augment="standard", **common),
            "Feed, cv_rts (rotation and flip)": Feed(images, labels, augment="cv_rts", **common),
            "Feed, no augmentation": Feed(images, labels, augment="none", **common),
        }
        plain = "torchvision CIFAR10 + DataLoader(num_workers=2)"
        times: dict[str, list[float]] = {name: [] for name in (plain, *feeds)}
        with tempfile.TemporaryDirectory() as folder:
            write_python_version(Path(folder), images, labels)
            loader = plain_loader(Path(folder))
            for repeat in range(repeats):
                times[plain].append(seconds(loader, count))
                for name, feed in feeds.items():
                    times[name].append(seconds(feed.epoch(repeat), count))
    finally:
        torch.set_num_threads(threads)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return [
        {
            "benchmark": "feeding",
            "what": f"{name} ({what}, batch {BATCH}, 2 cores)",
            "value": count / median,
            "unit": "images/s",
            "repeats": repeats,
            "ratio": medians[plain] / median,
            "spread": spread([a / b for a, b in zip(times[plain], times[name], strict=True)]),
            "against": plain,
        }
        for name, median in medians.items()
    ]


if __name__ == "__main__":
    for row in run():
        print(f"{row['value']:12,.0f} {row['unit']}  {row['ratio']:6.1f} x  {row['what']}")
