"""A run's trained layers, from its files to theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from perturb.config import RunSpecification
from perturb.errors import PerturbError
from perturb.files import sha256_file, write_json, write_text
from perturb.gradients.kept import Kept
from perturb.gradients.layers import measure
from perturb.gradients.run import csv, where
from perturb.gradients.settings import Layers
from perturb.train.trained import TrainedFiles, TrainedRun


def run_layers(
    specification: RunSpecification,
    settings: Layers,
    files: TrainedFiles,
    outputs: Mapping[str, Path],
    state: Path | None = None,
) -> None:
    """Measure the layers of a run's last weights and write their frame and a record.

    In the folder `state` long estimates are kept until it has ended.

    Raises PerturbError where the run diverged, or the weights are not the record's.
    """
    run = TrainedRun.load(specification, files)
    if run.record["status"] != "ok":
        raise PerturbError(
            f"{files.record}: the run {run.record['status']} at step "
            f"{run.record['diverged_at_step']}, so it has no trained layers to measure. Lower the "
            f"learning_rate of {specification.dataset}, or name another method in the study's "
            "layers."
        )
    train, test = (run.batch(*run.images(split, settings.images)) for split in ("train", "test"))
    what = {
        "specification": asdict(specification),
        "settings": asdict(settings) | {"models": dict(settings.models)},
        "checkpoint_sha256": run.weights_sha256,
    } | where(run.device, specification.threads, "perturb.gradients.run_layers")
    kept = Kept(state, what)
    numbers = settings.models[specification.model]
    frame = measure(
        run.model, numbers, train, test, settings.windows, settings.learning_rates, kept
    )
    frame.insert(0, "model", specification.model)
    write_text(outputs["layers"], csv(frame))
    write_json(outputs["record"], what | {"sha256": {"layers": sha256_file(outputs["layers"])}})
    kept.clear()
