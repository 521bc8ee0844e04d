"""perturb's own runs in an audited folder: what each is of, and which of its files are no curves.

A run is a folder `seed<n>` with `epochs.csv` and `record.json`, at any depth below the audited one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from perturb.errors import PerturbError
from perturb.files import read_json
from perturb.jobs.store import ENTRY
from perturb.runs import BATCHES, EPOCHS, IDENTITY, NOT_HASHED, RECORD

# As much of <data set>/<model>/<method> as there is below the audited folder: the record tells
# what is above it.
PATTERN = (
    r"(?:(?:(?:(?:(?:.*/)?(?P<dataset>[^/]+)/)?(?P<model>[^/]+)/)?(?P<method>[^/]+)/)?"
    r"seed(?P<seed>\d+)/)?epochs\.csv"
)
# What a run leaves beside its curve, as the page says it.
WORDS = "record.json, timing.csv, batches.npz, weights, checkpoints"
_NAMES = NOT_HASHED | {BATCHES}
_WEIGHTS = ".safetensors"
_SNAKEMAKE = ".snakemake_timestamp"  # in each folder that a job has made


def runs_of(paths: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Return what each run's record says that it is of, by the run's folder.

    Args:
        paths: the files of the audited folder, by their paths below it.

    Returns:
        data set, model, method and seed by folder; of a record that cannot be read, nothing. No run
        where none can be read: another tool calls its files so, too.
    """
    found = {}
    for name, path in paths.items():
        place = PurePosixPath(name)
        in_run = place.parent.name.startswith("seed") or place.parent == PurePosixPath(".")
        if place.name == RECORD and in_run and (place.parent / EPOCHS).as_posix() in paths:
            found[place.parent.as_posix()] = _identity(path)
    return found if any(found.values()) else {}


def _identity(record: Path) -> dict[str, str]:
    try:
        said = read_json(record)
    except (PerturbError, OSError):
        return {}
    return {key: str(said[key]) for key in IDENTITY if key in said}


def kept_beside(names: Collection[str], runs: Collection[str]) -> set[str]:
    """Return those files that perturb keeps beside its runs' curves.

    Where the audited folder is that of all results, the copies in the store, too.
    """
    if not runs:
        return set()
    paths = [PurePosixPath(name) for name in names]
    stored = {path.parent.as_posix() for path in paths if path.name == ENTRY}
    return {path.as_posix() for path in paths if _is_kept_beside(path, {*runs}, stored)}


def _is_kept_beside(path: PurePosixPath, runs: set[str], stored: set[str]) -> bool:
    folders = {parent.as_posix() for parent in path.parents}
    if folders & stored:
        return True
    if not folders & runs:
        return False
    own = path.parent.as_posix() in runs and path.name in _NAMES
    return own or path.suffix == _WEIGHTS or path.name == _SNAKEMAKE
