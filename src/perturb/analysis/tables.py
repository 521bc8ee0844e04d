"""The table of methods on one data set: one row per method, whatever became of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perturb.analysis import amounts, comparability, comparisons, sealed, training
from perturb.analysis.images import TestImages, differences, interval, matrix
from perturb.analysis.plan import Plan, Row
from perturb.analysis.pooling import PooledSpread, pool
from perturb.analysis.statistics import FEW_SEEDS, Comparison, Summary, compare, summarise
from perturb.analysis.warnings import warnings_of
from perturb.errors import PerturbError
from perturb.study import Measure

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
    "settings",
    "test_images",
    "code_sha256",
    "leakage",
    "by_seed",
)


@dataclass(frozen=True)
class ComparisonTable:
    """Methods compared on a data set: the plan, and the data frame that is written as CSV."""

    plan: Plan
    frame: pd.DataFrame

    @cached_property
    def warnings(self) -> list[str]:
        """What a reader must know before believing a number; worst first."""
        return warnings_of(self.frame, self.plan)


def build(
    plan: Plan,
    runs: pd.DataFrame,
    images: TestImages | None = None,
    leakage: Sequence[str] = (),
) -> ComparisonTable:
    """Make the table of `plan` (docs/what-the-numbers-mean.md) from `runs` (`runs.collect`).

    `images` are the runs' predictions, `leakage` what must be known of the data set (a file
    `data/*.duplicates.json`).

    Runs that the plan does not ask for are left out. The measure and its differences are in the
    unit of the records (accuracies are fractions), losses nats. Diverged runs count in
    `diverged_runs`, not in any mean.
    """
    asked = [(row, runs_of_row(row, runs, plan)) for row in plan.listed()]
    everything = pd.concat([found for _, found in asked]) if asked else runs.iloc[:0]
    references = {
        name: _of_method(asked, name)
        for name in {plan.reference_of(row) for row, _ in asked} | {plan.reference}
    }
    sgd = _of_method(asked, plan.sgd) if plan.sgd else runs.iloc[:0]
    mixed = {name: comparability.mixed(everything, found) for name, found in references.items()}
    values = {row.method: measured(found, plan.measure) for row, found in asked}
    pooled = pool(values, _step(everything, values))
    compared = [_compare(plan, row, found, references) for row, found in asked]
    rows = [
        _row(plan, row, found, comparison, pooled, sgd, mixed[plan.reference_of(row)])
        | _of_images(plan, row, found, references, images)
        | {"leakage": " | ".join(leakage)}
        for (row, found), comparison in zip(asked, compared, strict=True)
    ]
    comparisons.correct(rows, compared, plan.difference, plan.measure)
    _fill_unknown_data(rows, plan)
    frame = pd.DataFrame(rows)
    for name in frame:
        if name in TEXT_COLUMNS:
            frame[name] = frame[name].fillna("").astype(str)
        elif name in ("seeds_finished", "seeds_asked", "diverged_runs"):
            frame[name] = frame[name].astype("int64")
        else:
            frame[name] = frame[name].astype("float64")
    return ComparisonTable(plan, frame)


def read(path: str | Path, plan: Plan) -> ComparisonTable:
    """Read the CSV of a table of `build`; PerturbError where it is another plan's."""
    text = dict.fromkeys(TEXT_COLUMNS, str)
    try:
        frame = pd.read_csv(
            sealed.check(Path(path)), dtype=text, na_values=[""], keep_default_na=False
        )
    except ValueError as error:
        raise PerturbError(f"{path}: damaged ({error}). Delete it and make it again.") from None
    return of_frame(frame, plan, path)


def of_frame(frame: pd.DataFrame, plan: Plan, path: str | Path = "table") -> ComparisonTable:
    """Return the table that a frame read from its CSV holds; PerturbError for another plan's."""
    if "method" not in frame or set(frame["method"]) != {row.method for row in plan.rows}:
        raise PerturbError(
            f"{path}: not the table of this configuration's {plan.chapter}. Make it again."
        )
    texts = {
        name: frame[name].astype(object).fillna("").astype(str)
        for name in TEXT_COLUMNS
        if name in frame
    }
    return ComparisonTable(plan, frame.assign(**texts))


def runs_of_row(row: Row, runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the runs on disk that a row of the plan asks for."""
    if runs.empty:
        return runs
    wanted = (runs["dataset"] == plan.dataset) & runs["seed"].isin(row.seeds)
    same = runs["method"].isin({row.method, *row.spellings})
    return runs[wanted & same & (runs["model"] == (row.model or plan.model))]


def _of_method(asked: list[tuple[Row, pd.DataFrame]], method: str) -> pd.DataFrame:
    for row, found in asked:
        if row.method == method:
            return found
    raise PerturbError(
        f"the plan's method '{method}' (reference or sgd) is not a row of its table. "
        "Add it to the study's methods."
    )


def _finished(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"] == "ok"]


def _values(done: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of finished runs; PerturbError where one of them does not have it."""
    if done.empty:
        return pd.Series(dtype="float64")
    if column not in done or done[column].isna().any():
        lacking = done if column not in done else done[done[column].isna()]
        raise PerturbError(
            f"{lacking['record'].iloc[0]}: the record has no {column.replace('_', ' ', 1)}. "
            "Delete the run's folder and ask for it again."
        )
    return done[column].astype("float64")


def measured(runs: pd.DataFrame, measure: Measure) -> dict[int, float]:
    """Return the measure after the last epoch of the finished runs, by seed."""
    if runs.empty:
        return {}
    done = _finished(runs)
    values = _values(done, f"last_{measure.name}")
    return dict(zip(done["seed"].map(int), values.map(float), strict=True))


def _step(runs: pd.DataFrame, values: Mapping[str, Mapping[int, float]]) -> float:
    """Return what every value is a multiple of: one test image's share; 0 where they are not."""
    images = {json.loads(text).get("test") for text in runs["images"]} if len(runs) else set()
    number = images.pop() if len(images) == 1 else None
    if not number:
        return 0.0
    counts = np.array([v * number for of_method in values.values() for v in of_method.values()])
    return 1 / number if np.abs(counts - np.rint(counts)).max(initial=0) < 1e-6 else 0.0


def _compare(
    plan: Plan, row: Row, runs: pd.DataFrame, references: Mapping[str, pd.DataFrame]
) -> Comparison | None:
    """Compare a row with its reference; None for the reference itself and rows without runs."""
    reference, ours = plan.reference_of(row), measured(runs, plan.measure)
    if row.method == reference or not ours:
        return None
    return compare(ours, measured(references[reference], plan.measure), plan.margin)


def _row(
    plan: Plan,
    row: Row,
    runs: pd.DataFrame,
    comparison: Comparison | None,
    pooled: PooledSpread | None,
    sgd: pd.DataFrame,
    mixed: Mapping[int, str],
) -> dict[str, Any]:
    done = _finished(runs)
    last = summarise(_values(done, f"last_{plan.measure.name}"))
    by_seed = dict(sorted(measured(runs, plan.measure).items()))
    values = {
        "section": row.section,
        "method": row.method,
        "label": row.label,
        "seeds_finished": len(done),
        "seeds_asked": len(row.seeds),
        **comparisons.interval_columns(plan.last, last),
    }
    if plan.protocol:
        best = summarise(_values(done, f"best_{plan.measure.name}"))
        values |= {f"{plan.best}_mean": best.mean, f"{plan.best}_sd": best.sd}
    between = (row.method, plan.reference_of(row))
    values |= comparisons.columns(plan.difference, comparison, pooled, between, plan.margin)
    if plan.sgd:
        cost = _finished(sgd)["gradient_evaluations"].mean() if len(sgd) else None
        values["gradient_evaluations_relative_to_sgd"] = (
            done["gradient_evaluations"].mean() / cost if cost and len(done) else None
        )
    for name in plan.also:
        found = _values(done, f"last_{name}")
        values[f"final_{name}_mean"] = found.mean() if len(found) else None
    if any(other.timed for other in plan.rows):
        values["trigger_epoch"] = _triggers(done) if row.timed else ""
    values["diverged_runs"] = int((runs["status"] == "diverged").sum()) if len(runs) else 0
    if plan.published_column:
        values[plan.published_column] = row.published
    notes = [mixed[label] for label in runs.index if label in mixed]
    return values | {
        "device": _distinct(runs, "device"),
        "status": _status(row, runs),
        "scale": _distinct(runs, "scale"),
        "data": " | ".join(sorted({amounts.data_of(r) for r in runs.to_dict("records")})),
        "mixed": _named_once(notes, len(runs)),
        "remarks": "; ".join(_remarks(plan, row, comparison, last, runs)),
        "reference": plan.reference_of(row),
        "by_seed": " ".join(f"{value!r}" for value in by_seed.values()),
        "seeds": " ".join(str(seed) for seed in sorted(done["seed"])) if len(done) else "",
        "protocol": _distinct(runs, "protocol") or plan.protocol,
        "versions": " | ".join(sorted({comparability.versions(v) for v in runs["versions"]}))
        if len(runs)
        else "",
        "data_sha256": _distinct(runs, "data_sha256"),
        "settings": training.of_runs(runs),
        "test_images": _test_images(runs),
        "code_sha256": _distinct(runs, "code_sha256"),
    }


def _of_images(
    plan: Plan,
    row: Row,
    runs: pd.DataFrame,
    references: Mapping[str, pd.DataFrame],
    images: TestImages | None,
) -> dict[str, Any]:
    """Return the columns that need the runs' predictions; without those there are none."""
    if images is None:
        return {}
    reference = plan.reference_of(row)
    ours, theirs = (
        images.correct(_finished(found).to_dict("records")) if len(found) else {}
        for found in (runs, references[reference])
    )
    values: dict[str, Any] = {
        f"{plan.last}_without_duplicates_mean": images.without_copies(ours),
        "predictions_that_differ": sum(one.differs for one in ours.values()),
    }
    off = differences(ours, theirs) if row.method != reference else np.zeros((0, 0))
    for stem, found in ((plan.last, matrix(ours)), (plan.difference, off)):
        # Of two seeds the spread is a guess, and the interval narrower than that over seeds.
        ends = (interval(found) if len(found) >= FEW_SEEDS else None) or (None, None)
        for end, value in zip(("low", "high"), ends, strict=True):
            values[f"{stem}_seeds_and_images_ci95_{end}"] = value
    return values


def _remarks(
    plan: Plan, row: Row, comparison: Comparison | None, last: Summary, runs: pd.DataFrame
) -> list[str]:
    remarks = [row.note] if row.note else []
    finished = len(_finished(runs))
    if differing := comparability.code_differences(runs):
        remarks.append(f"its runs were made by different code: {differing}")
    if comparison and plan.reference_of(row) != plan.reference:
        remarks.append(f"difference to {plan.reference_of(row)}")
    if comparison and comparison.design == "paired" and 0 < comparison.seeds != finished:
        remarks.append(f"difference over {comparison.seeds} shared seeds")
    if comparison and comparison.remark:
        remarks.append(comparison.remark)
    if last.sd == 0:
        remarks.append(f"same {plan.measure.short} at every seed")
    return remarks


def _distinct(runs: pd.DataFrame, column: str) -> str:
    if runs.empty or column not in runs:
        return ""
    return " | ".join(sorted({str(value) for value in runs[column].dropna()}))


def _test_images(runs: pd.DataFrame) -> str:
    """Return how many images the runs were tested on."""
    texts = runs["images"].dropna() if len(runs) else []
    return " | ".join(sorted({str(json.loads(text).get("test", "")) for text in texts}))


def _named_once(notes: list[str], runs: int) -> str:
    """Join what is mixed in a row's runs, each once, with the number of runs it holds for."""
    counts = {note: notes.count(note) for note in notes}
    return " | ".join(f"{n} of {runs} runs: {note}" for note, n in counts.items())


def _status(row: Row, runs: pd.DataFrame) -> str:
    """Say what became of the runs that a row asks for."""
    asked = len(row.seeds)
    if not asked:
        return "not asked for"
    if runs.empty:
        return f"not run (0 of {asked})"
    parts = []
    diverged = runs[runs["status"] == "diverged"]
    if len(diverged):
        steps = [f"seed {r.seed} at step {r.diverged_at_step:.0f}" for r in diverged.itertuples()]
        parts.append(f"diverged {len(diverged)} of {asked} ({', '.join(steps)})")
    missing = sorted(set(row.seeds) - set(runs["seed"]))
    if missing:
        seeds = "seed" if len(missing) == 1 else "seeds"
        which = ", ".join(map(str, missing))
        parts.append(f"missing {len(missing)} of {asked} ({seeds} {which})")
    return "; ".join(parts) or "finished"


def _triggers(done: pd.DataFrame) -> str:
    """Write when each seed switched, as the notes do: `20(21)`, after 20, perturbing from 21."""
    if done.empty:
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


def _fill_unknown_data(rows: list[dict[str, Any]], plan: Plan) -> None:
    """Give rows without runs the scale and data of the others, or else what the plan says."""
    planned = {
        "scale": plan.scale,
        "data": "partial" if plan.partial_data else "whole",
    }
    for key, otherwise in planned.items():
        seen = {row[key] for row in rows if row[key]}
        common = seen.pop() if len(seen) == 1 else otherwise
        for row in rows:
            row[key] = row[key] or common
