"""How large a run is: its images, steps, evaluation batches, and the bytes that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perturb import studies
from perturb.config import Config
from perturb.data import image_sizes, registry
from perturb.data.dataset import Shape
from perturb.data.prepared import VALIDATION_SHARE, read_manifest
from perturb.data.variants import base_name
from perturb.errors import PerturbError
from perturb.runs import Specification
from perturb.train.settings import TrainSettings

_EPOCH_ROW = 420  # bytes of a line of epochs.csv and of timing.csv, seen on the digits
_RECORD = 7_300  # bytes of record.json, most of them hashes of modules
# What a classifier notes of each training batch: loss, norm of the gradient and of the
# perturbation (perturb.train.classifier).
_TRAINING_SERIES = 3
_WITHOUT_WEIGHTS = 40_000  # bytes of a run that trains no classifier, seen on small toys


def shape_of(dataset: str, results: Path, config: Config) -> Shape:
    """Return a data set's shape: that of its manifest, or else of its source.

    That is its official distribution, or a user's folder of images, whose files are counted. Noise
    changes no shape: a variant that is not prepared has that of its base.
    """
    for name in (dataset, base_name(dataset)):
        path = results / "data" / f"{name}.manifest.json"
        if path.exists():
            described = read_manifest(path)
            counts = described["counts"]
            keys = ("num_classes", "image_size", "channels")
            return Shape(counts["train"], counts["test"], *(described[key] for key in keys))
    base = base_name(dataset)
    folder = config.values.get("image_folders", {}).get(base)
    if folder:
        side = image_sizes.configured(config.values, base)
        return registry.of_folder(base, Path(folder).expanduser(), side).counted()
    official = registry.shape(dataset)
    if official is None:
        raise PerturbError(
            f"plan: the size of data set '{dataset}' is not known before it is prepared. "
            f"Run `snakemake -- {results / 'data' / dataset}.manifest.json` first."
        )
    return official


@dataclass(frozen=True)
class RunSize:
    """Training steps an epoch, evaluated images an epoch and batches of each split."""

    steps: int
    validation_batches: int
    test_batches: int
    evaluation_batches: int


def size_of(specification: TrainSettings, shape: Shape) -> RunSize:
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


def steps_of(specification: Specification, results: Path, config: Config) -> int:
    """Return the training steps of an epoch; 0 where the run trains no classifier."""
    if not isinstance(specification, TrainSettings):
        return 0
    return size_of(specification, shape_of(specification.dataset, results, config)).steps


def bytes_of(specification: TrainSettings, size: RunSize, weights: int) -> int:
    """Return the bytes of a run's folder, from those of one file of its weights.

    Last and best weights and the checkpoints; every batch's losses and norms as float64; a row an
    epoch. Within a few percent (tests/planning).
    """
    epochs = studies.get(specification.study).epochs(specification.method)
    every = specification.checkpoint_every
    checkpoints = epochs // every if every else 0
    an_epoch = size.steps * _TRAINING_SERIES + size.validation_batches + size.test_batches
    return weights * (2 + checkpoints) + epochs * (8 * an_epoch + _EPOCH_ROW) + _RECORD


def bytes_without_weights(finished: list[int]) -> int:
    """Return the bytes of a run's folder where no classifier is trained.

    Those of finished ones, by their mean; without any a constant, right within a factor of a few.
    """
    return round(sum(finished) / len(finished)) if finished else _WITHOUT_WEIGHTS
