"""What a workflow shows while it works: bars in a terminal, plain lines anywhere else.

Fed with Snakemake's log records by its logger plugin (`snakemake_logger_plugin_perturb`), with
each training's own progress from its file. What jobs print meanwhile is shown above the bars.
Snakemake's own log, which has everything, stays in its file.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from perturb.jobs.bars import Bars
from perturb.jobs.lines import Lines
from perturb.jobs.tally import Job, Tally

# Of what is no event, and neither a warning nor an error, what the reader needs to know.
TELLING = re.compile(
    r"Nothing to be done|Will exit after|Terminating processes|Trying to restart|Unlocked"
)
# What the line of a failed job says already, and the line at the end.
SAID = re.compile(
    r"(?s)RuleException:.*CalledProcessError|Restored previous version of "
    r"|Cannot restore .+: no backup found|Exiting because a job "
    r"|WorkflowError:\s*At least one job did not complete successfully\.\s*$"
)
LOG = re.compile(r"Complete log\(s\): (.+)")
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
STDOUT, STDERR = 1, 2


class View(Protocol):
    """How a tally is shown; `say` prints a line that stays."""

    def begin(self, tally: Tally) -> None:
        """Show a tally from now on."""

    def say(self, text: str, kind: str = "") -> None:
        """Print a line; of the kind `failed` or `warning`, or plain."""

    def ended(self, job: Job) -> None:
        """Take note of a job that has ended well."""

    def close(self) -> None:
        """Show the end."""


class Capture:
    """Hands what this process and its jobs print to `say`, line by line, until it is closed."""

    def __init__(self, say: Callable[[str], None], *descriptors: int) -> None:
        self._kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
        reader, writer = os.pipe()
        for descriptor in descriptors:
            os.dup2(writer, descriptor)
        os.close(writer)
        self._thread = threading.Thread(target=self._read, args=(reader, say), daemon=True)
        self._thread.start()

    @staticmethod
    def _read(reader: int, say: Callable[[str], None]) -> None:
        with open(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                text = CONTROLS.sub("", line.rstrip())
                if text:
                    say(text)

    def close(self) -> None:
        """Let the descriptors be what they were, once what was printed is said."""
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, kept in self._kept.items():
            os.dup2(kept, descriptor)
            os.close(kept)
        self._thread.join(1)  # a job that outlives this process may hold the other end


class Display:
    """Shows a workflow on standard error."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tally = Tally()
        # A descriptor of its own: the jobs' one becomes a pipe.
        self._stream = os.fdopen(os.dup(STDERR), "w", encoding="utf-8", errors="replace")
        self._in_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        kind = Bars if self._in_terminal else Lines
        self.view: View = kind(self._stream, self.lock)
        self._capture: Capture | None = None
        self._log = ""
        self._closed = False
        # Python prints the message of sys.exit before this, and Snakemake may not close its logger.
        atexit.register(self.close)

    def handle(self, record: logging.LogRecord) -> None:
        """Show what a record of Snakemake's logger says."""
        event = str(getattr(record, "event", "") or "")
        # Shown without the lock: what draws holds its own one, and then asks for this one.
        if event == "workflow_started":
            self.view.say("Planning what is to be done.")
        elif event == "run_info":
            self._plan(record)
        elif event == "job_info":
            with self.lock:
                self.tally.begin(job_of(record))
        elif event == "job_finished":
            with self.lock:
                job = self.tally.end(record.job_id, record.created)  # type: ignore[attr-defined]
            if job:
                self.view.ended(job)
        elif event == "job_error":
            with self.lock:
                job = self.tally.fail(record.jobid)  # type: ignore[attr-defined]
            if job:
                logs = [Path(log) for log in getattr(record, "log", None) or []]
                self._say_failed(job, logs or list(job.logs))
        elif event in ("", "error"):
            self._say_message(record)

    def _plan(self, record: logging.LogRecord) -> None:
        if self._capture:
            return
        with self.lock:
            self.tally.plan(record.stats, record.created)  # type: ignore[attr-defined]
        self.view.begin(self.tally)
        # Standard output may be of use to another program.
        both = self._in_terminal and os.isatty(STDOUT)
        self._capture = Capture(self._say_printed, STDERR, *([STDOUT] if both else []))

    def _say_failed(self, job: Job, logs: list[Path]) -> None:
        message = Job(job.number, job.rule, job.name, job.begun, tuple(logs)).message()
        where = f" (log: {', '.join(map(str, logs))})" if logs else ""
        how = "stopped" if message.startswith("stopped by") else "failed"
        self.view.say(f"{how}: {job.title}{where}{message and ': '}{message}", "failed")

    def _say_message(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        log = LOG.match(text)
        if log:
            self._log = log[1]
        elif SAID.match(text) or text == "None":
            return
        elif record.levelno >= logging.WARNING:
            self.view.say(text, "failed" if record.levelno >= logging.ERROR else "warning")
        elif TELLING.match(text):
            self.view.say(text)

    def _say_printed(self, text: str) -> None:
        """Show what a job printed, but for its last words, which the line of its failure has."""
        if not (text.startswith("perturb: ") and re.search(r" \(log: .+\)$", text)):
            self.view.say(text)

    def close(self) -> None:
        """Show how it ended. Called again, it does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._capture:
            self._capture.close()
        self.view.close()
        tally = self.tally
        if tally.total:
            text = f"{sum(tally.done.values())} of {tally.total} jobs done"
            if tally.failed:
                text += f", {len(tally.failed)} failed"
            begun = sum(tally.done.values()) + len(tally.failed) + len(tally.running)
            if begun < tally.total:
                text += f", {tally.total - begun} not begun"
            if self._log:
                place = Path(self._log)
                here = place.is_relative_to(Path.cwd())
                text += f". Snakemake's log: {place.relative_to(Path.cwd()) if here else place}"
            self.view.say(text, "failed" if tally.failed else "")
        self._stream.flush()


def job_of(record: logging.LogRecord) -> Job:
    """Return the job that a record of Snakemake's tells of."""
    wildcards = dict(getattr(record, "wildcards", None) or {})
    words = [f"seed{value}" if key == "seed" else str(value) for key, value in wildcards.items()]
    return Job(
        number=record.jobid,  # type: ignore[attr-defined]
        rule=record.rule_name,  # type: ignore[attr-defined]
        name="/".join(words),
        begun=record.created,
        logs=tuple(Path(log) for log in getattr(record, "log", None) or []),
    )
