"""What every workflow script does with its log and with a user's error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from perturb.errors import PerturbError
from perturb.files import write_text


def failures(mark: Path) -> int:
    """Return how often the job that `mark` is of failed, or was killed, in all.

    A parameter of the job. Snakemake takes a file for new that a failed job left as it was: the
    next start makes it again because its job has failed once more than it says.
    """
    try:
        return int(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


@contextmanager
def counted(mark: str, before: int) -> Iterator[None]:
    """Count this block as a failure in the file `mark`, until it ends well."""
    write_text(mark, str(before + 1))
    yield
    if before:
        write_text(mark, str(before))
        return
    Path(mark).unlink(missing_ok=True)
    with suppress(OSError):
        os.removedirs(Path(mark).parent)


@contextmanager
def user_errors(log: str) -> Iterator[None]:
    """Send stderr to the file `log`; a user's error or a failing disk is one message and exit 1.

    The message goes to the log, and to the terminal with the log's name. Any other exception is a
    defect of perturb and keeps its traceback.
    """
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8", buffering=1) as file, redirect_stderr(file):
            yield
    except (PerturbError, OSError) as error:
        # An error without a file is the log's own, most often that the disk is full.
        nameless = isinstance(error, OSError) and error.filename is None
        message = f"perturb: {log}: {error}" if nameless else f"perturb: {error}"
        with suppress(OSError), open(log, "a", encoding="utf-8") as file:
            print(message, file=file)
        # Of many jobs at once the terminal must tell which one it was: its log is called after it.
        which = "" if nameless else f" (log: {log})"
        print(f"{message}{which}", file=sys.stderr, flush=True)
        sys.exit(1)


def inputs_of(files: Any) -> dict[str, list[Path]]:
    """Return a job's named inputs, each as a list, whether it is one path or several."""
    return {
        name: [Path(value)] if isinstance(value, str) else [Path(path) for path in value]
        for name, value in files.items()
    }
