"""The progress of a run while it trains: one line of JSON per epoch. Pure, without torch.

Lines hold times, so the file is a log and no result. `perturb.jobs.status` reads it.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from perturb.errors import PerturbError
from perturb.files import open_in_folder
from perturb.jobs.signals import interrupted_by_sigterm

PUT_BACK = "put back"  # how a run ended that was not made but found in the store


class Progress:
    """The `progress.jsonl` of a run, appended to by each of its starts; no `path`, no file.

    `{"start": k, ...}` when epochs k, k + 1, ... are about to be trained, `{"epoch": e, ...}` when
    epoch e has ended, both counted from 0, and `{"end": status, ...}`. One that is put back from
    the store (`perturb.jobs.store`) has an end only, `put back`.
    """

    def __init__(self, path: Path | None, epochs: int) -> None:
        self.path = path
        self.epochs = epochs

    def start(self, epoch: int) -> None:
        """Say that training begins with this epoch; later ones of an earlier start are void."""
        where = {"process": os.getpid(), "host": socket.gethostname()}
        self._append({"start": epoch, "of": self.epochs, **where})

    def epoch(self, epoch: int, measures: Mapping[str, float], shown: str, seconds: float) -> None:
        """Say how an epoch went: some columns of its row of `epochs.csv`, `shown` one of them."""
        measured = {"measures": dict(measures), "shown": shown}
        self._append({"epoch": epoch, "of": self.epochs, **measured, "seconds": seconds})

    def end(self, status: str, message: str = "") -> None:
        """Say how the run ended: ok, diverged, stopped or failed."""
        self._append({"end": status, "message": message})

    def _append(self, entry: dict[str, Any]) -> None:
        if self.path is None:
            return
        with open_in_folder(self.path, "a+b") as file:
            line = json.dumps({**entry, "time": round(time.time(), 3)}).encode() + b"\n"
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a killed process left half a line
                    line = b"\n" + line
            file.write(line)


@contextmanager
def ends_said(progress: Progress, next_start: Callable[[], str]) -> Iterator[None]:
    """Say in a run's progress how it ended where this block does not reach its end.

    After a signal, `next_start` saves what there is and says where the next start goes on; the
    signal becomes a PerturbError with that message.
    """
    with interrupted_by_sigterm():
        try:
            yield
        except KeyboardInterrupt as interrupt:
            on = next_start()
            message = f"stopped by {interrupt or 'an interrupt'}; the next start {on}."
            progress.end("stopped", message)
            raise PerturbError(message) from None
        except Exception as error:
            with suppress(OSError):
                progress.end("failed", str(error))
            raise
