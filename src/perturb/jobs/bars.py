"""A workflow's progress as bars in a terminal, drawn by rich (`perturb.jobs.display`)."""

from __future__ import annotations

import threading
import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from perturb.jobs.lines import doing, jobs
from perturb.jobs.status import Run, duration, sparkline
from perturb.jobs.tally import Job, Tally

STYLES = {"failed": "red", "warning": "yellow"}
REFRESHES = 4  # a second
WIDTH = 24  # of a bar, in characters
SHOWN = 8  # jobs that run


class Bars:
    """Draws a bar for each rule that has begun, one for all jobs, and what is running."""

    def __init__(self, stream: TextIO, lock: threading.RLock) -> None:
        self._console = Console(file=stream, highlight=False)
        self._lock = lock
        self._tally = Tally()
        self._live: Live | None = None
        self._over = False

    def begin(self, tally: Tally) -> None:
        """Draw a tally from now on."""
        self._tally = tally
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=REFRESHES,
            # What is printed comes through a pipe (`display.Capture`).
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def say(self, text: str, kind: str = "") -> None:
        """Print a line above the bars."""
        self._console.print(Text(text, style=STYLES.get(kind, "")), soft_wrap=True)

    def ended(self, job: Job) -> None:
        """Do nothing: the bars show it."""

    def close(self) -> None:
        """Draw the bars a last time, each of them, and let them stand."""
        if self._live:
            self._over = True
            self._live.stop()

    def _draw(self) -> Group:
        with self._lock:
            now, tally = time.time(), self._tally
            rules = [rule for rule in tally.totals if self._over or rule in tally.first]
            running = list(tally.running.values())[:SHOWN]
            # A small terminal shows the rules at work; at the end all lines scroll by.
            space = self._console.height - len(running) - 4
            if not self._over and len(rules) > space:
                rules = [rule for rule in rules if not tally.finished(rule)][: max(space, 0)]
            table = Table.grid(padding=(0, 1))
            for rule in rules:
                failed = sum(job.rule == rule for job in tally.failed.values())
                note = f"{failed} failed" if failed else ""
                self._row(table, rule, tally.done[rule], tally.totals[rule], note)
            left = None if self._over else tally.left(now)
            note = duration(now - tally.begun)
            note += "" if left is None else f", about {duration(left)} left"
            self._row(table, "all jobs", sum(tally.done.values()), tally.total, note)
            if self._over:
                return Group(table)
            trainings = tally.trainings(now)
            lines = [self._job(job, trainings[job.number], now) for job in running]
            rest = len(tally.running) - len(running)
            if rest:
                lines.append(Text(f"  and {jobs(rest)} more", style="dim"))
            return Group(table, *lines)

    def _row(self, table: Table, name: str, done: int, total: int, note: str) -> None:
        bar = ProgressBar(total=max(total, 1), completed=done, width=WIDTH)
        style = "red" if "failed" in note else ("dim" if done >= total else "")
        table.add_row(
            Text(name, style=style), bar, Text(f"{done}/{total}", style=style), Text(note)
        )

    @staticmethod
    def _job(job: Job, training: Run | None, now: float) -> Text:
        line = Text(f"  {doing(job, training)}", no_wrap=True, overflow="ellipsis")
        if training is not None and training.curve:
            shown = training.shown.replace("_", " ")
            line.append(f"  {shown} {training.curve[-1]:#.4g} {sparkline(training.curve)}")
        left = training.left if training else None
        took = duration(now - job.begun)
        line.append(f"  {took}" if left is None else f"  about {duration(left)} left", style="dim")
        return line
