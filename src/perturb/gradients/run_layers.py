"""A run's trained layers, from its files to theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perturb import models
from perturb.analysis.runs import read_record
from perturb.config import RunSpecification
from perturb.data import load
from perturb.data.feeding import Feed
from perturb.errors import PerturbError
from perturb.files import sha256_file, write_json, write_text
from perturb.gradients.layers import measure
from perturb.gradients.run import csv, where
from perturb.gradients.settings import Layers
from perturb.models.weights import load_weights, sha256_weights
from perturb.train.determinism import find_device, make_deterministic
from perturb.train.run import balanced_subset, make_splits


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
    machine = where(device, specification.threads, "perturb.gradients.run_layers")
    write_json(outputs["record"], what | machine)


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
