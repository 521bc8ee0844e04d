"""How large a run is: its images, steps, evaluation batches, and the bytes that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perturb.config import RunSpecification
from perturb.data.prepared import VALIDATION_SHARE, read_manifest
from perturb.errors import PerturbError
from perturb.names import parse
from perturb.train.history import BATCH_SERIES

_EPOCH_ROW = 420  # bytes of a line of epochs.csv and of timing.csv, seen on the digits
_RECORD = 5_000  # bytes of record.json


@dataclass(frozen=True)
class Shape:
    """A data set as a model sees it: images of each split, classes, pixels a side, channels."""

    train: int
    test: int
    num_classes: int
    image_size: int
    channels: int


# The official distributions, for a plan that is made before the data is there.
OFFICIAL = {
    "digits": Shape(1_437, 360, 10, 8, 1),
    "cifar10": Shape(50_000, 10_000, 10, 32, 3),
    "cifar100": Shape(50_000, 10_000, 100, 32, 3),
    "fashion_mnist": Shape(60_000, 10_000, 10, 28, 1),
}


def shape_of(dataset: str, results: Path) -> Shape:
    """Return a data set's shape: that of its manifest, or else of its official distribution."""
    path = results / "data" / f"{dataset}.manifest.json"
    if path.exists():
        described = read_manifest(path)
        counts = described["counts"]
        keys = ("num_classes", "image_size", "channels")
        return Shape(counts["train"], counts["test"], *(described[key] for key in keys))
    if dataset not in OFFICIAL:
        raise PerturbError(
            f"plan: the size of data set '{dataset}' is not known before it is prepared. "
            f"Run `snakemake -- {path}` first."
        )
    return OFFICIAL[dataset]


@dataclass(frozen=True)
class RunSize:
    """Training steps an epoch, evaluated images an epoch and batches of each split."""

    steps: int
    validation_batches: int
    test_batches: int
    evaluation_batches: int


def size_of(specification: RunSpecification, shape: Shape) -> RunSize:
    """Return the size of a run; where test plays validation it is evaluated once an epoch."""
    held_out = round(VALIDATION_SHARE * shape.train) if specification.protocol == "holdout" else 0
    train, validation, test = shape.train - held_out, held_out or shape.test, shape.test
    if specification.limit:
        limit = specification.limit
        train, test = min(train, limit.train), min(test, limit.test)
        validation = min(validation, limit.test)

    def batches(images: int) -> int:
        return -(-images // specification.batch_size)

    evaluated = batches(test) + (batches(validation) if held_out else 0)
    return RunSize(batches(train), batches(validation), batches(test), evaluated)


def bytes_of(specification: RunSpecification, size: RunSize, weights: int) -> int:
    """Return the bytes of a run's folder, from those of one file of its weights.

    Last and best weights and the checkpoints; every batch's losses and norms as float64; a row an
    epoch. Within a few percent (tests/planning).
    """
    epochs = parse(specification.method).epochs
    every = specification.checkpoint_every
    checkpoints = epochs // every if every else 0
    of_training = [name for name in BATCH_SERIES if not name.startswith(("validation", "test"))]
    an_epoch = size.steps * len(of_training) + size.validation_batches + size.test_batches
    return weights * (2 + checkpoints) + epochs * (8 * an_epoch + _EPOCH_ROW) + _RECORD
