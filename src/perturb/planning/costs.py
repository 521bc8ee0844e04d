"""Time, energy and disk of runs that have not been made, on one kind of device."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from scipy.optimize import nnls

from perturb import studies
from perturb.errors import PerturbError
from perturb.planning.recorded import FinishedRun, cost_of
from perturb.planning.sizes import RunSize
from perturb.runs import Specification
from perturb.train.settings import TrainSettings

if TYPE_CHECKING:
    from perturb.planning.calibration import Calibration
    from perturb.planning.units import UnitCost

# What a classifier's seconds depend on, beside its method, device, data set and model.
_WORK = (
    "batch_size",
    "threads",
    "augment",
    "limit",
    "protocol",
    "precision",
    "channels_last",
    "compile",
    "base",
)


@dataclass(frozen=True)
class DeviceCost:
    """What runs of one study, data set and model take on one kind of device.

    Seconds of a run: `start + per_epoch * epochs + per_unit * count`, where `count` is its cost in
    its study's unit, or what finished runs of its own method took (`measured`, by canonical name).
    `source` says in words where the numbers come from.
    """

    device: str
    start: float
    per_epoch: float
    per_unit: float
    measured: Mapping[str, float]
    source: str

    def seconds(self, method: str, epochs: int, count: float) -> float:
        """Return the seconds of a run of `method`, which costs `count` units."""
        own = self.measured.get(studies.canonical(method))
        if own is not None:
            return self.start + own
        return self.start + self.per_epoch * epochs + self.per_unit * count


@dataclass(frozen=True)
class Work:
    """What a run of a method is: epochs, cost, and how that is known: exact, measured, at most."""

    epochs: int
    count: float
    known: str
    unit: str


def from_runs(runs: Iterable[FinishedRun], specification: Specification) -> dict[str, DeviceCost]:
    """Return the cost by device that finished runs of the same work show; unfinished ones do not.

    Non-negative least squares over the runs' totals. Where all of them do about as much work an
    epoch, an epoch's own share cannot be told and all is put on the work; so where a run is no
    classifier's training, whose epochs are evaluated.
    """
    trained = isinstance(specification, TrainSettings)
    of_device: dict[str, list[FinishedRun]] = {}
    for run in runs:
        same = _same_work(run, specification) if trained else run.same_settings
        if same and run.seconds and run.last is not None:
            of_device.setdefault(run.device, []).append(run)
    return {device: _fit(device, found, trained) for device, found in sorted(of_device.items())}


def _same_work(run: FinishedRun, specification: TrainSettings) -> bool:
    """Whether a run's seconds tell of those of runs like `specification`."""
    today, before = specification.settings(), _defaults()
    # What a record does not name yet was as the default is.
    return all(run.settings.get(key, before[key]) == today[key] for key in _WORK)


@lru_cache
def _defaults() -> dict[str, object]:
    return {field.name: field.default for field in msgspec.structs.fields(TrainSettings)}


def _fit(device: str, runs: Sequence[FinishedRun], trained: bool) -> DeviceCost:
    work = np.array([[run.epochs, run.cost] for run in runs], dtype=float)
    seconds = np.array([run.seconds for run in runs])
    ratio = work[:, 1] / work[:, 0]
    if not trained or np.ptp(ratio) < 0.1 * ratio.mean():
        work[:, 0] = 0
    # Units may be floating-point operations, 1e12 of them.
    scale = 1.0 if trained else work[:, 1].max() or 1.0
    per_epoch, per_scale = nnls(work / [1.0, scale], seconds)[0]
    own: dict[str, list[float]] = {}
    for run in runs:
        own.setdefault(studies.canonical(run.run.method), []).append(run.seconds)
    starts = [run.start_seconds for run in runs if run.start_seconds is not None]
    return DeviceCost(
        device=device,
        start=statistics.median(starts) if starts else 0.0,
        per_epoch=float(per_epoch),
        per_unit=float(per_scale / scale),
        measured={method: statistics.mean(values) for method, values in own.items()},
        source="1 finished run" if len(runs) == 1 else f"{len(runs)} finished runs",
    )


def from_calibration(found: Calibration, size: RunSize) -> DeviceCost:
    """Return the cost that a calibration's steps come to for runs of this size."""
    gradient = found.two_gradients - found.one_gradient
    if not 0 < gradient <= found.one_gradient:  # no clear difference in so few steps
        gradient = found.two_gradients / 2
    rest = size.steps * max(found.one_gradient - gradient, 0.0)
    return DeviceCost(
        device=found.device,
        start=found.start_seconds,
        per_epoch=rest + size.evaluation_batches * found.evaluation_batch,
        per_unit=gradient,
        measured={},
        source=f"calibration of a few steps of {found.images} images",
    )


def from_unit(found: UnitCost) -> DeviceCost:
    """Return the cost that a study's own measurement comes to."""
    source = f"calibration of a small run, by {found.unit}"
    return DeviceCost(found.device, 0.0, 0.0, found.seconds, {}, source)


def work_of(specification: Specification, steps: int, runs: Iterable[FinishedRun]) -> Work:
    """Return what a run is; `steps` of an epoch, 0 where it trains no classifier.

    A method that decides as it trains is measured where a run of it finished.
    """
    method = specification.method
    cost = cost_of(specification, steps)
    epochs = studies.get(specification.study).epochs(method)
    own: list[float] = []
    if not cost.exact:
        own = [
            run.cost
            for run in runs
            if run.current and run.counted and run.last is not None
            if studies.canonical(run.run.method) == studies.canonical(method)
        ]
    if own:
        return Work(epochs, statistics.mean(own), "measured", cost.unit)
    return Work(epochs, cost.count, "exact" if cost.exact else "at most", cost.unit)


def watts(device: str, threads: int, table: Mapping[str, float]) -> float:
    """Return the power of a run's device: the longest key of `table` in its description.

    `cuda` and `cpu` stand for those that no other key names. A CPU's watts are one thread's.
    """
    keys = [key for key in table if key.lower() in device.lower()]
    if not keys:
        raise PerturbError(
            f"config, plan.device_power_watts: no entry for '{device}'. Add one: a part of that "
            "name and its watts, for a CPU those of one thread."
        )
    named = [key for key in keys if key not in ("cpu", "cuda")] or keys
    return table[max(named, key=len)] * (threads if device.startswith("cpu") else 1)
