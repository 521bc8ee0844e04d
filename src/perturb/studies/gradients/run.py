"""A toy, from its specification to its folder of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from perturb import code, runs, studies
from perturb.files import sha256_file, write_text
from perturb.gradients.kept import Kept
from perturb.jobs.progress import Progress, ends_said
from perturb.jobs.store import Store, put_back
from perturb.runs import TIMING, RunFiles, deciding
from perturb.studies.gradients import toy
from perturb.train.determinism import describe_device, find_device, versions

if TYPE_CHECKING:
    from perturb.studies.gradients.settings import ToySpecification


def run(
    specification: ToySpecification,
    files: RunFiles,
    *,
    save_seconds: float = 60.0,
    keep_state: bool = False,
    store: Store | None = None,
) -> None:
    """Run a toy and write its folder: record, curves, windows, batches, pooled, timing.

    Where `store` has what it comes to it is put back, else it is kept there.
    Every estimate that takes long is kept until the toy has ended, whatever `save_seconds` is: one
    that was killed goes on after it to the same bits. With `keep_state` they are kept when it has
    ended, too.

    Raises PerturbError where the device is not there, and after a signal.
    """
    modules = studies.code_of(specification)
    record = what(specification) | where(find_device(specification.device), specification.threads)
    made_from = runs.made_from(record | {"code": modules}, type(specification).NEUTRAL)
    kept = Kept(files.state_folder, deciding(record) | {"code": modules})
    progress = Progress(files.progress, toy.count(specification))

    def next_start() -> str:
        return f"goes on after {kept.count} estimates" if kept.count else "begins anew"

    with ends_said(progress, next_start):
        if put_back(store, made_from, files.folder, progress):
            return
        progress.start(0)
        outcome = toy.run(specification, kept, progress)
        for name, frame in outcome.frames.items():
            write_text(files.file(f"{name}.csv"), csv(frame))
        write_text(files.file(TIMING), csv(outcome.timing))
        hashes = {f"{name}.csv": sha256_file(files.file(f"{name}.csv")) for name in outcome.frames}
        step = outcome.diverged_at
        record |= {
            "status": "ok" if step is None else "diverged",
            "diverged_at_step": step,
            "epochs_completed": 1,
            "last": outcome.last if step is None else None,
            "sha256": {"code": code.digest(modules), "files": hashes},
            "code": modules,
        }
        runs.write_record(files.record, record)
        if store:
            store.keep(made_from, files.folder, runs.names_of(record))
        kept.finish(keep_state)
        progress.end(record["status"], "" if step is None else f"diverged at step {step}")


def csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV, floats to their last digit.

    As `analysis.printers` does: a change of how tables are told must not rerun what they are of.
    """
    return frame.to_csv(index=False, lineterminator="\n")


def what(specification: ToySpecification) -> dict[str, Any]:
    """Return what a record says of the run: its name and its settings."""
    named = ("study", "dataset", "model", "method", "seed", "scale")
    found = {name: getattr(specification, name) for name in named}
    return found | {"specification": specification.settings()}


def where(device: torch.device, threads: int) -> dict[str, Any]:
    """Return what a record says of the machine."""
    return {
        "device": describe_device(device),
        "threads": threads,
        "versions": versions(device),
        "reproducible": "bit-identical on this kind of device with these versions and threads; "
        "elsewhere equal within rounding",
    }
