"""From a budget to a config file: which seeds it buys, when they go, and both in words."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import yaml

from perturb import studies
from perturb.analysis.plan import Plan as Comparison
from perturb.config import Config
from perturb.errors import PerturbError, did_you_mean
from perturb.planning.allocation import Allocation, Arm, Infeasible, Problem, allocate, curve
from perturb.planning.packing import Packing, Task, pack
from perturb.planning.precision import Design
from perturb.planning.recorded import Spread, spread
from perturb.planning.settings import Settings, duration
from perturb.planning.survey import Survey, chosen_device
from perturb.runs import Run
from perturb.study import Chapter

_BISECTIONS = 6


@dataclass(frozen=True)
class Candidate:
    """A row of a chapter's table, and the seeds that it may get, in their order.

    `reference` is the method that it is compared with.
    """

    chapter: str
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
        return f"{self.chapter}/{self.method}"

    def run(self, seed: int) -> Run:
        """Return its run of a seed."""
        return Run(self.dataset, self.model, self.method, seed)

    def arm(self, sd: float, priority: float, longest: float) -> Arm:
        """Return the arm; what has a run left to do of more than `longest` seconds is out."""
        todo = [
            sum(seed not in self.finished for seed in self.seeds[:n])
            for n in range(len(self.seeds) + 1)
        ]
        costs = (
            float(n * self.seconds) if self.seconds <= longest or not n else math.inf for n in todo
        )
        compared = f"{self.chapter}/{self.reference}" if self.reference != self.method else None
        return Arm(self.name, compared, tuple(costs), tuple(todo), sd, priority)


@dataclass(frozen=True)
class Plan:
    """What a budget buys: an allocation over the candidates and its schedule.

    Args:
        target: name of the plan's files.
        chapters: whose seeds were chosen.
        unit: of half-widths and spreads, such as points.
        spreads: by chapter.
        fixed: runs to do whose seeds are not chosen, with their seconds.
        points: of the curve of budgets (`allocation.curve`).
    """

    target: str
    settings: Settings
    device: str
    chapters: tuple[Chapter, ...]
    unit: str
    candidates: tuple[Candidate, ...]
    spreads: Mapping[str, Spread]
    allocation: Allocation
    packing: Packing
    points: tuple[tuple[float, float], ...]
    fixed: tuple[Task, ...] = ()

    @property
    def chosen(self) -> list[tuple[Candidate, list[int]]]:
        """Each candidate with its seeds; none where it is not run and nothing of it is there."""
        return [(c, _seeds(c, self.allocation)) for c in self.candidates]


def _seeds(candidate: Candidate, allocation: Allocation) -> list[int]:
    """Return a candidate's chosen seeds; of one that is left out, those that are finished."""
    seeds = candidate.seeds[: allocation.seeds[candidate.name]]
    return list(seeds) or sorted(candidate.finished)


@dataclass(frozen=True)
class _Question:
    """What is asked of a budget: candidates, their spreads, and runs that are made anyway."""

    candidates: tuple[Candidate, ...]
    spreads: Mapping[str, Spread]
    settings: Settings
    unit: str
    fixed: tuple[Task, ...]
    device: str = ""

    @property
    def places(self) -> str:
        """What runs go on at once, in words: GPUs, or without one the number of them at a time."""
        number = self.settings.gpus
        if self.device.startswith("cpu"):
            return f"with {number} run{'' if number == 1 else 's'} at a time"
        return f"on {number} GPU{'' if number == 1 else 's'}"

    @property
    def budget(self) -> float:
        """Seconds of all devices together that are left for the candidates."""
        left = self.settings.budget * self.settings.gpus - sum(task.seconds for task in self.fixed)
        return max(left, 0.0)

    def problem(self, longest: float) -> Problem:
        """Return the allocation that is asked for, with runs of at most `longest` seconds."""
        # One design for all: with several chapters, the correlation of the least correlated.
        correlation = min(found.correlation for found in self.spreads.values())
        settings = self.settings
        return Problem(
            arms=tuple(
                c.arm(self.spreads[c.chapter].sd, settings.priorities.get(c.method, 1.0), longest)
                for c in self.candidates
            ),
            budget=self.budget,
            design=Design(settings.intervals == "paired", correlation),
            minimum=settings.minimum_seeds,
            resolve=settings.resolve if settings.keep == "resolved" else None,
            unit=self.unit,
        )

    def pack(self, bought: Allocation) -> Packing:
        """Return the schedule of what an allocation leaves to do, and of the fixed runs."""
        tasks = {
            str(c.run(seed)): c.seconds
            for c in self.candidates
            for seed in _seeds(c, bought)
            if seed not in c.finished
        }
        tasks |= {task.name: task.seconds for task in self.fixed}
        settings = self.settings
        return pack(
            [Task(*task) for task in tasks.items()],
            settings.gpus,
            settings.wall_time,
            settings.solver_seconds,
        )


def make_plan(found: Survey, config: Config, settings: Settings) -> Plan:
    """Return the plan of a budget; PerturbError where nothing fits, with the least that does."""
    chapters = _choosable(found)
    device = chosen_device(found, settings.device)
    candidates = tuple(
        c for chapter in chapters for c in _candidates(found, settings, chapter, device)
    )
    _check_priorities(settings, candidates)
    question = _Question(
        candidates=candidates,
        spreads={
            chapter.name: _spread(found, settings, chapter, candidates) for chapter in chapters
        },
        settings=settings,
        unit=" or ".join(dict.fromkeys(c.measure.difference_unit or "units" for c in chapters)),
        fixed=_fixed(found, chapters, device),
        device=device,
    )
    allocation, packing = _fit(question)
    return Plan(
        target=found.target.name,
        settings=settings,
        device=device,
        chapters=chapters,
        unit=question.unit,
        candidates=candidates,
        spreads=question.spreads,
        allocation=allocation,
        packing=packing,
        points=tuple(curve(question.problem(settings.budget), settings.solver_seconds)),
        fixed=question.fixed,
    )


def _choosable(found: Survey) -> tuple[Chapter, ...]:
    """Return the target's chapters whose seeds can be chosen; PerturbError where there is none."""
    target = found.target
    if not target.chapters:
        raise PerturbError(
            f"plan: a budget chooses the seeds of a table; '{target.path}' is none. "
            "Give target=<a chapter> or leave the budget out."
        )
    chosen = tuple(
        chapter
        for chapter in target.chapters
        if "plan" in chapter.settings and studies.get(chapter.study).with_seeds
    )
    if not chosen:
        study = target.chapters[0].study
        raise PerturbError(
            f"plan: a budget cannot choose the seeds of study {study}, which '{target.path}' is "
            "of. Leave the budget out, or give target=<a chapter of another study>."
        )
    return chosen


def _candidates(
    found: Survey, settings: Settings, chapter: Chapter, device: str
) -> list[Candidate]:
    """Return the rows of a chapter's table whose runs are asked for."""
    plan = Comparison.of(chapter.settings["plan"])
    rows = [row for row in plan.rows if row.seeds]
    seeds = list(dict.fromkeys(seed for row in rows for seed in row.seeds))
    further = (seed for seed in count() if seed not in seeds)
    seeds += [next(further) for _ in range(settings.maximum_seeds - len(seeds))]
    candidates = []
    for row in rows:
        model = row.model or plan.model
        work = found.workloads[chapter.study, plan.dataset, model]
        current = [*(run.run for run in work.finished if run.current), *found.stored]
        candidates.append(
            Candidate(
                chapter=chapter.name,
                dataset=plan.dataset,
                model=model,
                method=row.method,
                section=row.section,
                reference=row.reference or plan.reference,
                seeds=tuple(seeds[: settings.maximum_seeds]),
                finished=frozenset(
                    run.seed
                    for run in current
                    if (run.dataset, run.model, run.method) == (plan.dataset, model, row.method)
                ),
                seconds=work.seconds(row.method, device),
            )
        )
    return candidates


def _spread(
    found: Survey, settings: Settings, chapter: Chapter, candidates: Sequence[Candidate]
) -> Spread:
    """Return the spread of a chapter's measure, as its finished runs show it."""
    mine = [c for c in candidates if c.chapter == chapter.name]
    groups = dict.fromkeys((chapter.study, c.dataset, c.model) for c in mine)
    return spread(
        [run for group in groups for run in found.workloads[group].finished],
        {c.method: c.reference for c in mine if c.method != c.reference},
        settings.noise_floor,
        chapter.measure,
    )


def _fixed(found: Survey, chapters: Sequence[Chapter], device: str) -> tuple[Task, ...]:
    """Return the target's runs that are to do and of no chapter whose seeds are chosen."""
    left = {run for chapter in chapters for run in (*chapter.runs, *chapter.landscape_runs)}
    left |= found.stored
    for work in found.workloads.values():
        left |= {run.run for run in work.finished if run.current}
    tasks = []
    for run in (run for run in found.target.runs if run not in left):
        study = studies.of_method(run.method).name
        work = found.workloads[study, run.dataset, run.model]
        tasks.append(Task(str(run), work.seconds(run.method, device)))
    return tuple(tasks)


def _check_priorities(settings: Settings, candidates: Sequence[Candidate]) -> None:
    known = [c.method for c in candidates]
    for method in settings.priorities:
        if method not in known:
            raise PerturbError(
                f"config, plan.priorities: '{method}' is no method of this target."
                f"{did_you_mean(method, known)}"
            )


def _fit(question: _Question) -> tuple[Allocation, Packing]:
    """Return the best allocation whose runs are done on the GPUs within the budget's hours.

    The whole budget is tried first. Runs are not divisible, so where they do not fit on the GPUs
    side by side, the device time is lowered by bisection, down to the least that allows any.
    """
    settings = question.settings
    problem = question.problem(settings.budget)

    def attempt(budget: float) -> tuple[Allocation, Packing]:
        bought = allocate(replace(problem, budget=budget), settings.solver_seconds)
        return bought, question.pack(bought)

    try:
        best = attempt(problem.budget)
    except Infeasible as error:
        raise _too_small(question, error) from None
    if best[1].makespan <= settings.budget:
        return best
    low, high = _least(problem, settings), problem.budget
    best = attempt(low)
    if best[1].makespan > settings.budget:
        raise _too_small(question, None)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        tried = attempt(middle)
        if tried[1].makespan <= settings.budget:
            best, low = tried, middle
        else:
            high = middle
    return best


def _least(problem: Problem, settings: Settings) -> float:
    """Return the least device time of an allocation; Infeasible where there is none."""
    try:
        allocate(replace(problem, budget=0.0), settings.solver_seconds)
    except Infeasible as error:
        if math.isinf(error.smallest):
            raise
        return error.smallest
    return 0.0


def _too_small(question: _Question, error: Infeasible | None) -> PerturbError:
    """Return the error of a budget that is too small: it says the smallest that fits.

    `error` says why nothing is bought; None: runs were bought that do not fit side by side. Where
    no budget is enough, that is all it says.
    """
    settings, problem = question.settings, question.problem(math.inf)
    try:
        least = _least(problem, settings)
    except Infeasible as never:
        return PerturbError(f"plan: {never}")
    reason = "the runs do not fit side by side." if error is None else str(error)
    if error is not None and math.isinf(error.smallest):  # infinite with runs of the budget only
        longest = max(question.candidates, key=lambda c: c.seconds)
        reason = f"a run of {longest.method} alone takes {duration(longest.seconds)}."
    bought = allocate(replace(problem, budget=least), settings.solver_seconds)
    minutes = math.ceil(question.pack(bought).makespan / 60)
    return PerturbError(
        f"plan: a budget of {duration(settings.budget)} {question.places} is too small: {reason} "
        f"The smallest that fits is {duration(60 * minutes)} (budget={minutes}m)."
    )


def config_text(plan: Plan, config: Config) -> str:
    """Return the plan as a config file: its chapters, and the sections of their studies.

    What these say is the studies' own matter (`Study.with_seeds`).
    """
    sections: dict[str, Any] = {}
    for chapter in plan.chapters:
        study = studies.get(chapter.study)
        seeds = {c.method: seeds for c, seeds in plan.chosen if c.chapter == chapter.name}
        section = study.with_seeds(config, chapter, seeds)
        sections[study.name] = _merged(sections.get(study.name, {}), section)
    values = {"chapters": [chapter.name for chapter in plan.chapters], **sections}
    header = (
        f"# Written by `snakemake plan`: {plan.target}, {duration(plan.settings.budget)} on "
        f"{plan.settings.gpus} x {plan.device}.\n# Seeds of each method; the rest of the config "
        "holds as it is.\n"
    )
    return header + yaml.safe_dump(
        values, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
    )


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return two sections as one, as Snakemake merges configuration files."""
    found = dict(one)
    for key, value in other.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found


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
    width, head = max(len(c.name) for c in plan.candidates), f"half-width ({plan.unit})"
    lines = [f"{'method':{width}}  finished  seeds  {head}  compared with"]
    for candidate, seeds in plan.chosen:
        half = bought.half_widths.get(candidate.name)
        kept = f"{half:{len(head)}.3f}  {candidate.reference}" if half else f"{'':{len(head)}}  -"
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
        *(_spread_line(name, s, plan.unit) for name, s in plan.spreads.items()),
        f"budget      {duration(settings.budget)} on {settings.gpus} x {plan.device}",
        f"to do       {bought.runs} runs, {duration(bought.cost)} of device time",
        *_fixed_line(plan),
        f"widest      95 % interval: +- {bought.widest:.3f} {plan.unit}, "
        f"{len(bought.half_widths)} comparisons, {settings.intervals}, not corrected",
        f"solver      {bought.solver_seconds:.1f} s, {solved}",
        f"makespan    {duration(packing.makespan)} in {packing.jobs} jobs of at most "
        f"{duration(settings.wall_time)} ({packed}, {packing.solver_seconds:.1f} s)",
        f"at least    {duration(packing.lower_bound)} with as many at once, whatever the order",
    ]
    return "\n".join(lines)


def _fixed_line(plan: Plan) -> list[str]:
    if not plan.fixed:
        return []
    seconds = duration(sum(task.seconds for task in plan.fixed))
    return [f"besides     {len(plan.fixed)} runs whose seeds are not chosen, {seconds}"]


def _spread_line(chapter: str, found: Spread, unit: str) -> str:
    if not found.methods:
        return f"{chapter}: sd {found.sd:.3f} {unit}, plan.noise_floor, as nothing ran twice"
    return (
        f"{chapter}: sd {found.sd:.3f} {unit} over seeds, correlation at one seed "
        f"{found.correlation:.2f}, of {found.methods} methods' finished runs"
    )
