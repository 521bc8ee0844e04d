"""A finished run, opened again: its last weights in its model, and images of its splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from perturb import models
from perturb.analysis.runs import read_record
from perturb.config import RunSpecification
from perturb.data import load
from perturb.data.feeding import Feed
from perturb.errors import PerturbError
from perturb.models.weights import load_weights, sha256_weights
from perturb.train.determinism import find_device, make_deterministic
from perturb.train.run import balanced_subset, make_splits


@dataclass(frozen=True)
class TrainedFiles:
    """The files that a finished run is opened from."""

    images: Path
    manifest: Path
    record: Path
    weights: Path


@dataclass(frozen=True)
class TrainedRun:
    """A run's model with its last weights, on its device; `weights` are the same on the CPU.

    `record` and `manifest` are those of the run and of its data.
    """

    specification: RunSpecification
    model: nn.Module
    weights: dict[str, Tensor]
    weights_sha256: str
    device: torch.device
    record: dict[str, Any]
    manifest: dict[str, Any]
    splits: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def load(cls, specification: RunSpecification, files: TrainedFiles) -> TrainedRun:
        """Open a run, deterministic from here on.

        Raises PerturbError where a file is missing or damaged, or where the weights are not those
        that the run's record speaks of.
        """
        make_deterministic(specification.threads)
        device = find_device(specification.device)
        data = load(files.images, files.manifest)
        record, weights = read_record(files.record), load_weights(files.weights)
        if (found := sha256_weights(weights)) != record["sha256"]["final_weights"]:
            raise PerturbError(
                f"{files.weights}: not the final weights of {files.record} (sha256 {found[:12]}, "
                f"the record says {record['sha256']['final_weights'][:12]}). Rerun that run."
            )
        manifest = data.manifest
        model = models.build(
            specification.model,
            manifest["num_classes"],
            manifest["image_size"],
            manifest["channels"],
        )
        model.load_state_dict(weights)
        model.to(device)
        splits = make_splits(data, specification)
        return cls(specification, model, weights, found, device, record, manifest, splits)

    def images(self, split: str, wanted: int | str) -> tuple[np.ndarray, np.ndarray]:
        """Return so many images of a split and their labels, classes alike, or the `full` split."""
        images, labels = self.splits[split]
        if wanted == "full":
            return images, labels
        chosen = balanced_subset(labels, int(wanted), self.specification.split_seed)
        return images[chosen], labels[chosen]

    def batch(self, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return images as the model takes them, and labels, as one batch on the device."""
        feed = Feed(
            images,
            labels,
            batch_size=len(labels),
            mean=self.manifest["mean"],
            std=self.manifest["std"],
            device=self.device,
        )
        ((inputs, targets),) = feed.epoch(0)
        return inputs, targets
