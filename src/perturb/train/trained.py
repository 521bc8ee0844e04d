"""A finished run, opened again: its last weights in its network, and images of its splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from perturb import studies
from perturb.data import load
from perturb.data.feeding import Feed
from perturb.data.prepared import read_manifest
from perturb.data.protocol import Split, make_splits, thin
from perturb.errors import PerturbError
from perturb.models.weights import load_weights, sha256_weights
from perturb.runs import CHECKPOINTS, IDENTITY, read_record, versions_that_matter, without_neutral
from perturb.study import load as load_function
from perturb.train.determinism import (
    describe_device,
    find_device,
    make_deterministic,
    set_precision,
    versions,
)
from perturb.train.learner import (
    Inputs,
    MakeLearner,
    Weights,
    load_weights_into,
    network_key,
    part_of,
    weights_of,
)
from perturb.train.settings import TrainSettings


@dataclass(frozen=True)
class TrainedFiles:
    """The files that a finished run is opened from."""

    images: Path
    manifest: Path
    record: Path
    weights: Path


def made_from(
    kind: str,
    specification: TrainSettings,
    files: TrainedFiles,
    modules: Mapping[str, str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what a measurement of a finished run is made from: its fingerprint in the store.

    Neither images nor weights are read: the run's record and the data's manifest speak of them.

    Args:
        kind: of the measurement: `plane`, `layers`.
        specification: of the run.
        files: of the run; the record and the manifest are read.
        modules: the hash of each module that measures, by name.
        settings: what else decides it, plain values.

    Raises PerturbError where one of the two files is missing or damaged.
    """
    record, manifest = read_record(files.record), read_manifest(files.manifest)
    device = find_device(specification.device)
    of_run = ("status", "epochs_completed", "images")
    weights = ("data", "split", "initial_weights", "final_weights")
    hashes = {name: record["sha256"][name] for name in weights if name in record["sha256"]}
    files_of_run = record["sha256"]["files"].items()
    hashes |= {name: value for name, value in files_of_run if name.startswith(f"{CHECKPOINTS}/")}
    return {
        "kind": kind,
        "run": {name: record[name] for name in of_run if name in record} | {"sha256": hashes},
        **{name: getattr(specification, name) for name in ("study", *IDENTITY, "scale")},
        "specification": without_neutral(specification.settings(), type(specification).NEUTRAL),
        "sha256": {"data": manifest["sha256"], "split": manifest["split_sha256"]},
        "partial_data": bool(manifest["partial"]),
        "device": describe_device(device),
        "threads": specification.threads,
        "versions": versions_that_matter(
            versions(device, getattr(specification, "architecture", ""))
        ),
        "settings": dict(settings),
        "code": dict(modules),
    }


def began_from(
    specification: TrainSettings, files: TrainedFiles, initial: Path, network: str
) -> Weights:
    """Return the weights that one of a run's networks began from, on the CPU.

    `initial` is the file of the initial weights of the run's model; `network` is the prefix of the
    network in the run's own files. What a study draws for a second network is drawn again.
    """
    device = find_device(specification.device)
    data = load(files.images, files.manifest)
    make = load_function(studies.get(specification.study).learner)
    learner = make(specification, Inputs(device, data, load_weights(initial), initial))
    set_precision("float32")  # as what is measured of the run
    return part_of(weights_of(learner), network)


@dataclass(frozen=True)
class TrainedRun:
    """A run's network with its last weights, on its device; `weights` are the same on the CPU.

    Where the run trained several networks it is the one that was asked for, by default the one that
    its learner names (`network()`); `key` is its prefix in the files of weights, and `networks` has
    the prefixes of all: "" where there is no prefix. `weights_sha256` is of the whole file.
    `record` and `manifest` are those of the run and of its data.
    """

    specification: TrainSettings
    model: nn.Module
    weights: Weights
    weights_sha256: str
    key: str
    networks: tuple[str, ...]
    device: torch.device
    record: dict[str, Any]
    manifest: dict[str, Any]
    splits: dict[str, Split]

    @classmethod
    def load(
        cls,
        specification: TrainSettings,
        files: TrainedFiles,
        make_learner: MakeLearner | None = None,
        network: str = "",
    ) -> TrainedRun:
        """Open a run, deterministic from here on.

        `make_learner` is its study's by default; `network` is the prefix of one of the networks
        that the run trained: `net1`. Raises PerturbError where a file is missing or damaged, where
        the weights are not those that the run's record speaks of, or where there is no such
        network.
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
        make = make_learner or load_function(studies.get(specification.study).learner)
        learner = make(specification, Inputs(device, data))
        load_weights_into(learner, weights)
        # What is measured is the network, not how its training rounded or laid it out in memory.
        set_precision("float32")
        key = network or network_key(learner)
        if key not in learner.modules:
            several = len(learner.modules) > 1
            known = f"its networks are {', '.join(learner.modules)}" if several else "it has one"
            raise PerturbError(f"{specification.run} has no network '{network}': {known}.")
        model = learner.modules[key].to(memory_format=torch.contiguous_format)
        return cls(
            specification=specification,
            model=model,
            weights=part_of(weights, key),
            weights_sha256=found,
            key=key,
            networks=tuple(learner.modules),
            device=device,
            record=record,
            manifest=data.manifest,
            splits=make_splits(data, specification),
        )

    def images(self, split: str, wanted: int | str) -> tuple[np.ndarray, np.ndarray]:
        """Return `wanted` images of a split, balanced by class, and their labels; `full`: all."""
        wanted_of = self.splits[split]
        if wanted != "full":
            wanted_of = thin(wanted_of, int(wanted), self.specification.split_seed)
        return wanted_of.images, wanted_of.labels

    def batch(self, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return images as the model takes them, and labels, as one batch on the device.

        They have the size at which the run's networks look at images.
        """
        feed = Feed(
            images,
            labels,
            batch_size=len(labels),
            mean=self.manifest["mean"],
            std=self.manifest["std"],
            device=self.device,
        )
        ((inputs, targets),) = feed.epoch(0)
        size = self.specification.size
        if size and size != images.shape[1:3]:
            inputs = self._resized(inputs, size)
        return inputs, targets

    def _resized(self, inputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return normalised inputs [B, C, H, W] at a size, by bicubic interpolation.

        No pixel gets darker than black or brighter than white.
        """
        mean, std = (
            torch.tensor(self.manifest[name], dtype=torch.float32, device=self.device)
            for name in ("mean", "std")
        )
        black, white = ((end - mean) / std for end in (0, 1))
        resized = interpolate(inputs, size, mode="bicubic", align_corners=False)
        return resized.clamp_(black.view(-1, 1, 1), white.view(-1, 1, 1))
