"""Where a model's efficiency table comes from. Pure, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perturb.efficiency.settings import PREFIX
from perturb.study import Chapter, Measure, Part

_FOLDER = "efficiency"


def measured_file(model: str) -> str:
    """Return the file of a model's measurements, relative to the results."""
    return f"{_FOLDER}/{model}.json"


def chapter(model: str) -> Chapter:
    """Return what has a model's efficiency table: a chapter of no study and of no runs."""
    part = Part(
        name="",
        kind="table",
        make="perturb.efficiency.parts:table",
        inputs={"measured": (measured_file(model),)},
        settings={"model": model},
        stem=f"{PREFIX}{model}",
    )
    measure = Measure("images_per_second", "throughput", "images/s", "images/s", 1.0, 0)
    return Chapter("", f"{PREFIX}{model}", model, False, measure, (), (part,), "")


def measured(results: Path) -> Iterator[Chapter]:
    """Yield those of every model that has been measured below `results`."""
    for path in sorted((results / _FOLDER).glob("*.json")):
        yield chapter(path.stem)
