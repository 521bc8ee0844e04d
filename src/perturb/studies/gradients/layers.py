"""Trained layers of a run, from its files to theirs; and the layers of all runs as one frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from perturb import code
from perturb.errors import PerturbError, did_you_mean
from perturb.files import read_json, sha256_file, write_json, write_text
from perturb.gradients.kept import Kept
from perturb.gradients.layers import measure
from perturb.jobs.store import Store, keep, put_back
from perturb.studies.gradients.run import csv, where
from perturb.studies.gradients.settings import Layers
from perturb.train.trained import TrainedFiles, TrainedRun, made_from

if TYPE_CHECKING:
    from perturb.models.xnor_resnet import XNORResNet18
    from perturb.train.settings import TrainSettings


def run(
    specification: TrainSettings,
    settings: Mapping[str, Any],
    files: TrainedFiles,
    outputs: Mapping[str, Path],
    state: Path | None = None,
    store: Store | None = None,
) -> None:
    """Measure the layers of a run's last weights and write their frame and a record.

    Args:
        specification: of the run.
        settings: of the chapter's layers, `settings.Layers` as plain values.
        files: of the run.
        outputs: `layers` and `record`.
        state: a folder in which long estimates are kept until the job has ended.
        store: from which they are put back where it has them, and in which they are kept.

    Raises PerturbError where the chapter measures no layers of the model, where the run diverged,
    or where the weights are not the record's.
    """
    asked = Layers.of(settings)
    if specification.model not in asked.models:
        raise PerturbError(
            f"no layers of {specification.model} are measured: list them under `layers.models` of "
            f"the chapter.{did_you_mean(specification.model, asked.models)}"
        )
    modules = code.of("perturb.studies.gradients.layers")
    fingerprint = made_from("layers", specification, files, modules, asked.values())
    if put_back(store, fingerprint, outputs["record"].parent):
        return
    trained = TrainedRun.load(specification, files)
    if trained.record["status"] != "ok":
        raise PerturbError(
            f"{files.record}: the run {trained.record['status']} at step "
            f"{trained.record['diverged_at_step']}, so it has no trained layers to measure. Lower "
            f"the learning_rate of {specification.dataset}, or name another method in the "
            "chapter's layers."
        )
    train, test = (
        trained.batch(*trained.images(split, asked.images)) for split in ("train", "test")
    )
    what = {
        "specification": {k: v for k, v in specification.values().items() if k != "device"},
        "settings": asked.values(),
        "checkpoint_sha256": trained.weights_sha256,
        "code_sha256": code.digest(modules),
    } | where(trained.device, specification.threads)
    kept = Kept(state, what)
    numbers = asked.models[specification.model]
    # The schema lets a chapter name such networks only.
    network = cast("XNORResNet18", trained.model)
    frame = measure(network, numbers, train, test, asked.windows, asked.learning_rates, kept)
    frame.insert(0, "model", specification.model)
    write_text(outputs["layers"], csv(frame))
    write_json(outputs["record"], what | {"sha256": {"layers": sha256_file(outputs["layers"])}})
    keep(store, fingerprint, [outputs["layers"], outputs["record"]])
    kept.finish()


def gather(paths: Iterable[str | Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the measured layers of all networks, and one row per network of where they are from.

    Raises PerturbError where a frame is not what its record says.
    """
    frames, sources = [], []
    for path in map(Path, paths):
        record_path = path.with_name("record.json")
        record = read_json(record_path)
        if sha256_file(path) != record["sha256"]["layers"]:
            raise PerturbError(f"{path}: not what its record says. Delete it and run again.")
        given = record["specification"]
        run = {key: given[key] for key in ("dataset", "method", "seed", "scale")}
        limit = given["limit"] or {"train": "all"}
        run |= {"training_images": limit["train"], "device": record["device"]}
        frames.append(pd.read_csv(path).assign(**run))
        sources.append(
            {
                "model": given["model"],
                "record": record_path,
                "record_sha256": sha256_file(record_path),
            }
            | {key: given[key] for key in ("dataset", "method", "seed")}
            | {"final_weights_sha256": record["checkpoint_sha256"]}
            | {key: record[key] for key in ("code_sha256", "device", "threads", "versions")}
        )
    return pd.concat(frames, ignore_index=True), pd.DataFrame(sources)
