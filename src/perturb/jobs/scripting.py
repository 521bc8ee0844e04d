"""What every workflow script does with its log and with a user's error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path

from perturb.errors import PerturbError


@contextmanager
def user_errors(log: str) -> Iterator[None]:
    """Send stderr to the file `log`; a user's error or a failing disk is one message and exit 1.

    The message goes to the log and to the terminal. Any other exception is a defect of perturb
    and keeps its traceback.
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
        print(message, file=sys.stderr, flush=True)
        sys.exit(1)
