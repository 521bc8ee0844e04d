"""Estimates that take long, kept while their job runs: a killed job goes on after the last one."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perturb.files import read_state, write_arrays
from perturb.jobs.packs import FINISHED

KEEP_SECONDS = 2.0  # what took less is sooner made again


class Kept:
    """A folder of finished estimates, and what they belong to; without a folder nothing is kept."""

    def __init__(
        self, folder: Path | None = None, belongs: Mapping[str, Any] | None = None
    ) -> None:
        self.folder, self.belongs = folder, dict(belongs or {})
        self.found_seconds = 0.0  # that what was made before took then

    def __call__(
        self, name: str, make: Callable[[], Mapping[str, Tensor]]
    ) -> tuple[dict[str, Tensor], float]:
        """Return the tensors that `make` returns, and the seconds that it took.

        Read from their file where an earlier start of the job has made them. Each is a line of the
        job's log.
        """
        path = self.folder / f"{name}.npz" if self.folder else None
        if path and (arrays := read_state(path, self.belongs)):
            print(f"perturb: {name}: made before", file=sys.stderr, flush=True)
            seconds = float(arrays.pop("seconds"))
            self.found_seconds += seconds
            return {key: torch.from_numpy(array) for key, array in arrays.items()}, seconds
        start = time.perf_counter()
        made = dict(make())
        seconds = time.perf_counter() - start
        if path and seconds > KEEP_SECONDS:
            arrays = {key: tensor.cpu().numpy() for key, tensor in made.items()}
            write_arrays(path, arrays | {"seconds": np.array(seconds)}, self.belongs)
            print(f"perturb: {name}: {seconds:.0f} s", file=sys.stderr, flush=True)
        return made, seconds

    @property
    def count(self) -> int:
        """How many estimates have a file."""
        return len(list(self.folder.glob("*.npz"))) if self.folder else 0

    def finish(self, keep: bool = False) -> None:
        """The job is finished: remove the folder, and the folders above it that are empty then.

        With `keep`, mark it instead: made again, the job makes no long estimate.
        """
        if not self.folder:
            return
        if keep:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / FINISHED).touch()
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            os.removedirs(self.folder.parent)
