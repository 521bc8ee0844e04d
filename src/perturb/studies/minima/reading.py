"""What runs left, as a chapter's tables and figures read it: files in, frames out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from perturb.analysis import runs as collecting
from perturb.analysis.provenance import describe
from perturb.errors import PerturbError
from perturb.files import read_json, read_npz, sha256_file
from perturb.runs import BATCHES, check_file, read_record
from perturb.studies.minima.names import SETTINGS, Name, parse

# What of a specification a method's name sets, or follows from it.
NAMED = {*SETTINGS, "learning_rate", "weight_decay", "at", "parent", "members", "trace_images"}


@dataclass(frozen=True)
class Left:
    """A run: what `runs.collect` says of it, and its epochs."""

    method: str
    seed: int
    status: str
    record: Path
    steps: int

    @cached_property
    def name(self) -> Name:
        """What its name says."""
        return parse(self.method)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """A row per epoch, as `epochs.csv` has them."""
        return collecting.read_epochs(self.record)

    @cached_property
    def distances(self) -> pd.DataFrame:
        """D_c after each epoch [epochs, checkpoints]; NaN of those not stored yet."""
        columns = [name for name in self.epochs if str(name).startswith("distance_")]
        return self.epochs[columns].astype(float)

    @property
    def newest(self) -> pd.Series:
        """D after each epoch to the checkpoint that was stored last; NaN before the first."""
        found = self.distances
        if found.shape[1] == 0:
            return pd.Series(np.nan, index=self.epochs.index, dtype=float)
        return found.ffill(axis=1).iloc[:, -1]

    @property
    def pushed_from(self) -> int | None:
        """The first epoch, from 0, in which a checkpoint was stored; None where none is."""
        known = np.flatnonzero(self.newest.notna().to_numpy())
        return int(known[0]) if len(known) else None

    def series(self) -> dict[str, np.ndarray]:
        """Return the arrays of `batches.npz`."""
        path = self.record.with_name(BATCHES)
        check_file(self.record, path.name, read_record(self.record))
        return read_npz(path)


def collect(records: Iterable[str | Path]) -> pd.DataFrame:
    """Return the runs as `analysis.runs.collect` does, without the settings that their names set.

    Those differ between methods on purpose: they make no comparison a mixed one.
    """
    found = collecting.collect(records)
    plain = [
        {key: value for key, value in json.loads(text).items() if key not in NAMED}
        for text in found["specification"]
    ]
    return found.assign(specification=[json.dumps(one, sort_keys=True) for one in plain])


def left_by(records: Iterable[str | Path]) -> list[Left]:
    """Return every run of the records that finished or diverged, in their order."""
    found = []
    for path in map(Path, records):
        record = read_record(path)
        steps = int(record.get("steps_per_epoch") or 0)
        identity = (record["method"], int(record["seed"]), record["status"])
        found.append(Left(*identity, record=path, steps=steps))
    return found


def of_method(runs: Sequence[Left], method: str) -> list[Left]:
    """Return the finished runs of a method, by seed."""
    chosen = [run for run in runs if run.method == method and run.status == "ok"]
    return sorted(chosen, key=lambda run: run.seed)


def provenance(records: Iterable[str | Path], results: Path) -> pd.DataFrame:
    """Return a line per run of a table that is made from all of them."""
    runs = collecting.collect(dict.fromkeys(records))
    lines = [
        {"method": run["method"], "columns": "*"} | describe(run, results)
        for run in runs.to_dict("records")
    ]
    return pd.DataFrame(lines)


def measured(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Return the frames of jobs of measuring, with their seeds.

    Raises PerturbError where one is not what its record speaks of.
    """
    frames = []
    for path in map(Path, paths):
        record = read_json(path.with_name("record.json"))
        if sha256_file(path) != record["frame_sha256"]:
            raise PerturbError(f"{path}: not what its record says. Delete it and run again.")
        frames.append(pd.read_csv(path).assign(seed=int(path.parent.name)))
    return pd.concat(frames, ignore_index=True)
