"""Where every cell of a table comes from: a line for each of a row's runs (docs/provenance.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.analysis import comparability
from perturb.analysis.plan import Plan
from perturb.analysis.statistics import compared_seeds
from perturb.analysis.tables import measured, runs_of_row

HASHES = ("data", "split", "initial_weights", "final_weights", "code")
COLUMNS = (
    "method",
    "run",
    "seed",
    "columns",
    "status",
    *(f"{name}_sha256" for name in HASHES),
    "device",
    "threads",
    "versions",
)
# Which columns of a table, as shell patterns, a run of the row itself is in ...
EVERY = (
    "status diverged_runs device versions protocol data data_sha256 settings test_images "
    "code_sha256 scale mixed remarks leakage"
)
FINISHED = "seeds* *_epoch_* final_*_mean trigger_epoch verdict by_seed"
FINISHED += " predictions_that_differ"
# ... and a finished one that is compared with others.
DIFFERENCE = "difference_to_* p_value* comparison minimum_detectable_* remarks"
# ... and what every finished run of the table is in, on lines of no single row.
WHOLE = "pooled_* equal_spread_p_value family minimum_detectable_*"
EVERY_ROW = "*"
COST = "gradient_evaluations_relative_to_sgd"


def of_table(plan: Plan, runs: pd.DataFrame, results: str | Path) -> pd.DataFrame:
    """Return the provenance of the table that `tables.build` makes of the same plan and runs.

    A line a row of the table and run, then one a run for what is made from all of them; runs are
    named relative to `results`.
    """
    rows = {row.method: (row, runs_of_row(row, runs, plan)) for row in plan.rows}
    lines: list[dict[str, Any]] = []
    for method, (row, own) in rows.items():
        reference, sgd = (
            rows[name][1] if name else runs.iloc[:0] for name in (plan.reference_of(row), plan.sgd)
        )
        finished, pairs = _finished(own), _finished(reference)
        if reference is own:
            finished_pairs = reference_pairs = own.iloc[:0]
        else:
            seeds = compared_seeds(*(measured(part, plan.measure) for part in (own, reference)))
            finished_pairs, reference_pairs = (
                part if seeds is None else part[part["seed"].isin(seeds)]
                for part in (finished, pairs)
            )
        found: dict[int, list[str]] = {}
        for part, columns in (
            (own, EVERY),
            (finished, FINISHED),
            (finished_pairs, DIFFERENCE),
            (reference_pairs, DIFFERENCE),
            (_finished(sgd) if len(finished) else sgd.iloc[:0], COST),
            (finished if len(_finished(sgd)) else finished.iloc[:0], COST),
            (reference if len(own) else own, "mixed"),
        ):
            for label in part.index:
                known = found.setdefault(label, [])
                known += [pattern for pattern in columns.split() if pattern not in known]
        for label, columns in found.items():
            run = runs.loc[label]
            lines.append({"method": method, "columns": " ".join(columns)} | describe(run, results))
    for _, own in rows.values():
        for run in _finished(own).to_dict("records"):
            lines.append({"method": EVERY_ROW, "columns": WHOLE} | describe(run, results))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def describe(run: Mapping[str, Any], results: str | Path) -> dict[str, Any]:
    """Return what a line says of a run of `runs.collect`: where it is, and what it is made of."""
    return {
        "run": relative(Path(run["record"]).parent, results),
        "seed": int(run["seed"]),
        "status": run["status"],
        **{f"{name}_sha256": run.get(f"{name}_sha256") for name in HASHES},
        "device": run["device"],
        "threads": run["threads"],
        "versions": comparability.versions(run["versions"]),
    }


def relative(path: str | Path, results: str | Path) -> str:
    """Return `path` as seen from the results folder, with forward slashes."""
    return Path(os.path.relpath(path, results)).as_posix()


def runs_of(provenance: pd.DataFrame, column: str, **row: object) -> pd.DataFrame:
    """Return the lines that a cell comes from: its column, and its row as `method="sgd_30"`."""
    chosen = provenance
    for name, value in row.items():
        chosen = chosen[chosen[name].isin([value, EVERY_ROW])]
    matching = [
        any(fnmatchcase(column, pattern) for pattern in columns.split())
        for columns in chosen["columns"]
    ]
    return chosen[matching]


def _finished(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"] == "ok"] if len(runs) else runs
