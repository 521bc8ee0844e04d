"""Collecting what runs left on disk into data frames."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.errors import PerturbError
from perturb.runs import IDENTITY, check_file, read_record

# What every run's epochs.csv has; its other columns are series of the data and of the study.
EPOCH_COLUMNS = ("epoch", "gradient_evaluations")
_FACTS = (
    "diverged_at_step",
    "epochs_completed",
    "trigger_epoch",
    "perturbing_from",
    "gradient_evaluations",
    "steps_per_epoch",
    "threads",
)


def collect(records: Iterable[str | Path]) -> pd.DataFrame:
    """Return one row per run, sorted by data set, model, method and seed.

    Columns: the run's identity; status and how far it came; `last_*` (every series of the last
    epoch) and `best_*`, whatever they are called; `*_sha256`; device, threads; versions, code and
    specification (JSON with sorted keys, so that they compare as text); `record`, the file it was
    read from. Accuracies are fractions, losses nats.

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
    """Return one row per epoch of every run in `runs`: its identity and all of `epochs.csv`."""
    parts = []
    for run in runs.itertuples():
        epochs = read_epochs(Path(run.record))
        identity = {key: getattr(run, key) for key in IDENTITY}
        parts.append(epochs.assign(**identity, status=run.status))
    columns = [*IDENTITY, "status", *EPOCH_COLUMNS]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def read_epochs(record: Path) -> pd.DataFrame:
    """Read the `epochs.csv` beside a record; PerturbError where it is not the one it speaks of."""
    path = record.with_name("epochs.csv")
    check_file(record, path.name, read_record(record))
    text = path.read_text(encoding="utf-8")
    if not text.strip():  # a run that diverged in its first epoch has nothing to say
        return pd.DataFrame(columns=list(EPOCH_COLUMNS), dtype=float)
    return pd.read_csv(io.StringIO(text))


def _row(path: Path) -> dict[str, Any]:
    record = read_record(path)
    check_file(path, "epochs.csv", record)
    last, best = record.get("last") or {}, record.get("best") or {}
    specification = record["specification"]
    row = {key: record[key] for key in (*IDENTITY, "status")}
    row |= {key: record.get(key) for key in _FACTS}
    row |= {f"last_{name}": value for name, value in last.items()}
    row |= {f"best_{name}": value for name, value in best.items()}
    row |= {f"{k}_sha256": value for k, value in record["sha256"].items() if k != "files"}
    return row | {
        "device": record["device"],
        "versions": json.dumps(record["versions"], sort_keys=True),
        "code": json.dumps(record.get("code") or {}, sort_keys=True),
        "specification": json.dumps(specification, sort_keys=True),
        "protocol": specification.get("protocol"),
        "epochs": specification.get("epochs"),
        "images": json.dumps(record.get("images") or {}, sort_keys=True),
        "partial_data": bool(record.get("partial_data", False)),
        "scale": record.get("scale", "full"),
        "record": str(path),
    }
