"""Collecting what runs left on disk into data frames."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.errors import PerturbError
from perturb.files import read_json, sha256_file

IDENTITY = ("dataset", "model", "method", "seed")
SPLITS = ("train", "validation", "test")
MEASURES = tuple(f"{split}_{what}" for split in SPLITS for what in ("loss", "accuracy"))
EPOCH_COLUMNS = (
    "epoch",
    *MEASURES,
    *(f"{split}_loss_variance" for split in SPLITS),
    "gradient_evaluations",
)
_RERUN = "Delete the run's folder and ask for it again."


def collect(records: Iterable[str | Path]) -> pd.DataFrame:
    """Return one row a run, sorted by data set, model, method and seed.

    Columns: the run's identity; status and how far it came; `last_*` (the six measures of the last
    epoch) and `best_*`; `*_sha256`; device, threads, versions and specification (JSON with sorted
    keys, so that they compare as text); `record`, the file it was read from. Accuracies are
    fractions, losses nats.

    Raises PerturbError naming the file where a record was altered, where its `epochs.csv` is not
    the one that it speaks of, or where two records describe one run.
    """
    rows = [_row(Path(path)) for path in records]
    frame = pd.DataFrame(rows, columns=None if rows else [*IDENTITY, "status", "record"])
    twice = frame[frame.duplicated(list(IDENTITY), keep=False)]
    if len(twice):
        raise PerturbError(
            f"two records describe one run: {', '.join(twice['record'])}. Remove one of them."
        )
    return frame.sort_values(list(IDENTITY), ignore_index=True)


def curves(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row an epoch of every run in `runs`: its identity and all of `epochs.csv`."""
    parts = []
    for run in runs.itertuples():
        epochs = read_epochs(Path(run.record))
        identity = {key: getattr(run, key) for key in IDENTITY}
        parts.append(epochs.assign(**identity, status=run.status))
    columns = [*IDENTITY, "status", *EPOCH_COLUMNS]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def read_record(path: Path) -> dict[str, Any]:
    """Read a `record.json`; PerturbError where it is missing, was altered or lacks a key."""
    record = read_json(path, _RERUN)
    missing = {*IDENTITY, "status", "specification", "sha256", "device", "versions"} - set(record)
    if missing:
        raise PerturbError(f"{path}: the record lacks {', '.join(sorted(missing))}. {_RERUN}")
    if record["status"] == "ok" and not isinstance(record.get("last"), dict):
        raise PerturbError(f"{path}: status ok, but no last epoch. {_RERUN}")
    return record


def read_epochs(record: Path) -> pd.DataFrame:
    """Read the `epochs.csv` beside a record; PerturbError where it is not the one it speaks of."""
    path = record.with_name("epochs.csv")
    check_file(record, path.name, read_record(record))
    text = path.read_text(encoding="utf-8")
    if not text.strip():  # a run that diverged in its first epoch has nothing to say
        return pd.DataFrame(columns=list(EPOCH_COLUMNS), dtype=float)
    return pd.read_csv(io.StringIO(text))


def check_file(path: Path, name: str, record: Mapping[str, Any]) -> None:
    """Refuse the file `name` beside `path`, a record, where it is not the one it speaks of."""
    file, expected = path.parent / name, record["sha256"].get("files", {}).get(name)
    found = sha256_file(file) if file.exists() else None
    if expected is None:
        raise PerturbError(f"{path}: the record has no hash of {name}. {_RERUN}")
    if found is None:
        raise PerturbError(f"{file}: no such file, but {path.name} speaks of it. {_RERUN}")
    if found != expected:
        raise PerturbError(
            f"{file}: damaged or edited, it is not the file that {path.name} speaks of "
            f"(sha256 {expected[:12]}, found {found[:12]}). {_RERUN}"
        )


def _row(path: Path) -> dict[str, Any]:
    record = read_record(path)
    check_file(path, "epochs.csv", record)
    last, best = record.get("last") or {}, record.get("best") or {}
    specification = record["specification"]
    row = {key: record[key] for key in (*IDENTITY, "status")}
    for key in (
        "diverged_at_step",
        "epochs_completed",
        "trigger_epoch",
        "perturbing_from",
        "gradient_evaluations",
        "steps_per_epoch",
        "threads",
    ):
        row[key] = record.get(key)
    row |= {f"last_{name}": last.get(name) for name in MEASURES}
    for key in ("epoch", "validation_accuracy", "test_accuracy"):
        row[f"best_{key}"] = best.get(key)
    row |= {f"{k}_sha256": value for k, value in record["sha256"].items() if k != "files"}
    return row | {
        "device": record["device"],
        "versions": json.dumps(record["versions"], sort_keys=True),
        "specification": json.dumps(specification, sort_keys=True),
        "protocol": specification.get("protocol"),
        "epochs": specification.get("epochs"),
        "images": json.dumps(record.get("images") or {}, sort_keys=True),
        "partial_data": bool(record.get("partial_data", False)),
        "scale": record.get("scale", "full"),
        "record": str(path),
    }
