"""Which jobs of a workflow are done, running, failed and to come, and about how long they take.

Fed with what Snakemake says (`perturb.jobs.display`). Pure: times are given, in seconds since 1970.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from perturb.jobs.status import Run, running

TOTAL = "total"  # what Snakemake calls the sum of its counts


@dataclass(frozen=True)
class Job:
    """A job as Snakemake numbers it: its rule, its name, when it began, its logs."""

    number: int
    rule: str
    name: str
    begun: float
    logs: tuple[Path, ...] = ()

    @property
    def title(self) -> str:
        """Return the rule and the name."""
        return f"{self.rule} {self.name}".rstrip()

    def training(self, now: float) -> Run | None:
        """Return how far its training is; None where it trains nothing, or has not begun to."""
        try:
            return running(self.name, self.logs[0], self.begun, now) if self.logs else None
        except (ValueError, KeyError, TypeError, OSError):  # `make status` says what is damaged
            return None

    def message(self) -> str:
        """Return the last that this job said in one of its logs, or nothing."""
        for log in reversed(self.logs):
            try:
                # What an earlier job left there says nothing about this one.
                if log.stat().st_mtime < self.begun - 1:
                    continue
                lines = log.read_text("utf-8", errors="replace").split("\n")
            except OSError:
                continue
            own = [line for line in lines if line.startswith("perturb: ")]
            said = own or [line for line in lines if line.strip()]
            if said:
                return said[-1].removeprefix("perturb: ").strip()
        return ""


@dataclass
class Tally:
    """The jobs of a workflow that began at `begun`, by rule in the order in which they come."""

    begun: float = 0.0
    totals: dict[str, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    running: dict[int, Job] = field(default_factory=dict)
    failed: dict[int, Job] = field(default_factory=dict)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    first: dict[str, float] = field(default_factory=dict)
    _trainings: dict[int, Run | None] = field(default_factory=dict)
    _looked: float = 0.0

    @property
    def total(self) -> int:
        """Return the number of all jobs that are known of."""
        return sum(self.totals.values())

    def plan(self, counts: Mapping[str, int], now: float) -> None:
        """Take the number of jobs of each rule."""
        self.totals = {rule: count for rule, count in counts.items() if rule != TOTAL and count}
        self.begun = now

    def begin(self, job: Job) -> None:
        """Take a job that begins, for the first time or again after it failed."""
        self.failed.pop(job.number, None)
        self.running[job.number] = job
        self.first.setdefault(job.rule, job.begun)
        seen = self.done[job.rule] + sum(
            other.rule == job.rule for other in (*self.running.values(), *self.failed.values())
        )
        # A checkpoint's end brings jobs that nobody had counted.
        self.totals[job.rule] = max(self.totals.get(job.rule, 0), seen)

    def end(self, number: int, now: float) -> Job | None:
        """Take a job that has ended well; None for one that is not known."""
        job = self.running.pop(number, None)
        if job:
            self.done[job.rule] += 1
            self.seconds[job.rule].append(now - job.begun)
        return job

    def fail(self, number: int) -> Job | None:
        """Take a job that has failed; None for one that is not known, or is said to fail again."""
        job = self.running.pop(number, None)
        if job:
            self.failed[number] = job
        return job

    def finished(self, rule: str) -> bool:
        """Whether all jobs of a rule have ended well."""
        return self.done[rule] >= self.totals.get(rule, 0)

    def trainings(self, now: float) -> dict[int, Run | None]:
        """Return how far the running jobs' training is, by number; read once a second at most."""
        if now - self._looked >= 1 or self._trainings.keys() != self.running.keys():
            self._trainings = {key: job.training(now) for key, job in self.running.items()}
            self._looked = now
        return self._trainings

    def left(self, now: float) -> float | None:
        """Return about how many seconds are left, by the mean of each rule's finished jobs.

        None while fewer than half of the jobs to come are of rules that have one. The others count
        as the mean of all. As many jobs as before will run at once.
        """
        waiting = Counter(self.totals)
        waiting.subtract(self.done)
        waiting.subtract(job.rule for job in (*self.running.values(), *self.failed.values()))
        means = {rule: mean(seconds) for rule, seconds in self.seconds.items()}
        timed = sum(count for rule, count in waiting.items() if rule in means)
        if not means or 2 * timed < sum(waiting.values()):
            return None
        ended = [seconds for of_rule in self.seconds.values() for seconds in of_rule]
        usual = mean(ended)
        going = []
        for job in self.running.values():
            training = self.trainings(now)[job.number]
            if training and training.left is not None:
                going.append(training.left)
            else:
                going.append(max(means.get(job.rule, usual) - (now - job.begun), 0.0))
        work = sum(count * means.get(rule, usual) for rule, count in waiting.items()) + sum(going)
        spent = sum(ended) + sum(now - job.begun for job in self.running.values())
        at_once = max(spent, 1e-9) / max(now - self.begun, 1e-9)
        return max(work / at_once, *going, 0.0)
