"""Short runs that share a job of a cluster. Pure, without torch.

Snakemake makes one cluster job of the runs of a group; how many is in the profile, by the group's
name (`group-components`). A run's group says how many runs like it make a job of the wanted length,
by what finished ones took. A pack's runs are tried again together, so that what a finished run of
it came to is kept until the workflow ends.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median

from perturb import studies
from perturb.runs import Run

# The groups that profiles/slurm lists.
SIZES = (50, 20, 10, 5, 2)
# Written into the state of a run that is finished.
FINISHED = "finished"
_RUNS_READ = 100


class Packs:
    """The groups of the runs under `results`, for jobs of about `seconds`."""

    def __init__(self, results: Path, seconds: float) -> None:
        self.results = results
        self.seconds = seconds
        self._per_epoch: dict[tuple[str, str], dict[str, float]] = {}

    def group(self, run: Run) -> str | None:
        """Return a run's group, or None: it is long, or nothing like it has been timed."""
        took = self.took(run)
        if took is None:
            return None
        fitting = self.seconds / took
        return next((f"packs_of_{size}" for size in SIZES if size <= fitting), None)

    def took(self, run: Run) -> float | None:
        """Return about how many seconds a run trains, by finished ones of its data and model.

        Those of the same method, or whose method has the same first word, where there are any, or
        else the slowest.
        """
        study = studies.of_method(run.method)
        key = (run.dataset, run.model)
        if key not in self._per_epoch:
            self._per_epoch[key] = self._recorded(*key)
        recorded = self._per_epoch[key]
        if not recorded:
            return None
        study.parse(run.method)  # that run is asked for; other folders may be of any name
        slowest = max(recorded.values())
        alike = recorded.get(_head(run.method), slowest)
        return study.epochs(run.method) * recorded.get(run.method, alike)

    def _recorded(self, dataset: str, model: str) -> dict[str, float]:
        """Return the median seconds of an epoch by first word, of the first runs found.

        Of runs without epochs all seconds, by method: settings in their names decide about them.
        """
        found: dict[str, list[float]] = {}
        paths = sorted((self.results / "runs" / dataset / model).glob("*/seed*/timing.csv"))
        for path in islice(paths, _RUNS_READ):
            with open(path, encoding="utf-8") as file, suppress(ValueError, KeyError, TypeError):
                rows = list(csv.DictReader(file))
                seconds = [float(row["seconds"]) for row in rows]
                method = path.parent.parent.name
                if not seconds:
                    continue
                if "epoch" in rows[0]:
                    found.setdefault(_head(method), []).append(median(seconds))
                else:
                    found.setdefault(method, []).append(sum(seconds))
        return {name: median(seconds) for name, seconds in found.items()}


def _head(method: str) -> str:
    return re.match(r"[a-z]*", method)[0]


def clear_finished_states(results: Path) -> None:
    """Remove the states that finished runs left, of those whose record is there."""
    states = results / "state" / "runs"
    for mark in states.glob(f"*/*/*/*/{FINISHED}"):
        run = mark.parent.relative_to(states)
        if (results / "runs" / run / "record.json").exists():
            shutil.rmtree(mark.parent, ignore_errors=True)
            with suppress(OSError):
                os.removedirs(mark.parent.parent)
