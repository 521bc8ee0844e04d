"""A sample of runs trained again in a temporary folder and compared bit for bit."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perturb.analysis.runs import read_record
from perturb.config import Config, RunSpecification
from perturb.errors import PerturbError
from perturb.train.determinism import describe_device, find_device, versions
from perturb.train.run import RunFiles, run
from perturb.verify.found import Verification


def retrain_sample(
    found: Verification,
    config: Config,
    records: Mapping[str, Mapping[str, Any]],
    count: int,
    seed: int,
) -> None:
    """Train a sample of runs again in a temporary folder and compare every file bit for bit."""
    spoilt = {finding.file.parent for finding in found.findings if finding.part == "runs"}
    runs = found.results / "runs"
    able: dict[str, RunSpecification] = {}
    for name, record in records.items():
        if runs / name in spoilt:
            continue
        today = config.run(*(record[key] for key in ("dataset", "model", "method", "seed")))
        device = find_device(today.device)
        if (record["device"], record["versions"]) == (describe_device(device), versions(device)):
            able[name] = today
    chosen = random.Random(seed).sample(sorted(able), min(count, len(able)))
    if len(chosen) < count:
        found.notes.append(
            f"{len(chosen)} of {count} runs retrained: there are no others that are whole, of "
            "today's code, and of this device and these versions"
        )
    for name in chosen:
        differing = _differing(able[name], records[name], found.results)
        found.checked["retrained runs"] += 1
        found.notes.append(f"retrained   {runs / name}: {differing or 'the same bits'}")
        if differing:
            found.find("retrained runs", "differs", runs / name, differing)


def _differing(today: RunSpecification, record: Mapping[str, Any], results: Path) -> str:
    """Train a run again; return what of it differs from its record, or nothing."""
    data, model, seed = today.dataset, today.model, today.seed
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = RunFiles(
            images=results / "data" / f"{data}.npz",
            manifest=results / "data" / f"{data}.manifest.json",
            initial=results / "init" / data / model / f"seed{seed}.safetensors",
            record=folder / "record.json",
            epochs=folder / "epochs.csv",
            batches=folder / "batches.npz",
            last=folder / "last.safetensors",
            best=folder / "best.safetensors",
            timing=folder / "timing.csv",
            checkpoints=folder / "checkpoints",
        )
        try:
            run(today, files)
        except PerturbError as error:
            return str(error)
        again = read_record(files.record)
    keys = sorted(key for key in again.keys() | record if again.get(key) != record.get(key))
    names = again["sha256"]["files"]
    changed = sorted(name for name in names if names[name] != record["sha256"]["files"].get(name))
    return f"other {', '.join(changed + keys)} than recorded" if keys else ""
