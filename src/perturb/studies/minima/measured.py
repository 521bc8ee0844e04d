"""What is measured on the weights that runs left: ensembles, and paths between two networks.

Two jobs, each for a chapter and a seed (`workflow/rules/studies/minima.smk`): files in, a frame and
its record out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from perturb import code, models
from perturb.data import load
from perturb.data.feeding import Feed, make_feeds
from perturb.data.prepared import PreparedData
from perturb.data.protocol import make_splits
from perturb.ensembles import matching, members, paths, predictions
from perturb.errors import PerturbError
from perturb.files import sha256_file, write_json, write_text
from perturb.jobs.store import Store, keep, put_back
from perturb.models.weights import load_weights
from perturb.random import generator
from perturb.runs import versions_that_matter
from perturb.studies.minima.learner import network_at
from perturb.studies.minima.settings import MinimaSpecification
from perturb.train.determinism import (
    describe_device,
    find_device,
    make_deterministic,
    set_precision,
    versions,
)

Weights = dict[str, Tensor]


def run(
    settings: Mapping[str, Any],
    results: Path,
    outputs: Mapping[str, Path],
    device: str = "auto",
    store: Store | None = None,
) -> None:
    """Measure what `settings` ask for, and write `outputs`: `frame`, a CSV, and its `record`.

    Args:
        settings: `kind`, one of `KINDS`; `specification`, the text of that of a run whose images
            and network are used; `files`, all that is read, below the results; and the kind's own.
        results: the results folder.
        outputs: where the frame and its record go.
        device: that is asked for.
        store: from which they are put back, and in which they are kept.

    Raises PerturbError where a file is missing or damaged.
    """
    specification = MinimaSpecification.from_json(settings["specification"], device)
    make_deterministic(specification.threads)
    used = find_device(specification.device)
    modules = code.of("perturb.studies.minima.measured") | code.of_model(specification.architecture)
    where = {"device": describe_device(used), "versions": versions(used)}
    made_from = {
        "kind": f"minima {settings['kind']}",
        "settings": dict(settings),
        "sha256": {name: sha256_file(results / name) for name in settings["files"]},
        "code": modules,
        "device": where["device"],
        "versions": versions_that_matter(versions(used)),
    }
    if put_back(store, made_from, outputs["frame"].parent):
        return
    set_precision("float32")
    data = load(*(results / "data" / f"{specification.dataset}{e}" for e in _ENDINGS))
    network = Network(specification, data, used, results)
    frame = KINDS[settings["kind"]](settings, network)
    write_text(outputs["frame"], frame.to_csv(index=False, lineterminator="\n"))
    record = made_from | where | {"frame_sha256": sha256_file(outputs["frame"])}
    write_json(outputs["record"], record)
    keep(store, made_from, [outputs["frame"], outputs["record"]])


_ENDINGS = (".npz", ".manifest.json")


class Network:
    """The architecture of a chapter's runs, and its images."""

    def __init__(
        self,
        specification: MinimaSpecification,
        data: PreparedData,
        device: torch.device,
        results: Path,
    ) -> None:
        self.specification, self.data, self.device = specification, data, device
        self.results = results
        manifest = data.manifest
        shape = (manifest["num_classes"], manifest["image_size"], manifest["channels"])
        self.model: nn.Module = models.build(specification.model, *shape).to(device)
        self.feeds = make_feeds(make_splits(data, specification), manifest, specification, device)

    def weights(self, file: str) -> list[Weights]:
        """Return the networks in a file of weights: one, or those of an ensemble in its order."""
        path = self.results / file
        found = load_weights(path)
        keys = sorted({name.partition(".")[0] for name in found if name.startswith("net")})
        if not keys:
            return [found]
        return [
            {n.removeprefix(f"{key}."): t for n, t in found.items() if n.startswith(f"{key}.")}
            for key in sorted(keys, key=lambda key: int(key.removeprefix("net")))
        ]

    @torch.no_grad()
    def logits(self, weights: Weights | None = None, model: nn.Module | None = None) -> np.ndarray:
        """Return the test images' logits [N, K] at weights, or of another model."""
        used = self.model if model is None else model
        if weights is not None:
            used.load_state_dict(weights)
        used.eval()
        parts = [used(inputs) for inputs, _ in self.feeds["test"].epoch(0)]
        return torch.cat(parts).cpu().double().numpy()

    def labels(self) -> np.ndarray:
        """Return the test labels [N]."""
        return self.feeds["test"].labels.cpu().numpy()

    def plain_batches(self) -> list[Tensor]:
        """Return the training images without augmentation, for batch-norm's statistics."""
        split = make_splits(self.data, self.specification)["train"]
        feed = Feed(
            split.images,
            split.labels,
            batch_size=self.specification.batch_size,
            mean=self.data.manifest["mean"],
            std=self.data.manifest["std"],
            device=self.device,
        )
        return [inputs for inputs, _ in feed.epoch(0)]


def ensembles(settings: Mapping[str, Any], network: Network) -> pd.DataFrame:
    """Return a row per ensemble and average of `settings["ensembles"]`, `mean of ...`.

    An ensemble that is averaged in weight space has one row, its network's, and its members'
    agreement.
    """
    labels, rows = network.labels(), []
    for asked in settings["ensembles"]:
        found = [weights for file in asked["members"] for weights in network.weights(file)]
        logits = np.stack([network.logits(weights) for weights in found])
        alone = [float((one.argmax(1) == labels).mean()) for one in logits]
        vectors = np.stack([_parameters(network.model, weights) for weights in found])
        shared = {
            "label": asked["label"],
            "method": asked["method"],
            "members": len(found),
            "gradient_evaluations_epochs": asked["epochs"],
            "member_accuracy_mean": float(np.mean(alone)),
            "member_accuracy_best": max(alone),
            "member_accuracy_last": alone[-1],
            **asdict(predictions.agreement(logits, labels)),
            "images": len(labels),
            "weight_cosine": predictions.mean_cosine(vectors),
        }
        for average, mean in _means(asked, network, found, logits).items():
            rows.append({**shared, "average": average, **asdict(predictions.scores(mean, labels))})
    return pd.DataFrame(rows)


def _means(
    asked: Mapping[str, Any], network: Network, found: list[Weights], logits: np.ndarray
) -> dict[str, np.ndarray]:
    if asked["average"]:
        mean = members.averaged(network.model, found, network.plain_batches())
        one = predictions.softmax(network.logits(model=mean))
        return {"weights": one}
    return {
        "probabilities": predictions.mean_of_probabilities(logits),
        "logits": predictions.mean_of_logits(logits),
    }


def _parameters(model: nn.Module, weights: Weights) -> np.ndarray:
    named = [weights[name].double().cpu().reshape(-1) for name, _ in model.named_parameters()]
    return torch.cat(named).numpy()


def along_paths(settings: Mapping[str, Any], network: Network) -> pd.DataFrame:
    """Return loss and error along paths from theta_c to the end of each clone.

    A row per path and place: `label`, `path` (`line`, `curve`, and for the independent network
    `matched`, the line after its units were matched), `share`, `loss`, `error`, and `distance`, the
    squared one between the ends.
    """
    s = network.specification
    at = network_at(s, network.model, network.data, network.device)
    (start,) = network.weights(settings["parent"])
    shares = np.linspace(0, 1, settings["points"])
    rows: list[dict[str, Any]] = []

    def add(label: str, path: str, ends: tuple[Tensor, Tensor], bend: Tensor | None = None) -> None:
        distance = (ends[1] - ends[0]).double().square().sum().item()
        for share in shares.tolist():
            place = (
                paths.line(*ends, share)
                if bend is None
                else paths.bezier(ends[0], bend, ends[1], share)
            )
            named = {"label": label, "path": path, "share": share, "distance": distance}
            rows.append(named | asdict(at.point(place)))

    for label, file in settings["ends"]:
        (end,) = network.weights(file)
        ends = at.vector(start), at.vector(end)
        add(label, "line", ends)
        bend = paths.train_bend(
            at.gradient,
            *ends,
            steps=settings["bend_steps"],
            lr=settings["bend_lr"],
            generator=generator(s.seed, 0, "places on a curve"),
        )
        add(label, "curve", ends, bend)
        if label == settings["independent"]:
            matched = _matched(network.model, start, end)
            if matched is not None:
                add(label, "matched", (ends[0], at.vector(matched)))
    return pd.DataFrame(rows)


def _matched(model: nn.Module, start: Weights, end: Weights) -> Weights | None:
    """Return `end` with its units matched; None where that is not written for the network."""
    try:
        return matching.matched(model, start, end)
    except PerturbError:
        return None


KINDS = {"ensembles": ensembles, "paths": along_paths}
