"""A run: its name, its folder, its record. Written and read here only. Pure, without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from perturb.errors import PerturbError
from perturb.files import read_json, sha256_file, write_json

RECORD = "record.json"
EPOCHS = "epochs.csv"
BATCHES = "batches.npz"
LAST = "last.safetensors"
BEST = "best.safetensors"
CHECKPOINTS = "checkpoints"
TIMING = "timing.csv"
PROGRESS = ".progress.jsonl"  # in place of a log's ending
# What a record does not hold the hash of: itself, and times.
NOT_HASHED = frozenset({RECORD, TIMING})
IDENTITY = ("dataset", "model", "method", "seed")
_RERUN = "Delete the run's folder and ask for it again."


@dataclass(frozen=True, order=True)
class Run:
    """The name of a run: `{dataset}/{model}/{method}/seed{seed}`, below `runs/` of the results."""

    dataset: str
    model: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.model}/{self.method}/seed{self.seed}"

    @property
    def folder(self) -> str:
        """Its folder, relative to the results."""
        return f"runs/{self}"

    def file(self, name: str) -> str:
        """Return one of its files, relative to the results."""
        return f"{self.folder}/{name}"

    @property
    def record(self) -> str:
        """Its record, relative to the results."""
        return self.file(RECORD)

    @classmethod
    def of_folder(cls, folder: str | Path) -> Run:
        """Return the run whose folder, log, state or benchmark ends in these four parts.

        PerturbError where the last part is not `seed` and a number.
        """
        parts = Path(folder).parts[-4:]
        seed = parts[-1].removeprefix("seed")
        if len(parts) < 4 or not parts[-1].startswith("seed") or not seed.isdecimal():
            raise PerturbError(
                f"{folder}: no folder of a run, which ends in <data set>/<model>/<method>/seed<n>."
            )
        dataset, model, method = parts[:3]
        return cls(dataset, model, method, int(seed))


def checkpoint(epoch: int) -> str:
    """Return how the file of the weights at an epoch's end (counted from 0) is called."""
    return f"{CHECKPOINTS}/epoch{epoch}.safetensors"


def folders(results: Path) -> Iterator[Path]:
    """Yield the folder of every run below `results`, in order."""
    yield from sorted(path for path in (results / "runs").glob("*/*/*/seed*") if path.is_dir())


def records(results: Path) -> Iterator[Path]:
    """Yield the record of every run that has ended, in order."""
    yield from sorted((results / "runs").glob(f"*/*/*/seed*/{RECORD}"))


class Specification(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what one run computes, but for the device it finds.

    A study adds its own settings. A field that is added when a study has finished runs names in
    `NEUTRAL` the value that every run before it had: that value is left out of the text that
    Snakemake compares, and is what a record without the field means, so no finished run is made
    again.
    """

    NEUTRAL: ClassVar[Mapping[str, Any]] = {}

    study: str
    dataset: str
    model: str
    method: str
    seed: int
    scale: str = "full"
    threads: int = 1
    device: str = "auto"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the specification of plain values; what it has no field for is left out."""
        own = {name: value for name, value in values.items() if name in cls.__struct_fields__}
        return msgspec.convert(own, cls)

    @property
    def run(self) -> Run:
        """The run's name."""
        return Run(self.dataset, self.model, self.method, self.seed)

    def values(self) -> dict[str, Any]:
        """Return every field as a plain value."""
        return msgspec.to_builtins(self)

    def to_json(self) -> str:
        """Return the specification as JSON with sorted keys, but for the device that is asked for.

        It is what Snakemake compares; `from_json` reads it back.
        """
        neutral = type(self).NEUTRAL
        plain = json.loads(msgspec.json.encode(self))
        del plain["device"]
        kept = {k: v for k, v in plain.items() if k not in neutral or v != neutral[k]}
        return json.dumps(kept, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, device: str = "auto") -> Self:
        """Read what `to_json` wrote, to be run on `device`."""
        values = dict(cls.NEUTRAL) | {"device": device} | json.loads(text)
        return msgspec.convert(values, cls)

    def settings(self) -> dict[str, Any]:
        """Return what a record keeps under `specification`: all but the run's name and its device.

        Which device was asked for is no part of what was computed: the record says which one it
        was.
        """
        named = {"study", *IDENTITY, "scale", "device"}
        return {name: value for name, value in self.values().items() if name not in named}

    def differences(self, record: Mapping[str, Any]) -> list[str]:
        """Return in what a record's run is not this one, `name then, now`; nothing where it is."""
        given = record["specification"] | {"scale": record.get("scale")}
        then = json.loads(json.dumps(dict(type(self).NEUTRAL) | given))
        plain = json.loads(json.dumps(self.settings() | {"scale": self.scale}))
        return [
            f"{name} {then.get(name)} then, {plain.get(name)} now"
            for name in sorted(then.keys() | plain.keys())
            if then.get(name) != plain.get(name)
        ]


@dataclass(frozen=True)
class RunFiles:
    """Where a run's inputs are, and the folder of what it leaves.

    `images`, `manifest` and `initial` are absent where its study has no data set or no network.
    `state` is the folder of its unfinished state, by default `state` in its own; `progress` a file
    for `perturb.jobs.status`, by default none.
    """

    folder: Path
    images: Path | None = None
    manifest: Path | None = None
    initial: Path | None = None
    state: Path | None = None
    progress: Path | None = None

    def file(self, name: str) -> Path:
        """Return one of the files that the run leaves."""
        return self.folder / name

    @property
    def record(self) -> Path:
        """Its record."""
        return self.folder / RECORD

    @property
    def state_folder(self) -> Path:
        """The folder of its unfinished state."""
        return self.state or self.folder / "state"


def deciding(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a record decides its numbers: all but perturb's version, whose code does."""
    return {**values, "versions": versions_that_matter(values["versions"])}


def made_from(record: Mapping[str, Any], neutral: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run was made from, of what its record says: its fingerprint in the store.

    All that decides its files' bytes. A job has it before it begins. `neutral` is that of the run's
    specification.
    """
    plain = json.loads(json.dumps(dict(record)))
    named = ("study", *IDENTITY, "scale", "device", "threads", "partial_data", "code")
    inputs = ("data", "split", "initial_weights")
    return {
        "kind": "run",
        **{name: plain[name] for name in named if name in plain},
        "specification": without_neutral(plain["specification"], neutral),
        "versions": versions_that_matter(plain["versions"]),
        "sha256": {k: v for k, v in plain.get("sha256", {}).items() if k in inputs},
    }


def without_neutral(settings: Mapping[str, Any], neutral: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that have not the value that every run before them had, as JSON's."""
    plain, default = (json.loads(json.dumps(dict(values))) for values in (settings, neutral))
    return {k: v for k, v in plain.items() if k not in default or v != default[k]}


def versions_that_matter(versions: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that a result may depend on: perturb's own code is hashed itself."""
    return {name: version for name, version in versions.items() if name != "perturb"}


def names_of(record: Mapping[str, Any]) -> list[str]:
    """Return the names of all files of a run; its checkpoints, of which it may have none, as one.

    A run without weights has no folder of checkpoints.
    """
    named = [name for name in record["sha256"]["files"] if not name.startswith(f"{CHECKPOINTS}/")]
    return [*named, *([CHECKPOINTS] if LAST in named else []), TIMING, RECORD]


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, last of a run's files; `read_record` reads it back."""
    write_json(path, record)


def read_record(path: Path) -> dict[str, Any]:
    """Read a `record.json`; PerturbError where it is missing, was altered or lacks a key."""
    record = read_json(path, _RERUN)
    missing = {*IDENTITY, "status", "specification", "sha256", "device", "versions"} - set(record)
    if missing:
        raise PerturbError(f"{path}: the record lacks {', '.join(sorted(missing))}. {_RERUN}")
    if record["status"] == "ok" and not isinstance(record.get("last"), dict):
        raise PerturbError(f"{path}: status ok, but no last epoch. {_RERUN}")
    return record


def check_file(path: Path, name: str, record: Mapping[str, Any]) -> None:
    """Refuse the file `name` beside `path`, a record, where it is not the one it speaks of."""
    file, expected = path.parent / name, record["sha256"].get("files", {}).get(name)
    found = sha256_file(file) if file.exists() else None
    if expected is None:
        raise PerturbError(f"{path}: the record has no hash of {name}. {_RERUN}")
    if found is None:
        raise PerturbError(f"{file}: no such file, but {path.name} speaks of it. {_RERUN}")
    if found != expected:
        raise PerturbError(
            f"{file}: damaged or edited, it is not the file that {path.name} speaks of "
            f"(sha256 {expected[:12]}, found {found[:12]}). {_RERUN}"
        )
