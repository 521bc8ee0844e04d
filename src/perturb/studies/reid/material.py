"""What the tables and figures of a chapter are made from: its runs, their records and epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perturb.analysis import runs as collecting
from perturb.analysis.plan import Plan
from perturb.analysis.tables import runs_of_row
from perturb.data import variants
from perturb.files import read_npz
from perturb.runs import check_file, read_record
from perturb.studies.reid import methods


@dataclass(frozen=True)
class Material:
    """The runs of a chapter.

    `runs` has one row per run of `perturb.analysis.runs.collect`, with `method` as the chapter
    spells it and what its record tells of the study; `curves` one row per epoch of each.
    """

    plans: tuple[Plan, ...]
    runs: pd.DataFrame
    curves: pd.DataFrame

    @property
    def datasets(self) -> list[str]:
        """The data sets, in the chapter's order."""
        return [plan.dataset for plan in self.plans]

    @property
    def methods(self) -> list[str]:
        """The methods, in the chapter's order."""
        return [row.method for row in self.plans[0].rows]

    def of(self, dataset: str, method: str) -> pd.DataFrame:
        """Return the runs of a method on a data set."""
        return self.runs[(self.runs["dataset"] == dataset) & (self.runs["method"] == method)]

    def mean(self, dataset: str, method: str, column: str) -> pd.Series:
        """Return the mean over seeds of a column by epoch; empty where no run has it."""
        if column not in self.curves:
            return pd.Series(dtype=float)
        frame = self.curves
        chosen = frame[(frame["dataset"] == dataset) & (frame["method"] == method)]
        return pd.to_numeric(chosen[column]).groupby(chosen["epoch"]).mean().dropna()


def gather(plans: Sequence[Mapping[str, Any]], records: Iterable[str | Path]) -> Material:
    """Collect the runs of `records` that the plans ask for."""
    read = tuple(Plan.of(plan) for plan in plans)
    found = collecting.collect(records)
    curves = collecting.curves(found)
    names = {
        (plan.dataset, spelling): row.method
        for plan in read
        for row in plan.rows
        for spelling in row.spellings
    }
    parts = [
        runs_of_row(row, found, plan).assign(method=row.method)
        for plan in read
        for row in plan.rows
    ]
    runs = pd.concat(parts, ignore_index=True) if parts else found
    if len(runs):
        told = [_told(Path(record), curves) for record in runs["record"]]
        runs = pd.concat([runs, pd.DataFrame(told, index=runs.index)], axis=1)
    if len(curves):
        keys = zip(curves["dataset"], curves["method"], strict=True)
        curves = curves.assign(method=[names.get(key, key[1]) for key in keys])
    return Material(read, runs, curves)


def _told(record: Path, curves: pd.DataFrame) -> dict[str, Any]:
    """Return what the record of a run tells of this study, and its mAP when its stage changed."""
    found = read_record(record)
    own = curves
    for key in ("dataset", "model", "method", "seed"):
        own = own[own[key] == found[key]]
    first = found["first_epochs"]
    changed = own.loc[own["epoch"] == first - 1, "test_mAP"] if "test_mAP" in own else own["epoch"]
    method = methods.method(found["method"])
    return {
        "first_epochs": first,
        "first_stage_mAP": float(changed.iloc[0]) if first and len(changed) else np.nan,
        "empty_batches": sum(found["empty_batches"]),
        "wrong_labels": found["wrong_labels"],
        "selects": method.selects,
        **{key: method.values.get(key) for key in ("lr0", "lr1", "warmup", "clip")},
    }


def traces(record: Path) -> dict[str, np.ndarray]:
    """Return the series of a run by step and by image; PerturbError where the file was altered."""
    path = record.with_name("batches.npz")
    check_file(record, path.name, read_record(record))
    return read_npz(path)


def noise_rate(dataset: str) -> float:
    """Return the share of wrong labels that a data set's name asks for."""
    noise = variants.parse(dataset).noise
    return noise.rate if noise else 0.0
