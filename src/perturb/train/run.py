"""A run of any study, from its specification and files to its folder (contract 2 of the design)."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from perturb import code, runs, studies
from perturb.data import load
from perturb.data.prepared import read_manifest
from perturb.files import sha256_file, write_json, write_npz, write_text
from perturb.jobs.progress import Progress, ends_said
from perturb.jobs.store import Store, put_back
from perturb.models.weights import load_weights, save_weights, sha256_weights
from perturb.runs import RunFiles
from perturb.study import load as load_function
from perturb.train.determinism import (
    describe_device,
    find_device,
    make_deterministic,
    versions,
)
from perturb.train.driver import Outcome, train
from perturb.train.history import History
from perturb.train.learner import Inputs, Learner, MakeLearner, Weights, load_weights_into
from perturb.train.settings import DrivenSettings
from perturb.train.state import State, StateFolder


@dataclass(frozen=True)
class Pause:
    """Where a run is to stop for now, and the file that says how good it is by then."""

    epochs: int
    file: Path

    def write(self, outcome: Outcome) -> None:
        """Write the row of the last epoch that was asked for, or that the run diverged before."""
        rows, step = outcome.history.rows, outcome.diverged_at_step
        reached = len(rows) >= self.epochs
        found = {
            "status": "paused" if reached else "diverged",
            "diverged_at_step": None if reached else step,
            "epochs": self.epochs if reached else len(rows),
            "row": rows[self.epochs - 1] if reached else None,
        }
        write_json(self.file, found)

    def of_finished(
        self, specification: DrivenSettings, files: RunFiles, modules: Mapping[str, str]
    ) -> bool:
        """Write the file from a run that is finished, and was made by the same; whether it was."""
        if not files.record.exists():
            return False
        record = runs.read_record(files.record)
        same = record["sha256"].get("code") == code.digest(modules)
        if not same or specification.differences(record):
            return False
        text = files.file(runs.EPOCHS).read_text(encoding="utf-8").splitlines()
        rows = [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(text)
        ]
        nothing: Weights = {}
        step = record["diverged_at_step"]
        self.write(Outcome(History((), rows), nothing, nothing, diverged_at_step=step))
        return True


def run(
    specification: DrivenSettings,
    files: RunFiles,
    *,
    save_seconds: float = 60.0,
    keep_state: bool = False,
    store: Store | None = None,
    pause: Pause | None = None,
) -> None:
    """Train one run of a study and write its folder: record, epochs, batches, weights, timing.

    With `pause` it is trained in part: its state is kept, and instead of the folder the file of the
    pause is written. Whoever asks for more epochs, or for the whole run, goes on from there.

    Where `store` has what it comes to it is put back, before the images are read; else it is kept
    there.

    Its state is saved at the end of an epoch where `save_seconds` went by since the last time, and
    when SIGTERM or SIGINT comes; a run that finds one goes on from there to the same bits. With
    `keep_state` the last one is kept when the run is finished. What is computed depends on neither.

    Raises PerturbError where the data or the initial weights are missing, corrupt or do not fit,
    where an unfinished state was made by something else, and after a signal.
    """
    make_learner = load_function(studies.get(specification.study).learner)
    modules = studies.code_of(specification)
    if pause and pause.of_finished(specification, files, modules):
        return
    run_learner(
        specification,
        files,
        make_learner,
        modules,
        save_seconds=save_seconds,
        keep_state=keep_state,
        store=store,
        pause=pause,
    )


def run_learner(
    specification: DrivenSettings,
    files: RunFiles,
    make_learner: MakeLearner,
    modules: Mapping[str, str],
    *,
    save_seconds: float = 60.0,
    keep_state: bool = False,
    store: Store | None = None,
    pause: Pause | None = None,
) -> None:
    """Do what `run` does, with a learner that no study has to know.

    `modules`: the hash of each module that it uses, by name.
    """
    make_deterministic(specification.threads)
    device = find_device(specification.device)
    initial = load_weights(files.initial) if files.initial else None
    described = _described(files, initial)
    record = _what(specification) | _where(specification, device) | described
    made_from = runs.made_from(record | {"code": modules}, type(specification).NEUTRAL)
    fingerprint = runs.deciding(record) | {"code": modules}
    folder = StateFolder(files.state_folder, fingerprint, save_seconds)
    progress = Progress(files.progress, 0)

    def next_start() -> str:
        epochs = folder.save()
        return f"goes on after epoch {epochs} of {progress.epochs}" if epochs else "begins anew"

    with folder.locked(), ends_said(progress, next_start):
        if pause is None and put_back(store, made_from, files.folder, progress):
            folder.leave()
            return
        data = load(files.images, files.manifest) if files.images and files.manifest else None
        learner = make_learner(specification, Inputs(device, data, initial, files.initial))
        progress.epochs = learner.epochs
        before = _resumed(folder, learner)
        progress.start(before.epochs if before else 0)

        def epoch_ended(outcome: Outcome) -> None:
            row, measures = outcome.history.rows[-1], learner.measures
            told = {name: row[name] for name in measures.told}
            _print_progress(row["epoch"], learner.epochs, told)
            progress.epoch(row["epoch"], told, measures.shown, outcome.seconds[-1])
            folder.keep(State.of(outcome, learner))

        outcome = train(
            learner,
            checkpoint_every=specification.checkpoint_every,
            before=before.outcome.copy() if before else None,
            until=pause.epochs if pause else None,
            epoch_ended=epoch_ended,
        )
        if pause:
            folder.save()
            pause.write(outcome)
            progress.end("stopped", f"paused after {len(outcome.history.rows)} epochs")
            return
        outputs = {
            "code": code.digest(modules),
            "final_weights": sha256_weights(outcome.last),
            "best_weights": sha256_weights(outcome.best),
            "files": _write(files, outcome),
        }
        record |= learner.facts() | _result(outcome, learner)
        hashes = {"sha256": described["sha256"] | outputs, "code": modules}
        record |= hashes
        runs.write_record(files.record, record)
        if store:
            store.keep(made_from, files.folder, runs.names_of(record))
        folder.finish(keep_state)
        progress.end(record["status"], _divergence(outcome))


def _described(files: RunFiles, initial: Weights | None) -> dict[str, Any]:
    """Return what the record says of data and initial weights; the images are not read for it."""
    hashes, partial = {}, False
    if files.images and files.manifest:
        manifest = read_manifest(files.manifest)
        hashes = {"data": manifest["sha256"], "split": manifest["split_sha256"]}
        partial = bool(manifest["partial"])
    if initial is not None:
        hashes["initial_weights"] = sha256_weights(initial)
    return {"partial_data": partial, "sha256": hashes}


def _resumed(folder: StateFolder, learner: Learner) -> State | None:
    """Bring the learner to where the unfinished run stopped; return its state, None if none."""
    before = folder.load()
    if before is not None:
        load_weights_into(learner, before.outcome.last)
        learner.load_state_dict(before.learner)
        print(f"goes on after epoch {before.epochs} of {learner.epochs}", file=sys.stderr)
    return before


def _print_progress(epoch: int, epochs: int, told: Mapping[str, float]) -> None:
    measured = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in told.items())
    print(
        f"epoch {epoch + 1}/{epochs}: {measured}\n",
        end="",  # one write, which no signal falls into
        file=sys.stderr,
        flush=True,
    )


def _what(specification: DrivenSettings) -> dict[str, Any]:
    named = ("study", *runs.IDENTITY, "scale")
    return {name: getattr(specification, name) for name in named} | {
        "specification": specification.settings()
    }


def _where(specification: DrivenSettings, device: torch.device) -> dict[str, Any]:
    return {
        "device": describe_device(device),
        "threads": specification.threads,
        "versions": versions(device, getattr(specification, "architecture", "")),
        "reproducible": "bit-identical on this kind of device with these versions and threads; "
        "elsewhere equal within rounding, which training amplifies",
    }


def _result(outcome: Outcome, learner: Learner) -> dict[str, Any]:
    rows, measures = outcome.history.rows, learner.measures
    last = {name: rows[-1][name] for name in measures.last} if rows else None
    best = None
    if outcome.best_epoch is not None:
        best = {name: rows[outcome.best_epoch][name] for name in ("epoch", *measures.best)}
    return {
        "status": "ok" if outcome.diverged_at_step is None else "diverged",
        "diverged_at_step": outcome.diverged_at_step,
        "epochs_completed": len(rows),
        "steps_per_epoch": learner.steps,
        "last": last,
        "best": best,
    }


def _divergence(outcome: Outcome) -> str:
    step = outcome.diverged_at_step
    return "" if step is None else f"diverged at step {step}"


def _write(files: RunFiles, outcome: Outcome) -> dict[str, str]:
    """Write everything but the record; return the hash of each file that is reproducible."""
    files.file(runs.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    weights = {runs.checkpoint(epoch): kept for epoch, kept in outcome.checkpoints.items()}
    weights |= {runs.LAST: outcome.last, runs.BEST: outcome.best}
    for name, kept in weights.items():
        save_weights(files.file(name), kept)
    write_text(files.file(runs.EPOCHS), outcome.history.csv())
    write_npz(files.file(runs.BATCHES), outcome.history.arrays())
    seconds = [f"{epoch},{value:.6f}" for epoch, value in enumerate(outcome.seconds)]
    write_text(files.file(runs.TIMING), "\n".join(["epoch,seconds", *seconds]) + "\n")
    return {name: sha256_file(files.file(name)) for name in (*weights, runs.EPOCHS, runs.BATCHES)}
