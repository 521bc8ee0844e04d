"""A few real steps on this machine's device, where no finished run says what one costs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch

from perturb import models, optim
from perturb.data.dataset import Shape
from perturb.data.feeding import Feed
from perturb.errors import PerturbError
from perturb.files import read_json, write_json
from perturb.planning.here import calibration_file
from perturb.train.classifier import Classifier, evaluate
from perturb.train.determinism import (
    check_precision,
    describe_device,
    find_device,
    make_deterministic,
)
from perturb.train.driver import train
from perturb.train.forward import Forward, forward_of
from perturb.train.settings import TrainSettings

_LEARNING_RATE = 1e-3  # the images are noise; a step takes as long whatever it learns
_PATIENCE = 60.0  # seconds: a device that would take longer is timed on a tenth of each batch
_SHARE = 10


@dataclass(frozen=True)
class Calibration:
    """What steps took: seconds of a step with one gradient, with two, and of an evaluated batch.

    `images` is how many a timed step had; where less than a batch, its seconds are scaled to one.
    `start_seconds`: of making the model and its data. `weights_bytes`: of one file of weights.
    """

    device: str
    model: str
    shape: Shape
    batch_size: int
    threads: int
    augment: str
    steps: int
    images: int
    one_gradient: float
    two_gradients: float
    evaluation_batch: float
    start_seconds: float
    weights_bytes: int
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    base: str = "sgd"


def calibrate(
    specification: TrainSettings, shape: Shape, folder: Path, steps: int = 3
) -> Calibration:
    """Return what steps of runs like `specification` take here; measured once, kept in `folder`.

    Three epochs of the training loop on random images of the data's shape, `steps` batches each,
    with plain SGD and with PUGD; the faster of the last two counts, the first warms up.
    """
    path = calibration_file(specification, folder)
    if path.exists():
        kept = read_json(path, "Delete the file and plan again to measure anew.")
        found = Calibration(**(kept | {"shape": Shape(**kept["shape"])}))
        if _same_work(found, specification, shape, steps):
            return found
    found = _patiently(specification, shape, steps)
    write_json(path, asdict(found))
    return found


def _same_work(found: Calibration, specification: TrainSettings, shape: Shape, steps: int) -> bool:
    names = ("batch_size", "threads", "augment", "precision", "channels_last", "compile", "base")
    same = all(getattr(found, name) == getattr(specification, name) for name in names)
    return same and (found.shape, found.steps) == (shape, steps)


def _patiently(specification: TrainSettings, shape: Shape, steps: int) -> Calibration:
    """Measure on full batches, or on a tenth of each where those would take too long."""
    batch = min(specification.batch_size, shape.train)
    start = time.perf_counter()
    tenth = _measure(specification, shape, 1, -(-batch // _SHARE))
    if (time.perf_counter() - start) * _SHARE * steps > _PATIENCE:
        return replace(tenth, steps=steps)
    return _measure(specification, shape, steps, batch)


def _measure(specification: TrainSettings, shape: Shape, steps: int, images: int) -> Calibration:
    make_deterministic(specification.threads, specification.precision)
    on = find_device(specification.device)
    check_precision(specification.precision, on)
    start = time.perf_counter()
    smaller = msgspec.structs.replace(specification, batch_size=images)
    train_feed = _feed(smaller, shape, steps * images, on)
    test_feed = _feed(msgspec.structs.replace(smaller, augment="none"), shape, images, on)
    feeds = {"train": train_feed, "validation": test_feed, "test": test_feed}
    shaped = (shape.num_classes, shape.image_size, shape.channels)
    options = dict(specification.network_options)
    model = models.build(specification.architecture, *shaped, options).to(on)
    forward = forward_of(
        model,
        precision=specification.precision,
        channels_last=specification.channels_last,
        compiled=specification.compile,
    )
    start_seconds = time.perf_counter() - start
    steps_of, evaluations = {}, []
    for rule in ("sgd", "pugd"):
        optimizer = optim.build(
            f"{rule}_3",
            model.parameters(),
            lr=_LEARNING_RATE,
            base=specification.base,
            model=model,
        )
        outcome = train(Classifier(model, optimizer, feeds, forward=forward))
        if len(outcome.seconds) < 3:
            raise PerturbError(
                f"plan: calibration of {specification.model} diverged on random images. "
                "Train one run to its end; the plan then takes its timing."
            )
        evaluations += [_seconds_to_evaluate(model, test_feed, forward) for _ in range(2)]
        steps_of[rule] = min(outcome.seconds[1:])
    scale = min(specification.batch_size, shape.train) / images
    evaluated = min(evaluations)
    return Calibration(
        device=describe_device(on),
        model=specification.model,
        shape=shape,
        batch_size=specification.batch_size,
        threads=specification.threads,
        augment=specification.augment,
        steps=steps,
        images=images,
        one_gradient=scale * max(steps_of["sgd"] - evaluated, 0.0) / steps,
        two_gradients=scale * max(steps_of["pugd"] - evaluated, 0.0) / steps,
        evaluation_batch=scale * evaluated,
        start_seconds=start_seconds,
        weights_bytes=sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        precision=specification.precision,
        channels_last=specification.channels_last,
        compile=specification.compile,
        base=specification.base,
    )


def _feed(specification: TrainSettings, shape: Shape, images: int, device: torch.device) -> Feed:
    random = np.random.default_rng(0)
    size = (images, shape.image_size, shape.image_size, shape.channels)
    return Feed(
        random.integers(0, 256, size, dtype=np.uint8),
        random.integers(0, shape.num_classes, images),
        batch_size=specification.batch_size,
        mean=[0.5] * shape.channels,
        std=[0.25] * shape.channels,
        device=device,
        augment=specification.augment,
    )


def _seconds_to_evaluate(model: torch.nn.Module, feed: Feed, forward: Forward) -> float:
    start = time.perf_counter()
    evaluate(model, feed, forward)
    return time.perf_counter() - start
