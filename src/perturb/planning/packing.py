"""When each run goes: runs packed into jobs of a wall-time limit on k GPUs, done soonest.

A run stays on one GPU. One that is longer than the limit spans several jobs there, for it goes on
from its checkpoint, so the makespan is that of identical parallel machines, P||Cmax.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pulp

_TOLERANCE = 1e-3  # of the makespan: timings are not known better, so no solver looks for less


@dataclass(frozen=True)
class Task:
    """A run by name, and its whole seconds, above 0."""

    name: str
    seconds: int


@dataclass(frozen=True)
class Part:
    """What one job does of one run: seconds from the plan's start; `part` of `parts` jobs."""

    job: int
    gpu: int
    start: float
    end: float
    run: str
    part: int
    parts: int


@dataclass(frozen=True)
class Packing:
    """A schedule. `makespan` and `lower_bound` in seconds.

    `proven` says that no schedule is shorter by more than a thousandth.
    """

    parts: tuple[Part, ...]
    makespan: float
    lower_bound: float
    proven: bool
    method: str
    solver_seconds: float

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return len({part.job for part in self.parts})


def lower_bound(seconds: Sequence[float], gpus: int) -> float:
    """Return what no schedule on `gpus` identical GPUs is shorter than.

    The longest run; all of them shared out evenly; and, as of the q k + 1 longest q + 1 must share
    a GPU, the sum of the q + 1 shortest of those (Dell'Amico and Martello 1995, L1 and L2).
    """
    longest = sorted(seconds, reverse=True)
    bounds = [max(longest, default=0.0), sum(longest) / gpus]
    for q in range(1, (len(longest) - 1) // gpus + 1):
        bounds.append(sum(longest[q * gpus - q : q * gpus + 1]))
    return max(bounds)


def pack(tasks: Sequence[Task], gpus: int, limit: float, seconds: float = 20.0) -> Packing:
    """Return the schedule with the shortest makespan that is found within the solver's `seconds`.

    Longest processing time first (Graham 1969, at most 4/3 - 1/3k of the shortest); where that
    does not meet the lower bound, an integer program over how many runs of each length go to
    each GPU. `limit` is the wall time of a job in seconds.
    """
    start = time.perf_counter()
    bound = lower_bound([task.seconds for task in tasks], gpus)
    loads = _longest_first(tasks, gpus)
    found, proven, method = loads, True, "longest first"
    if _makespan(loads) > bound * (1 + _TOLERANCE):
        better, proven = _program(tasks, gpus, math.ceil(bound - 1e-9), _makespan(loads), seconds)
        if better is not None:
            found, method = better, "integer program"
    return Packing(
        parts=tuple(_jobs(found, limit)),
        makespan=_makespan(found),
        lower_bound=bound,
        proven=proven,
        method=method,
        solver_seconds=time.perf_counter() - start,
    )


def _makespan(loads: Sequence[Sequence[Task]]) -> float:
    return float(max(sum(task.seconds for task in load) for load in loads))


def _longest_first(tasks: Sequence[Task], gpus: int) -> list[list[Task]]:
    """Give each run, the longest first, to the GPU that is free first."""
    loads: list[list[Task]] = [[] for _ in range(gpus)]
    free = [(0, gpu) for gpu in range(gpus)]
    for task in sorted(tasks, key=lambda task: (-task.seconds, task.name)):
        busy, gpu = heapq.heappop(free)
        loads[gpu].append(task)
        heapq.heappush(free, (busy + task.seconds, gpu))
    return loads


def _program(
    tasks: Sequence[Task], gpus: int, least: int, most: float, seconds: float
) -> tuple[list[list[Task]] | None, bool]:
    """Return a schedule shorter than `most`, None where there is none, and whether that is proven.

    Runs of one length are one class, so that exchanging them is no other solution.
    """
    lengths = Counter(task.seconds for task in tasks)
    program = pulp.LpProblem("makespan", pulp.LpMinimize)
    end = pulp.LpVariable("makespan", least, most - 1, "Integer")
    counts = {
        (length, gpu): pulp.LpVariable(f"x{length}_{gpu}", 0, count, "Integer")
        for length, count in lengths.items()
        for gpu in range(gpus)
    }
    program += end
    for length, count in lengths.items():
        program += pulp.lpSum(counts[length, gpu] for gpu in range(gpus)) == count
    loads = [pulp.lpSum(n * counts[n, gpu] for n in lengths) for gpu in range(gpus)]
    for load, following in zip(loads, [*loads[1:], None], strict=True):
        program += load <= end
        if following is not None:  # GPUs are alike: the order of their loads is free
            program += following <= load
    program.solve(
        pulp.PULP_CBC_CMD(
            msg=False,
            timeLimit=seconds,
            threads=1,
            gapRel=_TOLERANCE,
            options=["randomSeed 1"],
        )
    )
    if program.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return None, program.status == pulp.LpStatusInfeasible
    waiting: dict[int, list[Task]] = {length: [] for length in lengths}
    for task in sorted(tasks, key=lambda task: task.name, reverse=True):
        waiting[task.seconds].append(task)
    found = [
        [
            waiting[n].pop()
            for n in sorted(lengths, reverse=True)
            for _ in range(_whole(counts, n, gpu))
        ]
        for gpu in range(gpus)
    ]
    return found, program.sol_status == pulp.LpSolutionOptimal


def _whole(counts: dict, length: int, gpu: int) -> int:
    return round(counts[length, gpu].value())


def _jobs(loads: Sequence[Sequence[Task]], limit: float) -> list[Part]:
    """Cut what each GPU does into jobs of at most `limit` seconds, one after the other.

    A run that still fits goes into the open job; one that fits no job at all is cut at the limit.
    """
    parts: list[Part] = []
    job = 0
    for gpu, load in enumerate(loads):
        at, left = 0.0, 0.0
        for task in load:
            pieces = []
            whole = float(task.seconds)
            if whole > left and left < limit:
                left = 0.0
            while whole > 1e-6:
                if left <= 1e-6:
                    job, left = job + 1, limit
                took = min(whole, left)
                pieces.append((job, at, at + took))
                at, left, whole = at + took, left - took, whole - took
            for number, (of_job, start, end) in enumerate(pieces, 1):
                parts.append(Part(of_job, gpu, start, end, task.name, number, len(pieces)))
    return parts
