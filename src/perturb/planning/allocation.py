"""Which seeds a budget buys: the widest interval of the comparisons as narrow as can be.

A mixed-integer program. The half-width of every comparison is a table over the two numbers of
seeds, so each pair of numbers is a variable of its own and nothing is approximated. Methods that
cost the same, spread alike and share a reference are one class with a count, for which of them
gets which seeds changes nothing. The objectives are ranked: a later one never costs an earlier.

The widest interval is a bottleneck objective; it is found by bisection over the finite set of
half-widths (Edmonds and Fulkerson 1970), each step the cheapest allocation without wider ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import pulp

from perturb.errors import PerturbError
from perturb.planning.precision import Design
from perturb.planning.settings import duration

_UNITS = 1e4  # half-widths are whole ten-thousandths of their unit: stages compare exactly
_CURVE_POINTS = 12
_GAP = 1e-3  # of the sum of half-widths: nearer to its optimum nobody would see a difference


@dataclass(frozen=True)
class Arm:
    """A method whose number of seeds is asked for.

    `costs[n]` are the whole seconds that n seeds take beside what is finished (from n = 0 on; they
    do not fall, and are infinite where n seeds cannot be had); `todo[n]` the runs. `reference` is
    the arm that it is compared with, None for one that is only compared against; `sd` is in
    shown units of the measure, such as percentage points.
    """

    name: str
    reference: str | None
    costs: tuple[float, ...]
    todo: tuple[int, ...]
    sd: float
    priority: float = 1.0


@dataclass(frozen=True)
class Problem:
    """Arms, budget (seconds of all devices together) and rules of an allocation.

    With `resolve` methods are chosen: only those kept whose comparison resolves that difference, as
    many by priority as can be. Without it every comparison is kept. `unit` is that of differences.
    """

    arms: tuple[Arm, ...]
    budget: float
    design: Design = field(default_factory=Design)
    minimum: int = 3
    resolve: float | None = None
    unit: str = "points"


@dataclass(frozen=True)
class Allocation:
    """Seeds by arm (0: not run), and what they come to.

    `half_widths` by compared arm, in the unit of the arms' sd; `cost` seconds; `runs` to do.
    `proven` says that every stage was solved to its optimum in time, the sum of half-widths to a
    thousandth; `gap` is how far that sum may lie above its bound where not, as a share.
    """

    seeds: dict[str, int]
    half_widths: dict[str, float]
    cost: float
    runs: int
    proven: bool
    gap: float
    solver_seconds: float

    @property
    def widest(self) -> float:
        """The widest half-width of a comparison, in the arms' unit; 0 where none is kept."""
        return max(self.half_widths.values(), default=0.0)


class Infeasible(PerturbError):
    """No allocation fits; `smallest` is the least cost (seconds of all devices) of one."""

    def __init__(self, message: str, smallest: float) -> None:
        super().__init__(message)
        self.smallest = smallest


@dataclass(frozen=True)
class _Class:
    """Arms between which an allocation makes no difference."""

    members: tuple[str, ...]
    arm: Arm


@dataclass(frozen=True)
class _Pair:
    """One choice for a class: n seeds against m of its reference, and the half-width in units."""

    group: int
    n: int
    m: int
    width: int


@dataclass(frozen=True)
class _Solution:
    """What a stage chose: how many arms of which pair, seeds of references; its value and proof."""

    pairs: dict[_Pair, int]
    references: dict[str, int]
    cost: float
    runs: int
    width: int
    kept: float

    @property
    def widest(self) -> int:
        """The widest half-width chosen, in units."""
        return max((pair.width for pair in self.pairs), default=0)


class _Program:
    """The variables and constraints that every stage shares."""

    def __init__(self, problem: Problem, seconds: float) -> None:
        self.problem = problem
        self.deadline = time.perf_counter() + seconds
        self.arms = {arm.name: arm for arm in problem.arms}
        self.references = [
            name for name in self.arms if name in {arm.reference for arm in problem.arms}
        ]
        self.classes = _classes(problem.arms, self.references)
        self.pairs = [pair for group in range(len(self.classes)) for pair in self._pairs(group)]
        self.widths = sorted({pair.width for pair in self.pairs})

    def _pairs(self, group: int) -> list[_Pair]:
        """Return a class's choices: per number of the reference's seeds, none that is dominated."""
        arm, problem = self.classes[group].arm, self.problem
        reference = self.arms[arm.reference]
        found = []
        for m in _counts(reference, problem):
            widest = math.inf
            for n in _counts(arm, problem):
                numbers = (arm.sd, n, reference.sd, m)
                width = _half_width(problem.design, *numbers)
                useful = width < widest or arm.name in self.references
                if problem.resolve is not None:
                    useful &= _resolves(problem.design, problem.resolve, *numbers)
                if useful:
                    found.append(_Pair(group, n, m, width))
                    widest = width
        return found

    def solve(self, objective: str, **bounds: float | None) -> tuple[_Solution | None, bool]:
        """Return the best allocation under bounds, None where there is none, and whether proven.

        Objectives: least `cost`, sum of `width`s or `runs`, most `kept`. Bounds: see `_build`.
        """
        program, chosen, seeds, terms = self._build(objective, **bounds)
        program.solve(self._solver(_GAP if objective == "width" else 0.0))
        found = (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible)
        if program.sol_status not in found:
            return None, program.status == pulp.LpStatusInfeasible
        values = {name: sum(round(x.value()) * value for x, value in terms[name]) for name in terms}
        solution = _Solution(
            {pair: round(x.value()) for pair, x in chosen.items() if round(x.value())},
            {name: n for (name, n), y in seeds.items() if round(y.value())},
            **values,
        )
        return solution, program.sol_status == pulp.LpSolutionOptimal

    def bound(self, objective: str, **bounds: float | None) -> float:
        """Return what no allocation can be below: the optimum without whole numbers."""
        program, *_ = self._build(objective, **bounds)
        program.solve(pulp.PULP_CBC_CMD(msg=False, mip=False, threads=1))
        return pulp.value(program.objective)

    def _solver(self, gap: float) -> pulp.LpSolver:
        left = max(self.deadline - time.perf_counter(), 1.0)
        return pulp.PULP_CBC_CMD(
            msg=False, timeLimit=left, gapRel=gap, threads=1, options=["randomSeed 1"]
        )

    def _build(
        self,
        objective: str,
        *,
        widest: int | None = None,
        budget: float | None = None,
        kept: float | None = None,
        width: int | None = None,
    ) -> tuple[pulp.LpProblem, dict, dict, dict]:
        """Return a program, its variables of pairs and of references, and what each adds to what.

        Bounds: the `widest` half-width, the cost, the value `kept` (from below), the sum of
        half-widths.
        """
        program = pulp.LpProblem("seeds", pulp.LpMinimize)
        pairs = [p for p in self.pairs if widest is None or p.width <= widest]
        chosen = {
            pair: pulp.LpVariable(f"w{i}", 0, len(self.classes[pair.group].members), "Integer")
            for i, pair in enumerate(pairs)
        }
        seeds = {
            (name, n): pulp.LpVariable(f"y{i}_{n}", cat="Binary")
            for i, name in enumerate(self.references)
            for n in _counts(self.arms[name], self.problem)
        }
        terms = self._terms(chosen, seeds)
        sums = {name: pulp.lpSum(x * value for x, value in terms[name]) for name in terms}
        program += -sums["kept"] if objective == "kept" else sums[objective]
        self._constrain(program, chosen, seeds)
        for name, most in (("cost", budget), ("width", width)):
            if most is not None:  # in whole units, which brings relaxation and whole numbers closer
                unit = math.gcd(*(round(value) for _, value in terms[name])) or 1
                program += sums[name] / unit <= most // unit
        if kept is not None:
            program += sums["kept"] >= kept - 1e-6
        return program, chosen, seeds, terms

    def _terms(self, chosen: dict, seeds: dict) -> dict[str, list[tuple[pulp.LpVariable, float]]]:
        """Return what each variable adds to cost, runs, sum of half-widths and value kept."""
        terms: dict[str, list] = {"cost": [], "runs": [], "width": [], "kept": []}
        for pair, x in chosen.items():
            group = self.classes[pair.group]
            terms["width"].append((x, pair.width))
            terms["kept"].append((x, group.arm.priority))
            if group.arm.name not in self.references:  # those pay with their own variable
                terms["cost"].append((x, group.arm.costs[pair.n]))
                terms["runs"].append((x, group.arm.todo[pair.n]))
        for (name, n), y in seeds.items():
            terms["cost"].append((y, self.arms[name].costs[n]))
            terms["runs"].append((y, self.arms[name].todo[n]))
        return terms

    def _constrain(self, program: pulp.LpProblem, chosen: dict, seeds: dict) -> None:
        """Ask for one choice a method, in agreement with its reference's number of seeds."""
        choose = self.problem.resolve is not None

        def bound(expression: pulp.LpAffineExpression, most: object) -> None:
            nonlocal program
            program += expression <= most if choose else expression == most

        for name in self.references:
            own = [y for (reference, _), y in seeds.items() if reference == name]
            bound(pulp.lpSum(own), 1)
        by_group: dict[int, dict[_Pair, pulp.LpVariable]] = {}
        for pair, x in chosen.items():
            by_group.setdefault(pair.group, {})[pair] = x
        for index, group in enumerate(self.classes):
            pairs, size = by_group.get(index, {}), len(group.members)
            for m in _counts(self.arms[group.arm.reference], self.problem):
                of_m = [x for pair, x in pairs.items() if pair.m == m]
                bound(pulp.lpSum(of_m), size * seeds[group.arm.reference, m])
            if group.arm.name in self.references:
                for n in _counts(group.arm, self.problem):
                    of_n = [x for pair, x in pairs.items() if pair.n == n]
                    bound(pulp.lpSum(of_n), seeds[group.arm.name, n])


def _counts(arm: Arm, problem: Problem) -> list[int]:
    """Return the numbers of seeds that an arm may get, 0 aside."""
    return [n for n in range(problem.minimum, len(arm.costs)) if math.isfinite(arm.costs[n])]


@cache
def _half_width(design: Design, sd: float, n: int, reference_sd: float, reference_n: int) -> int:
    return round(_UNITS * design.half_width(sd, n, reference_sd, reference_n))


@cache
def _resolves(design: Design, difference: float, *numbers: float) -> bool:
    return design.resolves(difference, *numbers)


def _classes(arms: Sequence[Arm], references: Sequence[str]) -> list[_Class]:
    """Return the compared arms, in classes; a reference is one of its own."""
    found: dict[tuple, list[Arm]] = {}
    for arm in arms:
        if arm.reference is not None:
            own = arm.name if arm.name in references else ""
            key = (own, arm.reference, arm.costs, arm.todo, arm.sd, arm.priority)
            found.setdefault(key, []).append(arm)
    return [_Class(tuple(a.name for a in same), same[0]) for same in found.values()]


def allocate(problem: Problem, seconds: float = 60.0) -> Allocation:
    """Return the best allocation; raises Infeasible, with the least cost of one, where none fits.

    In this order: the most methods kept, by priority (with `resolve`); the widest interval as
    narrow as can be; the sum of half-widths; the fewest runs. `seconds` bound the solver: where it
    does not get to the end, what it found is returned and not `proven`.
    """
    start = time.perf_counter()
    _check(problem)
    program = _Program(problem, seconds)
    first, proven = _first(program)
    best, all_proven = _narrowest(program, first)
    proven &= all_proven
    bounds = {"widest": best.widest, "budget": problem.budget, "kept": _floor(problem, first)}
    found, shown = program.solve("width", **bounds)
    gap = 0.0
    if found is not None and found.width <= best.width:
        best = found
    if not shown:
        gap = max(0.0, best.width / program.bound("width", **bounds) - 1)
    found, last = program.solve("runs", **bounds, width=best.width)
    seeds, widths = _spread_out(program, found or best)
    return Allocation(
        seeds=seeds,
        half_widths=widths,
        cost=sum(arm.costs[seeds[arm.name]] for arm in problem.arms),
        runs=sum(arm.todo[seeds[arm.name]] for arm in problem.arms),
        proven=proven and shown and last,
        gap=gap,
        solver_seconds=time.perf_counter() - start,
    )


def _first(program: _Program) -> tuple[_Solution, bool]:
    """Return the cheapest allocation, or that which keeps most; Infeasible where none fits."""
    problem = program.problem
    if problem.resolve is not None:
        best, proven = program.solve("kept", budget=problem.budget)
        if best is not None and best.kept > 0:
            return best, proven
        least = min((arm.priority for arm in problem.arms if arm.reference), default=1.0)
        cheapest, proven = program.solve("cost", kept=least)
        what = f"resolving {problem.resolve:g} {problem.unit} for one method"
    else:
        cheapest, proven = program.solve("cost")
        what = f"{problem.minimum} seeds of every method"
    if cheapest is None and not proven:
        raise PerturbError(
            f"plan: the solver found nothing for {what} in its time. Raise plan.solver_seconds."
        )
    if cheapest is None:
        most = max(len(arm.costs) - 1 for arm in problem.arms)
        raise Infeasible(
            f"no budget is enough for {what} with at most {most} seeds a method: raise "
            f"plan.maximum_seeds{' or plan.resolve' if problem.resolve is not None else ''}.",
            math.inf,
        )
    if cheapest.cost > problem.budget:
        raise Infeasible(
            f"{what} needs {duration(cheapest.cost)} of device time; the budget is "
            f"{duration(problem.budget)}.",
            cheapest.cost,
        )
    return cheapest, proven


def _floor(problem: Problem, first: _Solution) -> float | None:
    """Return the value that later stages must keep, None where every method is kept anyway."""
    return None if problem.resolve is None else first.kept


def _narrowest(program: _Program, first: _Solution) -> tuple[_Solution, bool]:
    """Return an allocation within the budget whose widest interval is as narrow as can be."""
    best, proven = first, True
    low, high = 0, program.widths.index(first.widest) if first.pairs else 0
    while low < high:
        middle = (low + high) // 2
        kept = _floor(program.problem, first)
        found, shown = program.solve("cost", widest=program.widths[middle], kept=kept)
        if found is not None and found.cost <= program.problem.budget:
            best, high = found, program.widths.index(found.widest)
        else:
            low = middle + 1
            proven &= shown
    return best, proven


def _spread_out(program: _Program, solution: _Solution) -> tuple[dict[str, int], dict[str, float]]:
    """Return seeds by arm and half-widths by compared arm that is kept.

    Within a class the arms that come first get more seeds. Finished seeds that cost nothing are
    taken along.
    """
    seeds = dict.fromkeys(program.arms, 0) | solution.references
    kept: list[str] = []
    for index, group in enumerate(program.classes):
        members = iter(group.members)
        own = [(pair, count) for pair, count in solution.pairs.items() if pair.group == index]
        for pair, count in sorted(own, key=lambda item: -item[0].n):
            for _, name in zip(range(count), members, strict=False):
                kept.append(name)
                if name not in program.references:
                    seeds[name] = pair.n
    for name, n in seeds.items():
        costs = program.arms[name].costs
        if n:
            seeds[name] = max(more for more in range(n, len(costs)) if costs[more] == costs[n])
    widths = {}
    for name in (name for name in program.arms if name in kept):
        arm = program.arms[name]
        reference = program.arms[arm.reference]
        numbers = (arm.sd, seeds[name], reference.sd, seeds[reference.name])
        widths[name] = program.problem.design.half_width(*numbers)
    return seeds, widths


def _check(problem: Problem) -> None:
    names = {arm.name for arm in problem.arms}
    if problem.minimum < 2:
        raise PerturbError("plan.minimum_seeds: an interval needs two seeds or more.")
    for arm in problem.arms:
        if arm.reference is not None and arm.reference not in names - {arm.name}:
            raise PerturbError(f"plan: {arm.name} is compared with {arm.reference}: no such arm.")


def curve(problem: Problem, seconds: float = 60.0) -> list[tuple[float, float]]:
    """Return points (seconds of all devices, value) of what budgets buy, cheapest first.

    The value is the widest half-width, at its least cost; with `resolve` the number of
    methods kept, by priority, under budgets up to twice the problem's.
    """
    program = _Program(problem, seconds)
    points = []
    if problem.resolve is None:
        step = -(-len(program.widths) // _CURVE_POINTS)
        for width in reversed(program.widths[::step]):
            found, _ = program.solve("cost", widest=width)
            if found is None:
                break
            points.append((found.cost, found.widest / _UNITS))
    else:
        for share in range(1, _CURVE_POINTS + 1):
            budget = 2 * problem.budget * share / _CURVE_POINTS
            found, _ = program.solve("kept", budget=budget)
            points.append((budget, found.kept if found else 0.0))
    return points
