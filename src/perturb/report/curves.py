"""Every epoch of the runs behind a chapter's table: what the report draws when it is asked to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.analysis.runs import EPOCH_COLUMNS, read_epochs
from perturb.runs import RECORD, Run
from perturb.study import Chapter, Measure

MOST_NUMBERS = 250_000  # of a chapter: about 1.5 MB; beyond it epochs are left out
_CHOSEN = 6  # methods that are drawn at first
_LEFT_OUT = ("_min", "_max", "_variance", "perturbing")  # ends of names: the figures draw these
_LOSS = Measure(name="", unit="nats", factor=1.0, larger_is_better=False)
_PLAIN = Measure(name="", unit="", factor=1.0)


def of_chapter(chapter: Chapter, results: Path) -> dict[str, Any]:
    """Return the curves of the runs that one of the chapter's tables is traced to, as plain values.

    It is the main table, and the series that is drawn first the chapter's measure, unless
    `settings["curves"]` gives another `table` and `measure`. Where a method has runs on several
    data sets, or of several models, they are kept apart: `sets` names them, and a run's `set` is
    its place in that list.
    {} where the table is traced to no run that has epochs. Raises PerturbError for a damaged run.
    """
    runs = _runs(chapter, results)
    if runs.empty:
        return {}
    sets_of = _sets(runs)
    sets = tuple(dict.fromkeys(sets_of.values()))
    read: dict[str, pd.DataFrame] = {}
    for run in dict.fromkeys(runs["run"]):
        record = results / run / RECORD
        read[run] = read_epochs(record) if record.exists() else pd.DataFrame()
    measure = _first(chapter)
    series = _series(measure, read)
    every = _every(series, read)
    methods = [
        {
            "name": method,
            "runs": [
                {"set": sets.index(sets_of[line["run"]])}
                | _run(line, read[line["run"]], series, every)
                for line in own.to_dict("records")
                if len(read[line["run"]])
            ],
        }
        for method, own in runs.groupby("method", sort=False)
    ]
    methods = [method for method in methods if method["runs"]]
    if not series or not methods:
        return {}
    reference = chapter.settings.get("plan", {}).get("reference", "")
    return {
        "reference": reference,
        "every": every,
        "series": [{"name": one.name, "words": one.words, "unit": one.unit} for one in series],
        "sets": sets,
        "methods": methods,
        "chosen": _chosen(methods, measure, reference),
    }


def as_json(values: Mapping[str, Any]) -> str:
    """Return values as JSON that may stand inside a page's script element."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _runs(chapter: Chapter, results: Path) -> pd.DataFrame:
    """Return the method, seed, folder and status of each row's own runs."""
    columns = ["method", "seed", "run", "status"]
    nothing = pd.DataFrame(columns=columns)
    wanted = chapter.settings.get("curves", {}).get("table", "")
    stems = [chapter.stem(part) for part in chapter.tables if wanted in ("", part.name)]
    if not stems:
        return nothing
    path = results / "tables" / f"{stems[0]}.provenance.csv"
    if not path.exists() or not path.read_text(encoding="utf-8").strip():
        return nothing
    traced = pd.read_csv(path, keep_default_na=False)
    if traced.empty or not {*columns, "columns"} <= set(traced.columns):
        return nothing
    own = traced["columns"].map(lambda text: bool({"status", "*"} & set(text.split())))
    return traced.loc[own & (traced["method"] != "*"), columns].drop_duplicates()


def _sets(runs: pd.DataFrame) -> dict[str, str]:
    """Return what the data of each run are called, with the model where one method has several.

    All are one set where no method has runs on several: methods may have models of their own.
    """
    found = {folder: Run.of_folder(folder) for folder in runs["run"]}
    parts = pd.DataFrame(
        {
            "method": runs["method"].to_list(),
            "dataset": [found[folder].dataset for folder in runs["run"]],
            "model": [found[folder].model for folder in runs["run"]],
        }
    )
    several = [
        name for name in ("dataset", "model") if (parts.groupby("method")[name].nunique() > 1).any()
    ]
    return {
        folder: ", ".join(getattr(run, name) for name in several) for folder, run in found.items()
    }


def _first(chapter: Chapter) -> Measure:
    """Return the series that is drawn first."""
    name = chapter.settings.get("curves", {}).get("measure", chapter.measure.name)
    return chapter.measure if name == chapter.measure.name else _measure_of(name)


def _series(measure: Measure, read: Mapping[str, pd.DataFrame]) -> list[Measure]:
    """Return what can be drawn: the measure first, then every other series of numbers."""
    names = dict.fromkeys(name for epochs in read.values() for name in epochs.columns)
    names = [name for name in names if name not in EPOCH_COLUMNS and not name.endswith(_LEFT_OUT)]
    names.sort(
        key=lambda name: (
            name != measure.name,
            not name.endswith(("loss", "accuracy")),
            not name.startswith("test_"),
        )
    )
    columns: dict[str, list[pd.Series]] = {}
    for name in names:
        own = [epochs[name] for epochs in read.values() if name in epochs]
        numbers = all(pd.api.types.is_numeric_dtype(values) for values in own)
        # Where the test split plays validation, one of the two is enough.
        twice = any(_alike(own, others) for others in columns.values())
        if numbers and any(values.notna().any() for values in own) and not twice:
            columns[name] = own
    return [measure if name == measure.name else _measure_of(name) for name in columns]


def _alike(some: list[pd.Series], others: list[pd.Series]) -> bool:
    return len(some) == len(others) and all(
        one.equals(other.rename(one.name)) for one, other in zip(some, others, strict=True)
    )


def _measure_of(name: str) -> Measure:
    kind = Measure() if name.endswith("accuracy") else _LOSS if name.endswith("loss") else _PLAIN
    return Measure(
        name=name,
        words=name.replace("_", " "),
        unit=kind.unit,
        factor=kind.factor,
        larger_is_better=kind.larger_is_better,
    )


def _every(series: list[Measure], read: Mapping[str, pd.DataFrame]) -> int:
    """Return of how many epochs one is kept."""
    numbers = (len(series) + 1) * sum(map(len, read.values()))
    return max(1, math.ceil(numbers / MOST_NUMBERS))


def _run(
    line: Mapping[str, Any], epochs: pd.DataFrame, series: list[Measure], every: int
) -> dict[str, Any]:
    """Return one run's curves; the last epoch is always kept."""
    last = len(epochs) - 1
    kept = epochs.iloc[[at for at in range(len(epochs)) if at % every == 0 or at == last]]
    return {
        "seed": int(line["seed"]),
        "status": line["status"],
        "epochs": [int(epoch) + 1 for epoch in kept["epoch"]],
        "gradients": [int(count) for count in kept["gradient_evaluations"]],
        "values": {
            one.name: [_rounded(one.factor * value) for value in kept[one.name]]
            for one in series
            if one.name in kept
        },
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _chosen(methods: list[dict[str, Any]], measure: Measure, reference: str) -> list[str]:
    """Return the methods that are drawn at first: the reference and the best at their ends.

    Best on the first data set, which is the one that is shown first.
    """

    def end(method: Mapping[str, Any]) -> float:
        runs = [run for run in method["runs"] if run["set"] == 0]
        ends = [run["values"].get(measure.name, [None])[-1] for run in runs]
        known = [value for value in ends if value is not None]
        mean = sum(known) / len(known) if known else -math.inf
        return mean if measure.larger_is_better or not known else -mean

    best = sorted(methods, key=end, reverse=True)
    names = [method["name"] for method in best if method["name"] != reference]
    first = [reference] if any(method["name"] == reference for method in methods) else []
    return (first + names)[:_CHOSEN]
