"""A run from its specification and files to its folder of files (contract 2 of the design)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perturb import code, models, optim
from perturb.config import RunSpecification
from perturb.data import PreparedData, load
from perturb.data.feeding import Feed
from perturb.errors import PerturbError
from perturb.files import sha256_file, write_json, write_npz, write_text
from perturb.jobs.progress import Progress
from perturb.jobs.signals import interrupted_by_sigterm
from perturb.models.weights import load_weights, save_weights, sha256_weights
from perturb.random import numpy_generator
from perturb.train.determinism import (
    check_precision,
    describe_device,
    find_device,
    make_deterministic,
    versions,
)
from perturb.train.engine import Outcome, train
from perturb.train.forward import forward_of
from perturb.train.state import State, StateFolder

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class RunFiles:
    """Where a run's files are and go.

    `state` is the folder of its unfinished state, by default `state` beside the record; `progress`
    a file for `perturb.jobs.status`, by default none.
    """

    images: Path
    manifest: Path
    initial: Path
    record: Path
    epochs: Path
    batches: Path
    last: Path
    best: Path
    timing: Path
    checkpoints: Path
    state: Path | None = None
    progress: Path | None = None


def balanced_subset(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return sorted indices of `count` images, classes as even as the labels [N] allow.

    Fixed by the seed; a smaller subset of one seed is part of every larger one.
    """
    order = numpy_generator(seed, "subset").permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:count])


def make_splits(data: PreparedData, specification: RunSpecification) -> dict[str, Split]:
    """Return train, validation and test as (images, labels), as the protocol says.

    `from400`: the whole train split trains and test plays validation (the same object);
    `holdout`: the stratified hold-out of train is validation. `limit` then thins train and test.
    """
    train = (data.train_images, data.train_labels)
    test = (data.test_images, data.test_labels)
    validation = test
    if specification.protocol == "holdout":
        held_out = np.zeros(len(train[1]), dtype=bool)
        held_out[data.validation_indices] = True
        validation = (train[0][held_out], train[1][held_out])
        train = (train[0][~held_out], train[1][~held_out])
    limit = specification.limit
    if limit:
        thinned = _thin(test, limit.test, specification.split_seed)
        held_out = _thin(validation, limit.test, specification.split_seed)
        validation = thinned if validation is test else held_out
        test, train = thinned, _thin(train, limit.train, specification.split_seed)
    return {"train": train, "validation": validation, "test": test}


def _thin(split: Split, count: int, seed: int) -> Split:
    images, labels = split
    chosen = balanced_subset(labels, count, seed)
    return images[chosen], labels[chosen]


def make_feeds(
    splits: dict[str, Split],
    manifest: dict[str, Any],
    specification: RunSpecification,
    device: torch.device,
) -> dict[str, Feed]:
    """Return the three feeds; validation and test are one object where their split is."""

    def feed(split: Split, augment: str, shuffle: bool) -> Feed:
        return Feed(
            *split,
            batch_size=specification.batch_size,
            mean=manifest["mean"],
            std=manifest["std"],
            device=device,
            augment=augment,
            flip=manifest["flip"],
            crop_padding=manifest["crop_padding"],
            seed=specification.seed,
            shuffle=shuffle,
        )

    augment = specification.augment
    test = feed(splits["test"], "none", shuffle=False)
    same = splits["validation"] is splits["test"]
    return {
        "train": feed(splits["train"], augment, shuffle=augment != "cv_rts"),
        "validation": test if same else feed(splits["validation"], "none", shuffle=False),
        "test": test,
    }


def run(
    specification: RunSpecification,
    files: RunFiles,
    *,
    save_seconds: float = 60.0,
    keep_state: bool = False,
) -> None:
    """Train one run and write its folder: record, epochs, batches, weights, timing, checkpoints.

    Its state is saved at the end of an epoch where `save_seconds` went by since the last time, and
    when SIGTERM or SIGINT comes; a run that finds one goes on from there to the same bits. With
    `keep_state` the last one is kept when the run is finished. What is computed depends on neither.

    Raises PerturbError where the data or the initial weights are missing, corrupt or do not fit,
    where an unfinished state was made by something else, and after a signal.
    """
    make_deterministic(specification.threads, specification.precision)
    device = find_device(specification.device)
    check_precision(specification.precision, device)
    data, initial = load(files.images, files.manifest), load_weights(files.initial)
    model, optimizer = _build(specification, data.manifest, initial, files.initial)
    forward = forward_of(
        model.to(device),
        precision=specification.precision,
        channels_last=specification.channels_last,
        compiled=specification.compile,
    )
    splits = make_splits(data, specification)
    feeds = make_feeds(splits, data.manifest, specification, device)
    inputs = {
        "data": data.manifest["sha256"],
        "split": data.manifest["split_sha256"],
        "initial_weights": sha256_weights(initial),
    }
    record = {
        **_what(specification),
        **_where(specification, device),
        "images": {name: len(labels) for name, (_, labels) in splits.items()},
        "partial_data": data.manifest["partial"],
        "sha256": inputs,
    }
    modules = code.of_training(specification.model, specification.method)
    state = files.state or files.record.with_name("state")
    folder = StateFolder(state, record | {"code": modules}, save_seconds)
    epochs = optimizer.method.epochs
    with folder.locked(), _reporting(folder, Progress(files.progress, epochs)) as progress:
        before = folder.load()
        if before is not None:
            model.load_state_dict(before.outcome.last)
            optimizer.load_state_dict(before.optimizer)
            print(f"goes on after epoch {before.epochs} of {epochs}", file=sys.stderr)
        progress.start(before.epochs if before else 0)

        def epoch_ended(outcome: Outcome) -> None:
            _print_progress(outcome.history.rows[-1], epochs)
            progress.epoch(outcome.history.rows[-1], outcome.seconds[-1])
            folder.keep(State.of(outcome, optimizer))

        outcome = train(
            model,
            optimizer,
            feeds,
            epochs=epochs,
            forward=forward,
            checkpoint_every=specification.checkpoint_every,
            before=before.outcome.copy() if before else None,
            epoch_ended=epoch_ended,
        )
        outputs = {
            "code": code.digest(modules),
            "final_weights": sha256_weights(outcome.last),
            "best_weights": sha256_weights(outcome.best),
        }
        outputs["files"] = _write(files, outcome)
        record |= _result(outcome, optimizer, len(feeds["train"]))
        write_json(files.record, record | {"sha256": inputs | outputs, "code": modules})
        folder.finish(keep_state)
        progress.end(record["status"], _divergence(outcome))


def _build(
    specification: RunSpecification,
    manifest: dict[str, Any],
    initial: dict[str, torch.Tensor],
    path: Path,
) -> tuple[torch.nn.Module, optim.PerturbedSGD]:
    """Return the model with its initial weights, read from `path`, and the optimiser of them."""
    model = models.build(
        specification.model, manifest["num_classes"], manifest["image_size"], manifest["channels"]
    )
    try:
        model.load_state_dict(initial)
    except RuntimeError as error:
        raise PerturbError(
            f"{path}: these weights do not fit the model {specification.model} "
            f"({error}). Delete the file and rerun."
        ) from None
    optimizer = optim.build(
        specification.method,
        model.parameters(),
        lr=specification.learning_rate,
        momentum=specification.momentum,
        weight_decay=specification.weight_decay,
        schedule_clock=specification.schedule_clock,
        bn_second_pass=specification.bn_second_pass,
        model=model,
    )
    return model, optimizer


@contextmanager
def _reporting(folder: StateFolder, progress: Progress) -> Iterator[Progress]:
    """Save the state of a run that a signal stops; say in its progress how it ended otherwise."""
    with interrupted_by_sigterm():
        try:
            yield progress
        except KeyboardInterrupt as interrupt:
            epochs = folder.save()
            on = f"goes on after epoch {epochs} of {progress.epochs}" if epochs else "begins anew"
            message = f"stopped by {interrupt or 'an interrupt'}; the next start {on}."
            progress.end("stopped", message)
            raise PerturbError(message) from None
        except Exception as error:
            with suppress(OSError):
                progress.end("failed", str(error))
            raise


def _print_progress(row: dict[str, float], epochs: int) -> None:
    print(
        f"epoch {row['epoch'] + 1}/{epochs}: train loss {row['train_loss']:.4f}, "
        f"test accuracy {row['test_accuracy']:.4f}\n",
        end="",  # one write, which no signal falls into
        file=sys.stderr,
        flush=True,
    )


def _what(specification: RunSpecification) -> dict[str, Any]:
    named = ("dataset", "model", "method", "seed", "scale")
    # Which device was asked for is no part of what was computed: `device` says which one did it.
    settings = {k: v for k, v in asdict(specification).items() if k not in (*named, "device")}
    return {name: getattr(specification, name) for name in named} | {"specification": settings}


def _result(outcome: Outcome, optimizer: optim.PerturbedSGD, steps: int) -> dict[str, Any]:
    rows = outcome.history.rows
    measured = [f"{s}_{m}" for s in ("train", "validation", "test") for m in ("loss", "accuracy")]
    last = {name: rows[-1][name] for name in measured} if rows else None
    best = None
    if outcome.best_epoch is not None:
        chosen = rows[outcome.best_epoch]
        best = {name: chosen[name] for name in ("epoch", "validation_accuracy", "test_accuracy")}
    triggered = optimizer.trigger_epoch
    return {
        "status": "ok" if outcome.diverged_at_step is None else "diverged",
        "diverged_at_step": outcome.diverged_at_step,
        "epochs_completed": len(rows),
        "steps_per_epoch": steps,
        "gradient_evaluations": optimizer.gradient_evaluations,
        "trigger_epoch": triggered,
        "perturbing_from": None if triggered is None else triggered + 1,
        "last": last,
        "best": best,
    }


def _divergence(outcome: Outcome) -> str:
    step = outcome.diverged_at_step
    return "" if step is None else f"diverged at step {step}"


def _where(specification: RunSpecification, device: torch.device) -> dict[str, Any]:
    return {
        "device": describe_device(device),
        "threads": specification.threads,
        "versions": versions(device),
        "reproducible": "bit-identical on this kind of device with these versions and threads; "
        "elsewhere equal within rounding, which training amplifies",
    }


def _write(files: RunFiles, outcome: Outcome) -> dict[str, str]:
    """Write everything but the record; return the hash of each file that is reproducible."""
    files.checkpoints.mkdir(parents=True, exist_ok=True)
    kept = {files.checkpoints / f"epoch{e}.safetensors": w for e, w in outcome.checkpoints.items()}
    for path, weights in kept.items():
        save_weights(path, weights)
    save_weights(files.last, outcome.last)
    save_weights(files.best, outcome.best)
    write_text(files.epochs, outcome.history.csv())
    write_npz(files.batches, outcome.history.arrays())
    seconds = [f"{epoch},{value:.6f}" for epoch, value in enumerate(outcome.seconds)]
    write_text(files.timing, "\n".join(["epoch,seconds", *seconds]) + "\n")
    written = [*kept, files.last, files.best, files.epochs, files.batches]
    folder = files.record.parent
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in written}
