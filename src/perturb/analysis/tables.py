"""The table of a study on one data set: one row a method, whatever became of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from perturb import names
from perturb.analysis import comparability, comparisons
from perturb.analysis.pooling import PooledSpread, pool
from perturb.analysis.statistics import Comparison, Summary, compare, summarise
from perturb.analysis.warnings import warnings_of
from perturb.errors import PerturbError

SECTIONS = ("Baselines", "Radius", "Scale", "Radius and scale", "Timing")
TEXT_COLUMNS = (
    "section",
    "reference",
    "method",
    "label",
    "trigger_epoch",
    "device",
    "status",
    "scale",
    "data",
    "mixed",
    "remarks",
    "comparison",
    "family",
    "minimum_detectable_difference_sd",
    "verdict",
    "seeds",
    "protocol",
    "versions",
    "data_sha256",
)


@dataclass(frozen=True)
class StudyTable:
    """A data set's table: its plan, and the data frame that is written as CSV."""

    plan: Mapping[str, Any]
    frame: pd.DataFrame

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader must know before believing a number; worst first."""
        return warnings_of(self.frame, self.plan)

    @property
    def difference(self) -> str:
        """The stem of the columns with the paired difference to the reference."""
        return f"difference_to_{self.plan['reference']}"

    @property
    def best(self) -> str:
        """The stem of the best-epoch columns: its name says what the epoch was selected on."""
        return best_column(self.plan["protocol"])


def best_column(protocol: str) -> str:
    """Return the stem of the best-epoch columns of a protocol."""
    split = "validation" if protocol == "holdout" else "test"
    return f"best_epoch_test_accuracy_selected_on_{split}"


def build(plan: Mapping[str, Any], runs: pd.DataFrame) -> StudyTable:
    """Make the table of `plan` (docs/what-the-numbers-mean.md) from `runs` (`runs.collect`).

    Runs that the plan does not ask for are left out. Accuracies and their differences are
    fractions, losses nats. Diverged runs count in `diverged_runs`, not in any mean.
    """
    asked = [(row, runs_of_row(row, runs, plan)) for row in plan["rows"]]
    asked.sort(key=lambda item: _section_rank(item[0]["section"]))
    everything = pd.concat([found for _, found in asked]) if asked else runs.iloc[:0]
    references = {
        name: _of_method(asked, name)
        for name in {reference_of(row, plan) for row, _ in asked} | {plan["reference"]}
    }
    sgd = _of_method(asked, plan["sgd"]) if plan.get("sgd") else runs.iloc[:0]
    mixed = comparability.mixed(everything, references[plan["reference"]])
    pooled = pool({row["method"]: accuracies(found) for row, found in asked})
    compared = [_compare(plan, row, found, references) for row, found in asked]
    rows = [
        _row(plan, row, found, comparison, pooled, sgd, mixed)
        for (row, found), comparison in zip(asked, compared, strict=True)
    ]
    comparisons.correct(rows, compared, f"difference_to_{plan['reference']}")
    _fill_unknown_data(rows, plan)
    frame = pd.DataFrame(rows)
    for name in frame:
        if name in TEXT_COLUMNS:
            frame[name] = frame[name].fillna("").astype(str)
        elif name in ("seeds_finished", "seeds_asked", "diverged_runs"):
            frame[name] = frame[name].astype("int64")
        else:
            frame[name] = frame[name].astype("float64")
    return StudyTable(plan, frame)


def read(path: str | Path, plan: Mapping[str, Any]) -> StudyTable:
    """Read the CSV that `formats.write` wrote; PerturbError where it is another plan's."""
    text = dict.fromkeys(TEXT_COLUMNS, str)
    try:
        frame = pd.read_csv(path, dtype=text, na_values=[""], keep_default_na=False)
    except ValueError as error:
        raise PerturbError(f"{path}: damaged ({error}). Delete it and make it again.") from None
    listed = {row["method"] for row in plan["rows"]}
    if "method" not in frame or set(frame["method"]) != listed:
        raise PerturbError(
            f"{path}: not the table of this configuration's {plan['dataset']}. Make it again."
        )
    for name in TEXT_COLUMNS:
        frame[name] = frame[name].fillna("")
    return StudyTable(plan, frame)


def reference_of(row: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return the method that a row of the plan is compared with: its own, or else the table's."""
    return row.get("reference") or plan["reference"]


def _section_rank(section: str) -> int:
    return SECTIONS.index(section) if section in SECTIONS else len(SECTIONS)


def _canonical(method: str) -> str:
    return names.format(names.parse(method))


def runs_of_row(
    row: Mapping[str, Any], runs: pd.DataFrame, plan: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the runs on disk that a row of the plan asks for."""
    if runs.empty:
        return runs
    wanted = (runs["dataset"] == plan["dataset"]) & runs["seed"].isin(row["seeds"])
    model = names.parse(row["method"]).model or plan["model"]
    same = runs["method"].isin({row["method"], _canonical(row["method"])})
    return runs[wanted & same & (runs["model"] == model)]


def _of_method(asked: list[tuple[Mapping[str, Any], pd.DataFrame]], method: str) -> pd.DataFrame:
    for row, found in asked:
        if row["method"] == method:
            return found
    raise PerturbError(
        f"the plan's method '{method}' (reference or sgd) is not a row of its table. "
        "Add it to the study's methods."
    )


def _finished(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"] == "ok"]


def accuracies(runs: pd.DataFrame) -> dict[int, float]:
    """Return the last-epoch test accuracies of the finished runs by seed."""
    if runs.empty:
        return {}
    done = _finished(runs)
    return dict(zip(done["seed"].map(int), done["last_test_accuracy"].map(float), strict=True))


def _compare(
    plan: Mapping[str, Any],
    row: Mapping[str, Any],
    runs: pd.DataFrame,
    references: Mapping[str, pd.DataFrame],
) -> Comparison | None:
    """Compare a row with its reference; None for the reference itself and rows without runs."""
    reference, ours = reference_of(row, plan), accuracies(runs)
    if row["method"] == reference or not ours:
        return None
    return compare(ours, accuracies(references[reference]), plan["equivalence_margin"] / 100)


def _row(
    plan: Mapping[str, Any],
    row: Mapping[str, Any],
    runs: pd.DataFrame,
    comparison: Comparison | None,
    pooled: PooledSpread | None,
    sgd: pd.DataFrame,
    mixed: Mapping[int, str],
) -> dict[str, Any]:
    done = _finished(runs)
    last = summarise(done["last_test_accuracy"]) if len(done) else Summary(0)
    best = summarise(done["best_test_accuracy"]) if len(done) else Summary(0)
    values = {
        "section": row["section"],
        "method": row["method"],
        "label": row["label"],
        "seeds_finished": len(done),
        "seeds_asked": len(row["seeds"]),
        **comparisons.interval_columns("last_epoch_test_accuracy", last),
        f"{best_column(plan['protocol'])}_mean": best.mean,
        f"{best_column(plan['protocol'])}_sd": best.sd,
    }
    reference = reference_of(row, plan)
    values |= comparisons.columns(
        f"difference_to_{plan['reference']}",
        comparison,
        pooled,
        (row["method"], reference),
        plan["equivalence_margin"] / 100,
    )
    remarks = [row["note"]] if row.get("note") else []
    if comparison and reference != plan["reference"]:
        remarks.append(f"difference to {reference}")
    if comparison and comparison.design == "paired" and comparison.seeds != len(done):
        remarks.append(f"difference over {comparison.seeds} shared seeds")
    if comparison and comparison.remark:
        remarks.append(comparison.remark)
    if last.sd == 0:
        remarks.append("same accuracy at every seed")
    sgd_cost = _finished(sgd)["gradient_evaluations"].mean() if len(sgd) else None
    values["gradient_evaluations_relative_to_sgd"] = (
        done["gradient_evaluations"].mean() / sgd_cost if sgd_cost and len(done) else None
    )
    values["final_train_loss_mean"] = done["last_train_loss"].mean() if len(done) else None
    notes = [mixed[label] for label in runs.index if label in mixed]
    return values | {
        "trigger_epoch": _triggers(row["method"], done),
        "diverged_runs": int((runs["status"] == "diverged").sum()) if len(runs) else 0,
        "notebook_accuracy": row.get("published"),
        "device": _distinct(runs, "device"),
        "status": _status(row, runs),
        "scale": _distinct(runs, "scale"),
        "data": " | ".join(sorted({comparability.data_of(r) for r in runs.to_dict("records")})),
        "mixed": _named_once(notes, len(runs)),
        "remarks": "; ".join(remarks),
        "reference": reference,
        "seeds": " ".join(str(seed) for seed in sorted(done["seed"])) if len(done) else "",
        "protocol": _distinct(runs, "protocol") or plan["protocol"],
        "versions": " | ".join(sorted({comparability.versions(v) for v in runs["versions"]}))
        if len(runs)
        else "",
        "data_sha256": _distinct(runs, "data_sha256"),
    }


def _distinct(runs: pd.DataFrame, column: str) -> str:
    if runs.empty or column not in runs:
        return ""
    return " | ".join(sorted({str(value) for value in runs[column].dropna()}))


def _named_once(notes: list[str], runs: int) -> str:
    """Join what is mixed in a row's runs, each once, with the number of runs it holds for."""
    counts = {note: notes.count(note) for note in notes}
    return " | ".join(f"{n} of {runs} runs: {note}" for note, n in counts.items())


def _status(row: Mapping[str, Any], runs: pd.DataFrame) -> str:
    """Say what became of the runs that a row asks for."""
    asked = len(row["seeds"])
    if not asked:
        return "not asked for"
    if runs.empty:
        return f"not run (0 of {asked})"
    parts = []
    diverged = runs[runs["status"] == "diverged"]
    if len(diverged):
        steps = [f"seed {r.seed} at step {r.diverged_at_step:.0f}" for r in diverged.itertuples()]
        parts.append(f"diverged {len(diverged)} of {asked} ({', '.join(steps)})")
    missing = sorted(set(row["seeds"]) - set(runs["seed"]))
    if missing:
        seeds = "seed" if len(missing) == 1 else "seeds"
        which = ", ".join(map(str, missing))
        parts.append(f"missing {len(missing)} of {asked} ({seeds} {which})")
    return "; ".join(parts) or "finished"


def _triggers(method: str, done: pd.DataFrame) -> str:
    """Write when each seed switched, as the notes do: `20(21)`, after 20, perturbing from 21."""
    if names.parse(method).timing is None or done.empty:
        return ""
    texts = []
    for run in done.sort_values("seed").itertuples():
        if pd.isna(run.perturbing_from):
            texts.append("never")
        elif pd.isna(run.trigger_epoch):
            texts.append(f"({run.perturbing_from:.0f})")
        else:
            texts.append(f"{run.trigger_epoch:.0f}({run.perturbing_from:.0f})")
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _fill_unknown_data(rows: list[dict[str, Any]], plan: Mapping[str, Any]) -> None:
    """Give rows without runs the scale and data of the others, or else what the plan says."""
    planned = {
        "scale": plan["scale"],
        "data": "partial" if plan.get("partial_data") else "whole",
    }
    for key, otherwise in planned.items():
        seen = {row[key] for row in rows if row[key]}
        common = seen.pop() if len(seen) == 1 else otherwise
        for row in rows:
            row[key] = row[key] or common
