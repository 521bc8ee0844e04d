"""From a budget to a config file: which seeds it buys, when they go, and both in words."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from perturb.config import Config
from perturb.errors import PerturbError, did_you_mean
from perturb.planning.allocation import Allocation, Arm, Infeasible, Problem, allocate, curve
from perturb.planning.packing import Packing, Task, pack
from perturb.planning.precision import Design
from perturb.planning.recorded import Spread, spread
from perturb.planning.settings import Settings, duration
from perturb.planning.survey import Survey, chosen_device

_BISECTIONS = 6


@dataclass(frozen=True)
class Candidate:
    """A row of a data set's table, and the seeds that it may get, in their order."""

    dataset: str
    model: str
    method: str
    section: str
    reference: str
    seeds: tuple[int, ...]
    finished: frozenset[int]
    seconds: int

    @property
    def name(self) -> str:
        """The candidate's arm."""
        return f"{self.dataset}/{self.method}"

    def arm(self, sd: float, priority: float, longest: float) -> Arm:
        """Return the arm; what has a run left to do of more than `longest` seconds is out."""
        todo = [
            sum(seed not in self.finished for seed in self.seeds[:n])
            for n in range(len(self.seeds) + 1)
        ]
        costs = (
            float(n * self.seconds) if self.seconds <= longest or not n else math.inf for n in todo
        )
        compared = f"{self.dataset}/{self.reference}" if self.reference != self.method else None
        return Arm(self.name, compared, tuple(costs), tuple(todo), sd, priority)


@dataclass(frozen=True)
class Plan:
    """What a budget buys: an allocation over the candidates and its schedule.

    `spreads` by data set; `points` of the curve of budgets (`allocation.curve`).
    """

    target: str
    settings: Settings
    device: str
    candidates: tuple[Candidate, ...]
    spreads: Mapping[str, Spread]
    allocation: Allocation
    packing: Packing
    points: tuple[tuple[float, float], ...]

    @property
    def chosen(self) -> list[tuple[Candidate, list[int]]]:
        """Each candidate with its seeds; none where it is not run and nothing of it is there."""
        return [(c, _seeds(c, self.allocation)) for c in self.candidates]


def _seeds(candidate: Candidate, allocation: Allocation) -> list[int]:
    """Return a candidate's chosen seeds; of one that is left out, those that are finished."""
    seeds = candidate.seeds[: allocation.seeds[candidate.name]]
    return list(seeds) or sorted(candidate.finished)


def make_plan(found: Survey, config: Config, settings: Settings) -> Plan:
    """Return the plan of a budget; PerturbError where nothing fits, with the least that does."""
    target = found.target
    if not target.datasets:
        raise PerturbError(
            f"plan: a budget chooses the seeds of a table; '{target.path}' is none. "
            f"Give target=<a data set> or leave the budget out."
        )
    device = chosen_device(found, settings.device)
    candidates = tuple(
        c for name in target.datasets for c in _candidates(found, config, settings, name, device)
    )
    _check_priorities(settings, candidates)
    spreads = {
        name: spread(
            [
                run
                for work in found.workloads.values()
                if work.dataset == name
                for run in work.finished
            ],
            {
                c.method: c.reference
                for c in candidates
                if c.dataset == name and c.method != c.reference
            },
            settings.noise_floor,
        )
        for name in target.datasets
    }
    problem = _problem(candidates, spreads, settings, settings.budget)
    allocation, packing = _fit(candidates, spreads, settings, problem)
    return Plan(
        target=target.name,
        settings=settings,
        device=device,
        candidates=candidates,
        spreads=spreads,
        allocation=allocation,
        packing=packing,
        points=tuple(curve(problem, settings.solver_seconds)),
    )


def _candidates(
    found: Survey, config: Config, settings: Settings, dataset: str, device: str
) -> list[Candidate]:
    """Return the rows of a data set's table whose runs are asked for."""
    entry, plan = config.comparison("rts", dataset), config.plan("rts", dataset)
    seeds = list(entry.get("seeds", config.values["seeds"]))
    further = (seed for seed in range(10**6) if seed not in seeds)
    seeds += [next(further) for _ in range(settings.maximum_seeds - len(seeds))]
    work = found.workloads[dataset, plan["model"]]
    current = {(run.method, run.seed) for run in work.finished if run.current}
    return [
        Candidate(
            dataset=dataset,
            model=plan["model"],
            method=row["method"],
            section=row["section"],
            reference=row["reference"],
            seeds=tuple(seeds[: settings.maximum_seeds]),
            finished=frozenset(seed for method, seed in current if method == row["method"]),
            seconds=work.seconds(row["method"], device),
        )
        for row in plan["rows"]
        if row["seeds"]
    ]


def _check_priorities(settings: Settings, candidates: Sequence[Candidate]) -> None:
    known = [c.method for c in candidates]
    for method in settings.priorities:
        if method not in known:
            raise PerturbError(
                f"config, plan.priorities: '{method}' is no method of this target."
                f"{did_you_mean(method, known)}"
            )


def _problem(
    candidates: Sequence[Candidate],
    spreads: Mapping[str, Spread],
    settings: Settings,
    longest: float,
) -> Problem:
    """Return the allocation that is asked for, with runs of at most `longest` seconds."""
    # One design for all: with several data sets, the correlation of the least correlated.
    correlation = min(spread.correlation for spread in spreads.values())
    return Problem(
        arms=tuple(
            c.arm(spreads[c.dataset].sd, settings.priorities.get(c.method, 1.0), longest)
            for c in candidates
        ),
        budget=settings.budget * settings.gpus,
        design=Design(settings.intervals == "paired", correlation),
        minimum=settings.minimum_seeds,
        resolve=settings.resolve if settings.keep == "resolved" else None,
    )


def _fit(
    candidates: Sequence[Candidate],
    spreads: Mapping[str, Spread],
    settings: Settings,
    problem: Problem,
) -> tuple[Allocation, Packing]:
    """Return the best allocation whose runs are done on the GPUs within the budget's hours.

    The whole budget is tried first. Runs are not divisible, so where they do not fit on the GPUs
    side by side, the device time is lowered by bisection, down to the least that allows any.
    """

    def attempt(budget: float) -> tuple[Allocation, Packing]:
        bought = allocate(replace(problem, budget=budget), settings.solver_seconds)
        return bought, _pack(candidates, bought, settings)

    try:
        best = attempt(problem.budget)
    except Infeasible as error:
        raise _too_small(candidates, spreads, settings, str(error)) from None
    if best[1].makespan <= settings.budget:
        return best
    low, high = _least(problem, settings), problem.budget
    best = attempt(low)
    if best[1].makespan > settings.budget:
        raise _too_small(candidates, spreads, settings, "the runs do not fit side by side.")
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        tried = attempt(middle)
        if tried[1].makespan <= settings.budget:
            best, low = tried, middle
        else:
            high = middle
    return best


def _pack(candidates: Sequence[Candidate], bought: Allocation, settings: Settings) -> Packing:
    tasks = [
        Task(f"{c.dataset}/{c.model}/{c.method}/seed{seed}", c.seconds)
        for c in candidates
        for seed in _seeds(c, bought)
        if seed not in c.finished
    ]
    return pack(tasks, settings.gpus, settings.wall_time, settings.solver_seconds)


def _least(problem: Problem, settings: Settings) -> float:
    """Return the least device time of an allocation, infinite where there is none."""
    try:
        allocate(replace(problem, budget=0.0), settings.solver_seconds)
    except Infeasible as error:
        return error.smallest
    return 0.0


def _too_small(
    candidates: Sequence[Candidate],
    spreads: Mapping[str, Spread],
    settings: Settings,
    reason: str,
) -> PerturbError:
    """Return the error of a budget that is too small: it says the smallest that fits."""
    problem = _problem(candidates, spreads, settings, math.inf)
    least = _least(problem, settings)
    if math.isinf(least):
        return PerturbError(f"plan: {reason}")
    bought = allocate(replace(problem, budget=least), settings.solver_seconds)
    minutes = math.ceil(_pack(candidates, bought, settings).makespan / 60)
    gpus = "1 GPU" if settings.gpus == 1 else f"{settings.gpus} GPUs"
    return PerturbError(
        f"plan: a budget of {duration(settings.budget)} on {gpus} is too small: {reason} "
        f"The smallest that fits is {duration(60 * minutes)} (budget={minutes}m)."
    )


def config_text(plan: Plan, config: Config) -> str:
    """Return the plan as a config file: the rows of its tables with their seeds.

    Rows that get none are listed with `run: false`; landscapes are of chosen runs only.
    """
    datasets: dict[str, Any] = {}
    for name in dict.fromkeys(c.dataset for c in plan.candidates):
        entry = config.comparison("rts", name)
        chosen = {c.method: seeds for c, seeds in plan.chosen if c.dataset == name}
        rows = [_row(row, chosen.get(row["method"])) for row in entry["methods"]]
        datasets[name] = {"methods": rows}
        drawn = config.landscape(name)
        if drawn:
            methods = [
                method
                for method in drawn["methods"]
                if set(drawn["seeds"]) <= set(chosen.get(method, []))
            ]
            datasets[name]["landscape"] = entry["landscape"] | {"methods": methods}
    values = {"datasets": list(datasets), "rts": {"datasets": datasets}}
    header = (
        f"# Written by `snakemake plan`: {plan.target}, {duration(plan.settings.budget)} on "
        f"{plan.settings.gpus} x {plan.device}.\n# Seeds of each method; the rest of the config "
        "holds as it is.\n"
    )
    return header + yaml.safe_dump(
        values, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
    )


def _row(row: Mapping[str, Any], seeds: Sequence[int] | None) -> dict[str, Any]:
    """Return a row of the study with its seeds; None: it was not asked for, and stays so."""
    rest = {key: value for key, value in row.items() if key not in ("seeds", "run")}
    return rest | ({"seeds": list(seeds)} if seeds else {"run": False})


def schedule_text(plan: Plan) -> str:
    """Return the packed jobs as CSV: a line for what each job does of each run, in hours."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("job", "gpu", "start_hours", "end_hours", "run", "part", "parts"))
    for p in plan.packing.parts:
        hours = (f"{p.start / 3600:.4f}", f"{p.end / 3600:.4f}")
        writer.writerow((p.job, p.gpu, *hours, p.run, p.part, p.parts))
    return text.getvalue()


def text(plan: Plan) -> str:
    """Return the plan in lines: seeds and half-width by method, then what was solved how well."""
    bought, packing, settings = plan.allocation, plan.packing, plan.settings
    width = max(len(c.name) for c in plan.candidates)
    lines = [f"{'method':{width}}  finished  seeds  half-width (points)  compared with"]
    for candidate, seeds in plan.chosen:
        half = bought.half_widths.get(candidate.name)
        kept = f"{half:19.3f}  {candidate.reference}" if half else f"{'':19}  -"
        done = sum(seed in candidate.finished for seed in seeds)
        lines.append(f"{candidate.name:{width}}  {done:8}  {len(seeds):5}  {kept}")
    solved = (
        "proven optimal" if bought.proven else f"not proven: sum of widths within {bought.gap:.2%}"
    )
    packed = packing.method + (
        ", within .1 % of the shortest" if packing.proven else ", the shortest found"
    )
    lines += [
        "",
        *(_spread_line(name, s) for name, s in plan.spreads.items()),
        f"budget      {duration(settings.budget)} on {settings.gpus} x {plan.device}",
        f"to do       {bought.runs} runs, {duration(bought.cost)} of device time",
        f"widest      95 % interval: +- {bought.widest:.3f} points, "
        f"{len(bought.half_widths)} comparisons, {settings.intervals}, not corrected",
        f"solver      {bought.solver_seconds:.1f} s, {solved}",
        f"makespan    {duration(packing.makespan)} in {packing.jobs} jobs of at most "
        f"{duration(settings.wall_time)} ({packed}, {packing.solver_seconds:.1f} s)",
        f"at least    {duration(packing.lower_bound)} on so many GPUs, whatever the order",
    ]
    return "\n".join(lines)


def _spread_line(dataset: str, found: Spread) -> str:
    if not found.methods:
        return f"{dataset}: sd {found.sd:.3f} points, plan.noise_floor, as nothing ran twice"
    return (
        f"{dataset}: sd {found.sd:.3f} points over seeds, correlation at one seed "
        f"{found.correlation:.2f}, of {found.methods} methods' finished runs"
    )
