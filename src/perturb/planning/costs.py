"""Time, energy and disk of runs that have not been made, on one kind of device."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from perturb.config import RunSpecification
from perturb.errors import PerturbError
from perturb.names import format, parse
from perturb.planning.calibration import Calibration
from perturb.planning.gradients import evaluations
from perturb.planning.recorded import FinishedRun
from perturb.planning.sizes import RunSize

# What a run's seconds depend on, beside its method, device, data set and model.
_WORK = (
    "batch_size",
    "threads",
    "augment",
    "limit",
    "protocol",
    "precision",
    "channels_last",
    "compile",
)


@dataclass(frozen=True)
class DeviceCost:
    """What runs of one data set and model take on one kind of device.

    Seconds of a run: `start + per_epoch * epochs + per_gradient * gradient evaluations`, or what
    finished runs of its own method took (`measured`, by canonical name). `source` says in words
    where the numbers come from.
    """

    device: str
    start: float
    per_epoch: float
    per_gradient: float
    measured: Mapping[str, float]
    source: str

    def seconds(self, method: str, gradients: float) -> float:
        """Return the seconds of a run of `method`, which computes so many batch gradients."""
        parsed = parse(method)
        own = self.measured.get(format(parsed))
        if own is not None:
            return self.start + own
        return self.start + self.per_epoch * parsed.epochs + self.per_gradient * gradients


def from_runs(
    runs: Iterable[FinishedRun], specification: RunSpecification
) -> dict[str, DeviceCost]:
    """Return the cost by device that finished runs of the same work show; unfinished ones do not.

    Non-negative least squares over the runs' totals. Where all of them compute about as many
    gradients an epoch, an epoch's own share cannot be told and all is put on the gradients.
    """
    of_device: dict[str, list[FinishedRun]] = {}
    for run in runs:
        # What a record does not name yet was as the default is.
        then = {key: run.settings.get(key, getattr(RunSpecification, key)) for key in _WORK}
        same = all(then[key] == _plain(specification, key) for key in _WORK)
        if same and run.seconds and run.accuracy is not None:
            of_device.setdefault(run.device, []).append(run)
    return {device: _fit(device, found) for device, found in sorted(of_device.items())}


def _plain(specification: RunSpecification, key: str) -> object:
    """Return a setting as a record has it: the limit as a mapping."""
    value = getattr(specification, key)
    return vars(value) if key == "limit" and value else value


def _fit(device: str, runs: Sequence[FinishedRun]) -> DeviceCost:
    work = np.array([[run.epochs, run.gradient_evaluations] for run in runs], dtype=float)
    seconds = np.array([run.seconds for run in runs])
    ratio = work[:, 1] / work[:, 0]
    if np.ptp(ratio) < 0.1 * ratio.mean():
        work[:, 0] = 0
    per_epoch, per_gradient = nnls(work, seconds)[0]
    own: dict[str, list[float]] = {}
    for run in runs:
        own.setdefault(format(parse(run.method)), []).append(run.seconds)
    starts = [run.start_seconds for run in runs if run.start_seconds is not None]
    return DeviceCost(
        device=device,
        start=statistics.median(starts) if starts else 0.0,
        per_epoch=float(per_epoch),
        per_gradient=float(per_gradient),
        measured={method: statistics.mean(values) for method, values in own.items()},
        source=f"{len(runs)} finished runs",
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
        per_gradient=gradient,
        measured={},
        source=f"calibration of a few steps of {found.images} images",
    )


def gradients_of(method: str, size: RunSize, runs: Iterable[FinishedRun]) -> tuple[float, str]:
    """Return the gradient evaluations of a run and how they are known: exact, measured, at most.

    A method that decides as it trains is measured where a run of it finished.
    """
    parsed = parse(method)
    counted = evaluations(parsed, size.steps)
    if counted.exact:
        return counted.count, "exact"
    own = [
        run.gradient_evaluations
        for run in runs
        if run.current and run.accuracy is not None and parse(run.method) == parsed
    ]
    return (statistics.mean(own), "measured") if own else (counted.count, "at most")


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
