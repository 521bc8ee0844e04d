"""What a target costs: runs, gradient evaluations, time and energy by kind of device, disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perturb.config import Config, RunSpecification
from perturb.errors import PerturbError
from perturb.planning.calibration import Calibration, calibrate, device_here
from perturb.planning.costs import (
    DeviceCost,
    from_calibration,
    from_runs,
    gradients_of,
    watts,
)
from perturb.planning.recorded import FinishedRun, finished_runs
from perturb.planning.settings import Settings, byte_size, duration
from perturb.planning.sizes import RunSize, bytes_of, shape_of, size_of
from perturb.planning.targets import Run, Target

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Workload:
    """Runs of one data set and model: how large they are, what is there, what they cost where."""

    dataset: str
    model: str
    size: RunSize
    threads: int
    weights_bytes: int
    finished: tuple[FinishedRun, ...]
    devices: Mapping[str, DeviceCost]

    def seconds(self, method: str, device: str) -> int:
        """Return the whole seconds of a run on a device, 1 or more."""
        gradients, _ = gradients_of(method, self.size, self.finished)
        return max(1, math.ceil(self.devices[device].seconds(method, gradients)))


@dataclass(frozen=True)
class MethodCost:
    """A method's runs: how many are finished and to do; of each to do its gradients and bytes."""

    dataset: str
    model: str
    method: str
    done: int
    todo: int
    gradients: float
    known: str
    bytes: int


@dataclass(frozen=True)
class Survey:
    """A target's cost. `here` is this machine's device in words."""

    target: Target
    workloads: Mapping[tuple[str, str], Workload]
    methods: tuple[MethodCost, ...]
    done_bytes: int
    here: str
    power: Mapping[str, float]

    @property
    def devices(self) -> list[str]:
        """The kinds of device that something is known of, this machine's first."""
        known = {device for work in self.workloads.values() for device in work.devices}
        return sorted(known, key=lambda device: (device != self.here, device))

    def seconds(self, method: MethodCost, device: str) -> int | None:
        """Return a run's seconds on a device, None where nothing is known."""
        work = self.workloads[method.dataset, method.model]
        return work.seconds(method.method, device) if device in work.devices else None


def survey(
    target: Target, config: Config, settings: Settings, results: Path, benchmarks: Path
) -> Survey:
    """Return what `target` costs; calibrates where no run tells of this machine's device."""
    studies = dict.fromkeys((dataset, model) for dataset, model, _, _ in target.runs)
    runs = finished_runs(results, benchmarks, config, studies)
    workloads, here = {}, ""
    for dataset, model in studies:
        method = next(run[2] for run in target.runs if run[:2] == (dataset, model))
        specification = config.run(dataset, model, method, 0)
        here = device_here(specification)
        own = [run for run in runs if (run.dataset, run.model) == (dataset, model)]
        workloads[dataset, model] = _workload(specification, own, settings, results, benchmarks)
    done = {run.key: run for run in runs if run.current}
    by_method: dict[Key, list[Run]] = {}
    for run in target.runs:
        by_method.setdefault(run[:3], []).append(run)
    return Survey(
        target=target,
        workloads=workloads,
        methods=tuple(
            _method(workloads[key[:2]], key[2], asked, done, config)
            for key, asked in by_method.items()
        ),
        done_bytes=sum(done[run].bytes for run in target.runs if run in done),
        here=here,
        power=settings.device_power_watts,
    )


def _workload(
    specification: RunSpecification,
    runs: Sequence[FinishedRun],
    settings: Settings,
    results: Path,
    benchmarks: Path,
) -> Workload:
    shape = shape_of(specification.dataset, results)
    size = size_of(specification, shape)
    devices = from_runs(runs, specification)
    calibrated: Calibration | None = None
    if device_here(specification) not in devices:
        folder = benchmarks / "calibration"
        calibrated = calibrate(specification, shape, folder, settings.calibration_steps)
        devices[calibrated.device] = from_calibration(calibrated, size)
    folder = results / "runs" / specification.dataset / specification.model
    weights = next((p.stat().st_size for p in folder.glob("*/*/last.safetensors")), 0)
    return Workload(
        dataset=specification.dataset,
        model=specification.model,
        size=size,
        threads=specification.threads,
        weights_bytes=calibrated.weights_bytes if calibrated else weights,
        finished=tuple(runs),
        devices=devices,
    )


def _method(
    work: Workload, method: str, asked: Sequence[Run], done: Mapping[Run, object], config: Config
) -> MethodCost:
    todo = [run for run in asked if run not in done]
    gradients, known = gradients_of(method, work.size, work.finished)
    left = [bytes_of(config.run(*run), work.size, work.weights_bytes) for run in todo]
    return MethodCost(
        dataset=work.dataset,
        model=work.model,
        method=method,
        done=len(asked) - len(todo),
        todo=len(todo),
        gradients=gradients,
        known=known,
        bytes=sum(left),
    )


def chosen_device(found: Survey, wanted: str) -> str:
    """Return the kind of device that a budget is for: this machine's, or that `wanted` is part of.

    Raises PerturbError where there is no such one, or nothing is known of it for some runs.
    """
    match = [d for d in found.devices if wanted.lower() in d.lower()] if wanted else [found.here]
    if not match:
        raise PerturbError(
            f"config, plan.device: nothing is known of '{wanted}'; known are "
            f"{', '.join(found.devices)}. Run `snakemake plan` on such a machine, or finish a run."
        )
    for work in found.workloads.values():
        if match[0] not in work.devices:
            raise PerturbError(
                f"plan: nothing is known of {work.model} on {work.dataset} on {match[0]}. "
                "Run `snakemake plan` on such a machine, or finish a run there."
            )
    return match[0]


def text(found: Survey) -> str:
    """Return the cost in lines: a table of the methods, then the sums."""
    methods = found.methods
    done, todo = sum(m.done for m in methods), sum(m.todo for m in methods)
    gradients = sum(m.todo * m.gradients for m in methods)
    bounded = sum(m.todo * m.gradients for m in methods if m.known == "at most")
    of_bounds = f", of them {bounded:,.0f} an upper bound" if bounded else ""
    disk = f"{byte_size(sum(m.bytes for m in methods))} to come"
    lines = [
        *_method_lines(found),
        "",
        f"target                {found.target.path}",
        f"runs                  {done + todo}: {done} finished, {todo} to do",
        f"gradient evaluations  {gradients:,.0f} to do{of_bounds}",
        f"disk                  {disk}, {byte_size(found.done_bytes)} there",
    ]
    lines += [_device_line(found, device) for device in found.devices]
    lines.append("Only training runs are counted: no landscapes, tables or figures.")
    return "\n".join(lines)


def _method_lines(found: Survey) -> list[str]:
    width = max(len(_name(found, m)) for m in found.methods)
    header = f"{'method':{width}}  finished  to do  gradients a run             time a run"
    lines = [header]
    for method in found.methods:
        seconds = found.seconds(method, found.here)
        lines.append(
            f"{_name(found, method):{width}}  {method.done:8}  {method.todo:5}  "
            f"{method.gradients:15,.0f} {method.known:8}  "
            f"{duration(seconds) if seconds else 'unknown':>12}"
        )
    return lines


def _name(found: Survey, method: MethodCost) -> str:
    return method.method if len(found.workloads) == 1 else f"{method.dataset} {method.method}"


def _device_line(found: Survey, device: str) -> str:
    """Return time and energy of what is to do on one kind of device, and how they are known."""
    seconds, joules, unknown = 0.0, 0.0, 0
    for method in found.methods:
        each = found.seconds(method, device)
        work = found.workloads[method.dataset, method.model]
        if each is None:
            unknown += method.todo
            continue
        seconds += method.todo * each
        joules += method.todo * each * watts(device, work.threads, found.power)
    sources = {w.devices[device].source for w in found.workloads.values() if device in w.devices}
    missing = f"; {unknown} runs unknown there" if unknown else ""
    return (
        f"on {device}: {duration(seconds)} of one device, {joules / 3.6e6:.3g} kWh "
        f"({'; '.join(sorted(sources))}{missing})"
    )
