"""What finished runs say about the cost and the spread of others."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from perturb import code, studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.planning.cost import Cost
from perturb.planning.sizes import steps_of
from perturb.runs import RECORD, TIMING, Run, Specification, read_record
from perturb.study import Measure

# A workload: study, data set, model.
Group = tuple[str, str, str]


@dataclass(frozen=True)
class FinishedRun:
    """A run on disk, whatever became of it.

    Args:
        study: that answers for it.
        run: its name, the method spelled as its folder is.
        device: in words.
        settings: as its record has them.
        epochs: that it completed.
        cost: its work in the study's unit; `counted` where its record holds it, else as the study
            counts it from the settings of today.
        seconds: the sum of its `timing.csv`; None where nothing says.
        start_seconds: what its job took beside those; None where nothing says.
        bytes: of its folder.
        last: what it measured after the last epoch, by column; None where it diverged.
        same_settings: that today's configuration asks for the settings that it was made with.
        current: that today's configuration and code would not make it again.
    """

    study: str
    run: Run
    device: str
    settings: Mapping[str, Any]
    epochs: int
    cost: float
    counted: bool
    seconds: float | None
    start_seconds: float | None
    bytes: int
    last: Mapping[str, float] | None
    same_settings: bool
    current: bool

    @property
    def group(self) -> Group:
        """The workload that it is of."""
        return (self.study, self.run.dataset, self.run.model)

    def value(self, measure: Measure) -> float | None:
        """Return what it came to, in the shown unit of `measure`; None where it diverged."""
        found = (self.last or {}).get(measure.name)
        return None if found is None else measure.factor * found


def finished_runs(
    results: Path, benchmarks: Path, config: Config, folders: Iterable[tuple[str, str]]
) -> list[FinishedRun]:
    """Return the finished runs of (data set, model) pairs; PerturbError where a record is damaged.

    `benchmarks` is the folder of Snakemake's benchmark files.
    """
    return [
        _read(path, results, benchmarks, config)
        for dataset, model in sorted(set(folders))
        for path in sorted((results / "runs" / dataset / model).glob(f"*/seed*/{RECORD}"))
    ]


def _read(path: Path, results: Path, benchmarks: Path, config: Config) -> FinishedRun:
    record, run = read_record(path), Run.of_folder(path.parent)
    seconds = _sum_of(path.with_name(TIMING), "seconds")
    job = _sum_of(benchmarks / f"{run.folder}.tsv", "s")
    # A resumed run's benchmark is that of its last job only: less than its epochs.
    start = job - seconds if job is not None and seconds is not None and job > seconds else None
    today = _today(run, config)
    same = today is not None and not today.differences(record)
    counted = record.get("gradient_evaluations")
    return FinishedRun(
        study=studies.of_method(run.method).name,
        run=run,
        device=record["device"],
        settings=record["specification"],
        epochs=record.get("epochs_completed", 1),
        cost=_cost(today, results, config) if counted is None else counted,
        counted=counted is not None,
        seconds=seconds,
        start_seconds=start,
        bytes=sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file()),
        last=record["last"] if record["status"] == "ok" else None,
        same_settings=same,
        current=same and record["sha256"].get("code") == code.digest(studies.code_of(today)),
    )


def _today(run: Run, config: Config) -> Specification | None:
    """Return what a run of this name would be today; None where the configuration has none."""
    try:
        return studies.specification(config, run)
    except PerturbError:
        return None


def _cost(today: Specification | None, results: Path, config: Config) -> float:
    if today is None:
        return 0.0
    return cost_of(today, steps_of(today, results, config)).count


def cost_of(specification: Specification, steps: int) -> Cost:
    """Return what its study says that a run costs; `steps` as `Study.cost` has it."""
    return studies.get(specification.study).cost(specification, steps)


def _sum_of(path: Path, column: str) -> float | None:
    """Return the sum of a column of a CSV or TSV file, or None where there is no such number."""
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        try:
            return sum(float(row[column]) for row in rows) or None
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Spread:
    """Standard deviation of a measure over seeds, in its shown unit, the same for every method.

    `correlation` is that of two methods' values at one seed. `methods` is how many methods it was
    seen in; 0 where nothing ran and the configured noise floor stands in.
    """

    sd: float
    correlation: float
    methods: int


def spread(
    runs: Sequence[FinishedRun], references: Mapping[str, str], floor: float, measure: Measure
) -> Spread:
    """Return the spread that current runs of one chapter show, or else the noise floor.

    The median over methods of the sample variance over seeds, each divided by the median of
    chi-square / df, so that it estimates the variance that the methods share and one that
    collapses at some seeds does not set it. The correlation follows from the same median of the
    paired differences to each method's reference; 0, independent, where there is none.
    """
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        value = run.value(measure)
        if run.current and value is not None:
            values.setdefault(run.run.method, {})[run.run.seed] = value
    variance, methods = _typical_variance(list(one.values()) for one in values.values())
    if not variance:
        return Spread(floor, 0.0, 0)
    paired = []
    for method, reference in references.items():
        first, second = values.get(method, {}), values.get(reference, {})
        paired.append([first[seed] - second[seed] for seed in first.keys() & second.keys()])
    of_differences, pairs = _typical_variance(paired)
    correlation = 1 - of_differences / (2 * variance) if pairs else 0.0
    return Spread(float(np.sqrt(variance)), float(np.clip(correlation, 0, 0.95)), methods)


def _typical_variance(samples: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Return the variance that most samples share, and how many samples have two or more values."""
    found = [
        np.var(sample, ddof=1) * (len(sample) - 1) / stats.chi2.median(len(sample) - 1)
        for sample in samples
        if len(sample) > 1
    ]
    return (float(np.median(found)), len(found)) if found else (0.0, 0)
