"""A workflow's progress as plain lines, for files and pipes (`perturb.jobs.display`)."""

from __future__ import annotations

import threading
import time
from typing import TextIO

from perturb.jobs.status import Run, duration
from perturb.jobs.tally import Job, Tally

# A line at least this often; of a long workflow as often as its length becomes a tenth longer.
FIRST_SECONDS, PART = 60.0, 0.1
SHOWN = 4  # jobs that run


def jobs(count: int) -> str:
    """Return a number of jobs in words."""
    return "1 job" if count == 1 else f"{count} jobs"


def doing(job: Job, training: Run | None) -> str:
    """Return what a job is at: its title, and its epoch where it trains."""
    if training is None or not training.of:
        return job.title
    return f"{job.title} (epoch {training.epochs} of {training.of})"


class Lines:
    """Prints a line when the last job of a rule has ended, and one now and then."""

    def __init__(self, stream: TextIO, lock: threading.RLock) -> None:
        self._stream = stream
        self._lock = lock
        self._printing = threading.Lock()
        self._tally = Tally()
        self._over = threading.Event()

    def begin(self, tally: Tally) -> None:
        """Say what is to be done."""
        self._tally = tally
        counts = ", ".join(f"{rule} {count}" for rule, count in tally.totals.items())
        self.say(f"{jobs(tally.total)} to do: {counts}")
        threading.Thread(target=self._now_and_then, daemon=True).start()

    def say(self, text: str, kind: str = "") -> None:
        """Print a line, the time before it."""
        with self._printing:
            for line in text.splitlines():
                print(time.strftime("%H:%M:%S"), line, file=self._stream, flush=True)

    def ended(self, job: Job) -> None:
        """Say that a rule is finished."""
        with self._lock:
            tally = self._tally
            # Without a time: jobs of other rules ran meanwhile. `perturb times` has what each took.
            text = f"{job.rule}: {jobs(tally.done[job.rule])} done{self._so_far()}"
            finished = tally.finished(job.rule)
        if finished:
            self.say(text)

    def close(self) -> None:
        """Say no more by itself."""
        self._over.set()

    def _now_and_then(self) -> None:
        wait = FIRST_SECONDS
        while not self._over.wait(wait):
            with self._lock:
                now, tally = time.time(), self._tally
                trainings = tally.trainings(now)
                at = [doing(job, trainings[key]) for key, job in tally.running.items()]
                more = f" and {len(at) - SHOWN} more" if len(at) > SHOWN else ""
                text = f"running: {', '.join(at[:SHOWN])}{more}{self._so_far()}"
            if at and not self._over.is_set():
                self.say(text)
            wait = max(FIRST_SECONDS, PART * (now - tally.begun))

    def _so_far(self) -> str:
        tally = self._tally
        left = tally.left(time.time())
        about = "" if left is None else f", about {duration(left)} left"
        return f" ({sum(tally.done.values())} of {jobs(tally.total)}{about})"
