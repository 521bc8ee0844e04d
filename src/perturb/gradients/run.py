"""The jobs of the study: from settings to files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perturb import code, models
from perturb.analysis.formats import csv_text as csv
from perturb.analysis.runs import read_record
from perturb.config import RunSpecification
from perturb.data import load
from perturb.data.feeding import Feed
from perturb.errors import PerturbError
from perturb.files import sha256_file, write_json, write_text
from perturb.gradients import toy
from perturb.gradients.layers import measure
from perturb.gradients.settings import Layers, Toy
from perturb.models.weights import load_weights, sha256_weights
from perturb.train.determinism import describe_device, find_device, make_deterministic, versions
from perturb.train.run import balanced_subset, make_splits

FRAMES = ("curves", "windows", "batches", "pooled")


def run_toy(settings: Toy, seed: int, outputs: Mapping[str, Path]) -> None:
    """Run a toy of one seed and write its frames, its times and its record."""
    found = toy.run(settings, seed)
    for name in (*FRAMES, "timing"):
        write_text(outputs[name], csv(found[name]))
    where = _where(find_device(settings.device), settings.threads, "perturb.gradients.run")
    what = {"settings": asdict(settings), "slug": settings.slug, "seed": seed}
    hashes = {name: sha256_file(outputs[name]) for name in FRAMES}
    write_json(outputs["record"], what | where | found["losses"] | {"sha256": hashes})


def _where(device: torch.device, threads: int, module: str) -> dict[str, Any]:
    return {
        "device": describe_device(device),
        "threads": threads,
        "versions": versions(device),
        "code_sha256": code.digest(code.of(module)),
    }


@dataclass(frozen=True)
class RunFiles:
    """The files of a trained run whose layers are measured."""

    images: Path
    manifest: Path
    record: Path
    weights: Path


def run_layers(
    specification: RunSpecification, settings: Layers, files: RunFiles, outputs: Mapping[str, Path]
) -> None:
    """Measure the layers of a run's last weights and write their frame and a record.

    Raises PerturbError where the model has no such layers, or the weights are not the record's.
    """
    make_deterministic(specification.threads)
    device = find_device(specification.device)
    data, weights = load(files.images, files.manifest), load_weights(files.weights)
    found = sha256_weights(weights)
    if found != read_record(files.record)["sha256"]["final_weights"]:
        raise PerturbError(f"{files.weights}: not the final weights of its record. Rerun that run.")
    manifest = data.manifest
    network = models.build(
        specification.model, manifest["num_classes"], manifest["image_size"], manifest["channels"]
    )
    network.load_state_dict(weights)
    network.to(device).eval()
    splits = make_splits(data, specification)
    train, test = (
        _some(splits[name], settings.images, manifest, specification, device)
        for name in ("train", "test")
    )
    numbers = settings.models[specification.model]
    frame = measure(network, numbers, train, test, settings.windows, settings.learning_rates)
    frame.insert(0, "model", specification.model)
    write_text(outputs["layers"], csv(frame))
    what = {
        "specification": asdict(specification),
        "settings": asdict(settings) | {"models": dict(settings.models)},
        "checkpoint_sha256": found,
        "sha256": {"layers": sha256_file(outputs["layers"])},
    }
    where = _where(device, specification.threads, "perturb.gradients.run")
    write_json(outputs["record"], what | where)


def _some(
    split: tuple[np.ndarray, np.ndarray],
    count: int,
    manifest: Mapping[str, Any],
    specification: RunSpecification,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Return so many images of a split, normalised, and labels: an even number, classes alike."""
    images, labels = split
    chosen = balanced_subset(labels, min(count, len(labels)), specification.split_seed)
    feed = Feed(
        images[chosen],
        labels[chosen],
        batch_size=len(chosen),
        mean=manifest["mean"],
        std=manifest["std"],
        device=device,
    )
    ((inputs, targets),) = feed.epoch(0)
    return inputs, targets
