"""Runs whose schedules were held at their first value, and runs of one configuration.

A schedule that nobody advanced ran as a constant, so that several names may stand for one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from perturb import names
from perturb.audit.reading import ResultFile, canonical


@dataclass(frozen=True)
class Configuration:
    """Files of one data set and model that were run alike, though their names differ."""

    dataset: str
    model: str
    run: str
    files: tuple[ResultFile, ...]


def held(method: names.Method) -> names.Method:
    """Return the method with its schedules at the value of epoch 0 throughout.

    A radius or a scale of 1 is PUGD's own, and no schedule.
    """
    return replace(method, radius=_first(method.radius), scale=_first(method.scale))


def _first(schedule: names.Schedule | None) -> names.Schedule | None:
    value = 1.0 if schedule is None else schedule.value(0, 1)
    return None if value == 1 else names.Schedule("const", value)


def run_as_held(files: Sequence[ResultFile], models: Sequence[str]) -> dict[str, names.Method]:
    """Return what was run, by path, of the files of `models` whose names have a schedule."""
    return {
        file.path: held(file.method)
        for file in files
        if file.model in models and file.method is not None and held(file.method) != file.method
    }


def alike(
    files: Sequence[ResultFile], run: Mapping[str, names.Method]
) -> tuple[Configuration, ...]:
    """Return the configurations that stand under two names or more.

    `run` is what was run by path, where that is not what the name says.
    """
    found: dict[tuple[str, str, str], list[ResultFile]] = {}
    for file in files:
        if file.method is not None:
            method = canonical(run.get(file.path, file.method))
            found.setdefault((file.dataset, file.model, method), []).append(file)
    return tuple(
        Configuration(*key, tuple(own))
        for key, own in sorted(found.items())
        if len({file.canonical for file in own}) > 1
    )
