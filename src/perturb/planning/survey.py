"""What a target costs: runs, their work, time and energy by kind of device, disk."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.jobs.finished import in_store
from perturb.jobs.store import Store
from perturb.planning.costs import (
    DeviceCost,
    Work,
    from_calibration,
    from_runs,
    from_unit,
    watts,
    work_of,
)
from perturb.planning.here import device_here
from perturb.planning.recorded import FinishedRun, Group, finished_runs
from perturb.planning.settings import Settings, byte_size, duration
from perturb.planning.sizes import (
    RunSize,
    bytes_of,
    bytes_without_weights,
    shape_of,
    size_of,
)
from perturb.planning.targets import Target
from perturb.planning.units import unit_cost
from perturb.runs import LAST, Run, Specification
from perturb.train.settings import TrainSettings


@dataclass(frozen=True)
class Workload:
    """Runs of one study, data set and model: what is there, what they are, what they cost where.

    `size` is None where no classifier is trained. `works` by method in its one spelling.
    """

    study: str
    dataset: str
    model: str
    size: RunSize | None
    threads: int
    weights_bytes: int
    finished: tuple[FinishedRun, ...]
    devices: Mapping[str, DeviceCost]
    works: Mapping[str, Work]

    def work(self, method: str) -> Work:
        """Return what a run of a method is, however it is spelled."""
        return self.works[studies.canonical(method)]

    def seconds(self, method: str, device: str) -> int:
        """Return the whole seconds of a run on a device, 1 or more."""
        work = self.work(method)
        return max(1, math.ceil(self.devices[device].seconds(method, work.epochs, work.count)))

    def bytes(self, specification: Specification) -> int:
        """Return the bytes of a run's folder."""
        if self.size is None or not isinstance(specification, TrainSettings):
            return bytes_without_weights([run.bytes for run in self.finished if run.current])
        return bytes_of(specification, self.size, self.weights_bytes)


@dataclass(frozen=True)
class MethodCost:
    """A method's runs: how many are finished and to do; of each its work, of all to do the bytes.

    `group` is the workload that it is of. `stored` are neither: they come back from the store.
    """

    group: Group
    method: str
    done: int
    todo: int
    work: Work
    bytes: int
    stored: int = 0


@dataclass(frozen=True)
class Survey:
    """A target's cost. `here` is this machine's device in words.

    `stored` are the runs that are not finished here and that the store will put back.
    """

    target: Target
    workloads: Mapping[Group, Workload]
    methods: tuple[MethodCost, ...]
    done_bytes: int
    here: str
    power: Mapping[str, float]
    stored: frozenset[Run] = frozenset()

    @property
    def devices(self) -> list[str]:
        """The kinds of device that something is known of, this machine's first."""
        known = {device for work in self.workloads.values() for device in work.devices}
        return sorted(known, key=lambda device: (device != self.here, device))

    @property
    def units(self) -> list[str]:
        """The units that its runs' work is counted in, in the order of the methods."""
        return list(dict.fromkeys(method.work.unit for method in self.methods))

    def seconds(self, method: MethodCost, device: str) -> int | None:
        """Return a run's seconds on a device, None where nothing is known."""
        work = self.workloads[method.group]
        return work.seconds(method.method, device) if device in work.devices else None


def survey(
    target: Target,
    config: Config,
    settings: Settings,
    results: Path,
    benchmarks: Path,
    store: Store | None = None,
) -> Survey:
    """Return what `target` costs; calibrates where no run tells of this machine's device."""
    specified = {run: studies.specification(config, run) for run in target.runs}
    folders = dict.fromkeys((run.dataset, run.model) for run in target.runs)
    finished = finished_runs(results, benchmarks, config, folders)
    of_group: dict[Group, list[Specification]] = {}
    for run, specification in specified.items():
        group = (specification.study, run.dataset, run.model)
        of_group.setdefault(group, []).append(specification)
    workloads = {
        group: _workload(
            specifications,
            [run for run in finished if run.group == group],
            config,
            settings,
            results,
            benchmarks,
        )
        for group, specifications in of_group.items()
    }
    done = {run.run: run for run in finished if run.current}
    stored = in_store((specified[run] for run in target.runs if run not in done), store)
    by_method: dict[tuple[Group, str], list[Run]] = {}
    for run, specification in specified.items():
        group = (specification.study, run.dataset, run.model)
        by_method.setdefault((group, run.method), []).append(run)
    return Survey(
        target=target,
        workloads=workloads,
        methods=tuple(
            _method(workloads[group], method, {run: specified[run] for run in asked}, done, stored)
            for (group, method), asked in by_method.items()
        ),
        done_bytes=sum(done[run].bytes for run in target.runs if run in done),
        here=device_here(next(iter(specified.values()))) if specified else "",
        power=settings.device_power_watts,
        stored=stored,
    )


def _workload(
    specifications: Sequence[Specification],
    runs: Sequence[FinishedRun],
    config: Config,
    settings: Settings,
    results: Path,
    benchmarks: Path,
) -> Workload:
    one = specifications[0]
    size, weights = None, 0
    if isinstance(one, TrainSettings):
        size = size_of(one, shape_of(one.dataset, results, config))
    steps = size.steps if size else 0
    works = {found.method: work_of(found, steps, runs) for found in specifications}
    devices = from_runs(runs, one)
    if device_here(one) not in devices:
        folder = benchmarks / "calibration"
        if isinstance(one, TrainSettings):
            from perturb.planning.calibration import calibrate  # imports torch

            shape = shape_of(one.dataset, results, config)
            measured = calibrate(one, shape, folder, settings.calibration_steps)
            found, weights = from_calibration(measured, size), measured.weights_bytes
        else:
            largest = max(specifications, key=lambda one: works[one.method].count)
            found = from_unit(unit_cost(largest, folder, results))
        devices[found.device] = found
    kept = (results / "runs" / one.dataset / one.model).glob(f"*/*/{LAST}")
    return Workload(
        study=one.study,
        dataset=one.dataset,
        model=one.model,
        size=size,
        threads=one.threads,
        weights_bytes=weights or next((path.stat().st_size for path in kept), 0),
        finished=tuple(runs),
        devices=devices,
        works=works,
    )


def _method(
    work: Workload,
    method: str,
    asked: Mapping[Run, Specification],
    done: Mapping[Run, FinishedRun],
    stored: Container[Run],
) -> MethodCost:
    missing = [run for run in asked if run not in done]
    todo = [run for run in missing if run not in stored]
    return MethodCost(
        group=(work.study, work.dataset, work.model),
        method=method,
        done=len(asked) - len(missing),
        todo=len(todo),
        work=work.work(method),
        bytes=sum(work.bytes(asked[run]) for run in todo),
        stored=len(missing) - len(todo),
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
    stored = sum(m.stored for m in methods)
    come_back = f"{stored} in the store, " if stored else ""
    disk = f"{byte_size(sum(m.bytes for m in methods))} to come"
    facts = {
        "target": found.target.path,
        "runs": f"{done + stored + todo}: {done} finished, {come_back}{todo} to do",
        **{unit: _work_to_do(found, unit) for unit in found.units},
        "disk": f"{disk}, {byte_size(found.done_bytes)} there",
    }
    width = max(map(len, facts)) + 2
    lines = [*_method_lines(found), ""]
    lines += [f"{name:{width}}{fact}" for name, fact in facts.items()]
    lines += [_device_line(found, device) for device in found.devices]
    lines.append("Only runs are counted: no landscapes, tables or figures.")
    return "\n".join(lines)


def _work_to_do(found: Survey, unit: str) -> str:
    """Return the work that is to do in one unit, and how much of it is an upper bound."""
    of_unit = [method for method in found.methods if method.work.unit == unit]
    count = sum(m.todo * m.work.count for m in of_unit)
    bounded = sum(m.todo * m.work.count for m in of_unit if m.work.known == "at most")
    return f"{_count(count)} to do" + (
        f", of them {_count(bounded)} an upper bound" if bounded else ""
    )


def _count(value: float) -> str:
    """Write a count for a reader: `3,600`, from 1e9 on `3.6e+09`."""
    return f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"


def _method_lines(found: Survey) -> list[str]:
    names = [_name(found, method) for method in found.methods]
    width, units = max(map(len, [*names, "method"])), found.units
    what = f"{units[0]} a run" if len(units) == 1 else "work a run"
    wide = max(len(what), 15)
    stored = "  in the store" if found.stored else ""
    lines = [f"{'method':{width}}  finished{stored}  to do  {what:>{wide}}             time a run"]
    for name, method in zip(names, found.methods, strict=True):
        seconds, work = found.seconds(method, found.here), method.work
        lines.append(
            f"{name:{width}}  {method.done:8}"
            + (f"  {method.stored:12}" if stored else "")
            + f"  {method.todo:5}  {_count(work.count):>{wide}} "
            f"{work.known:8}  {duration(seconds) if seconds else 'unknown':>12}"
            + (f"  {work.unit}" if len(units) > 1 else "")
        )
    return lines


def _name(found: Survey, method: MethodCost) -> str:
    """Return a method's name, below its data set and model where there are several."""
    if len(found.workloads) == 1:
        return method.method
    _, dataset, model = method.group
    several = len({group[:2] for group in found.workloads}) < len(found.workloads)
    return f"{dataset} {model} {method.method}" if several else f"{dataset} {method.method}"


def _device_line(found: Survey, device: str) -> str:
    """Return time and energy of what is to do on one kind of device, and how they are known."""
    seconds, joules, unknown = 0.0, 0.0, 0
    for method in found.methods:
        each, work = found.seconds(method, device), found.workloads[method.group]
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
