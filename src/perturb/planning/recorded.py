"""What finished runs say about the cost and the spread of others."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from perturb import code
from perturb.analysis.runs import read_record
from perturb.config import Config
from perturb.errors import PerturbError


@dataclass(frozen=True)
class FinishedRun:
    """A run on disk, whatever became of it.

    `method` is spelled as its folder is. `seconds` is the sum of its epochs' (`timing.csv`),
    `start_seconds` what its job took beside that, both None where nothing says. `accuracy` is the
    last epoch's on test in percent, None where it diverged. `current` says that today's
    configuration and code would not train it again.
    """

    dataset: str
    model: str
    method: str
    seed: int
    device: str
    settings: Mapping[str, Any]
    epochs: int
    gradient_evaluations: int
    seconds: float | None
    start_seconds: float | None
    bytes: int
    accuracy: float | None
    current: bool

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The run's name."""
        return (self.dataset, self.model, self.method, self.seed)


def finished_runs(
    results: Path, benchmarks: Path, config: Config, studies: Iterable[tuple[str, str]]
) -> list[FinishedRun]:
    """Return the finished runs of (data set, model) pairs; PerturbError where a record is damaged.

    `benchmarks` is the folder of Snakemake's benchmark files.
    """
    return [
        _read(path, benchmarks, config)
        for dataset, model in sorted(set(studies))
        for path in sorted((results / "runs" / dataset / model).glob("*/seed*/record.json"))
    ]


def _read(path: Path, benchmarks: Path, config: Config) -> FinishedRun:
    record = read_record(path)
    dataset, model, method, seed = path.parts[-5:-1]
    seconds = _sum_of(path.with_name("timing.csv"), "seconds")
    job = _sum_of(benchmarks / "runs" / dataset / model / method / f"{seed}.tsv", "s")
    # A resumed run's benchmark is that of its last job only: less than its epochs.
    start = job - seconds if job is not None and seconds is not None and job > seconds else None
    done = record["status"] == "ok"
    return FinishedRun(
        dataset=dataset,
        model=model,
        method=method,
        seed=record["seed"],
        device=record["device"],
        settings=record["specification"],
        epochs=record["epochs_completed"],
        gradient_evaluations=record["gradient_evaluations"],
        seconds=seconds,
        start_seconds=start,
        bytes=sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file()),
        accuracy=100 * record["last"]["test_accuracy"] if done else None,
        current=_is_current(record, config),
    )


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


def _is_current(record: Mapping[str, Any], config: Config) -> bool:
    """Whether a record is of today's settings and code, so that it would not be trained again."""
    try:
        today = config.run(record["dataset"], record["model"], record["method"], record["seed"])
        modules = _code_of_training(today.model, today.method)
    except PerturbError:
        return False
    settings = json.loads(today.to_json())
    then = record["specification"] | {"scale": record.get("scale")}
    same = all(settings.get(name) == value for name, value in then.items())
    return same and record["sha256"].get("code") == modules


@cache
def _code_of_training(model: str, method: str) -> str:
    return code.digest(code.of_training(model, method))


@dataclass(frozen=True)
class Spread:
    """Standard deviation of last-epoch accuracy over seeds, in points, the same for every method.

    `correlation` is that of two methods' accuracies at one seed. `methods` is how many methods
    it was seen in; 0 where nothing ran and the configured noise floor stands in.
    """

    sd: float
    correlation: float
    methods: int


def spread(runs: Sequence[FinishedRun], references: Mapping[str, str], floor: float) -> Spread:
    """Return the spread that current runs of one data set show, or else the noise floor.

    The median over methods of the sample variance over seeds, each divided by the median of
    chi-square / df, so that it estimates the variance that the methods share and one that
    collapses at some seeds does not set it. The correlation follows from the same median of the
    paired differences to each method's reference; 0, independent, where there is none.
    """
    accuracies: dict[str, dict[int, float]] = {}
    for run in runs:
        if run.current and run.accuracy is not None:
            accuracies.setdefault(run.method, {})[run.seed] = run.accuracy
    variance, methods = _typical_variance(list(values.values()) for values in accuracies.values())
    if not variance:
        return Spread(floor, 0.0, 0)
    paired = []
    for method, reference in references.items():
        first, second = accuracies.get(method, {}), accuracies.get(reference, {})
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
