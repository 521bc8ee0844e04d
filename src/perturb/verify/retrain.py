"""A sample of runs trained again in a temporary folder and compared bit for bit."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.runs import Run, RunFiles, Specification, deciding, read_record
from perturb.study import load
from perturb.train.determinism import describe_device, find_device, versions
from perturb.verify.found import Verification


def retrain_sample(
    found: Verification,
    config: Config,
    records: Mapping[Run, Mapping[str, Any]],
    count: int,
    seed: int,
) -> None:
    """Make a sample of runs again in a temporary folder and compare every file bit for bit."""
    spoilt = {finding.file.parent for finding in found.findings if finding.part == "runs"}
    able: dict[Run, Specification] = {}
    for run, record in records.items():
        if found.results / run.folder in spoilt:
            continue
        today = studies.specification(config, run)
        if today.differences(record):  # a run of another configuration: this one makes another
            continue
        device = find_device(today.device)
        installed = versions(device, getattr(today, "architecture", ""))
        here = {"device": describe_device(device), "versions": installed}
        there = {name: record[name] for name in here}
        begins_from = _inputs(today, found.results).values()
        if any(found.is_left_out(file) for files in begins_from for file in files.values()):
            continue
        if deciding(there) == deciding(here):
            able[run] = today
    chosen = random.Random(seed).sample(sorted(able), min(count, len(able)))
    if len(chosen) < count:
        found.notes.append(
            f"{len(chosen)} of {count} runs retrained: there are no others that are whole, with "
            "their data, of today's code, and of this device and these versions"
        )
    for run in chosen:
        folder = found.results / run.folder
        differing = _differing(able[run], records[run], found.results)
        found.checked["retrained runs"] += 1
        found.notes.append(f"retrained   {folder}: {differing or 'the same bits'}")
        if differing:
            found.find("retrained runs", "differs", folder, differing)


def _differing(today: Specification, record: Mapping[str, Any], results: Path) -> str:
    """Make a run again; return what of it differs from its record, or nothing."""
    inputs = _inputs(today, results)
    given = {
        k: v for kind, files in inputs.items() if kind in record["sha256"] for k, v in files.items()
    }
    with tempfile.TemporaryDirectory() as temporary:
        files = RunFiles(Path(temporary, "run"), **given, state=Path(temporary, "state"))
        try:
            load(studies.get(today.study).job)(today, files)
        except PerturbError as error:
            return str(error)
        again = read_record(files.record)
    now, then = deciding(again), deciding(record)
    keys = sorted(key for key in now.keys() | then if now.get(key) != then.get(key))
    names = again["sha256"]["files"]
    changed = sorted(name for name in names if names[name] != record["sha256"]["files"].get(name))
    return f"other {', '.join(changed + keys)} than recorded" if keys else ""


def _inputs(today: Specification, results: Path) -> dict[str, dict[str, Path]]:
    """Return the files that a run is made from, by what a record calls them."""
    data, dataset = results / "data", today.run.dataset
    return {
        "data": {
            "images": data / f"{dataset}.npz",
            "manifest": data / f"{dataset}.manifest.json",
        },
        "initial_weights": {"initial": results / studies.initial_file(today)},
    }
