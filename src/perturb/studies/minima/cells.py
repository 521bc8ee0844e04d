"""Numbers of the tables' cells, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from perturb.analysis.statistics import Summary
from perturb.analysis.table import Cell
from perturb.studies.minima.reading import Left

Settings = Mapping[str, Any]
SMOKE = "Smoke run, not a result of the study."


def last(runs: Iterable[Left]) -> list[float]:
    """Return the last distance of each run that has one."""
    found = [float(run.newest.iloc[-1]) for run in runs if len(run.newest)]
    return [value for value in found if np.isfinite(value)]


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def off(predicted: float | None, measured: float | None) -> float | None:
    """Return how far a prediction is off, as a share of the measured one; None if unknown."""
    if predicted is None or not measured:
        return None
    return predicted / measured - 1


def spread(summary: Summary, digits: int) -> Cell:
    """Return a mean and standard deviation as a cell, empty where there is none."""
    if summary.mean is None:
        return Cell("")
    spread = "" if summary.sd is None else f"± {summary.sd:.{digits}f}"
    return Cell(f"{summary.mean:.{digits}f}", spread)


def number(value: float | None, digits: int) -> str:
    """Return a number with this many digits after the point, empty where it is not known."""
    known = value is not None and np.isfinite(value)
    return minus(f"{value:.{digits}f}") if known else ""


def percent(value: float) -> str:
    """Return a share in percent."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "unknown"


def minus(text: str) -> str:
    """Return a text whose hyphens are minus signs."""
    return text.replace("-", "−")


def marked(settings: Settings, text: str) -> str:
    """Return a text that says first where it is of a smoke run."""
    return f"{SMOKE} {text}" if settings["scale"] == "smoke" else text
