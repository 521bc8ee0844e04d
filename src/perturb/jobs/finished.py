"""Finished results that a workflow is about to make again: what is said of them, what comes back.

Snakemake deletes a job's outputs before the job starts. So what was there is noted before that,
and what changed in the code is said; where a job fails, its outputs come back from the store. Pure,
without torch.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturb import code, runs, studies
from perturb.errors import PerturbError
from perturb.jobs.store import Entry, Store
from perturb.machine import may_have_gpu
from perturb.runs import RECORD, Run, Specification

_SHOWN = 6


@dataclass(frozen=True)
class Standing:
    """Outputs of a job that were there before it is run again, and the run that it is of or for.

    `job` is Snakemake's.
    """

    files: tuple[Path, ...]
    specification: Specification
    job: Any = None

    @property
    def record(self) -> Path | None:
        """The record, where the job makes a run."""
        folder = "/".join(self.files[0].parent.parts[-5:])
        of_run = folder == self.specification.run.folder
        return next((path for path in self.files if path.name == RECORD and of_run), None)


def standing(jobs: Iterable[Any]) -> list[Standing]:
    """Return the outputs that are there of jobs of Snakemake which are about to run.

    Of jobs with a parameter `specification`: runs, and what is measured on them.
    """
    found = []
    for job in jobs:
        specification = dict(job.params.items()).get("specification")
        files = tuple(path for path in map(Path, job.output) if path.exists())
        if specification and files:
            found.append(Standing(files, studies.specification_of_json(specification), job))
    return found


def forget_what_is_gone(jobs: Iterable[Any], forget: Callable[[Any], Any]) -> None:
    """Have Snakemake forget the records of outputs that are all gone, of jobs about to run.

    They decide nothing, for such a job runs whatever they say. But to write over a file is slow on
    ext4 (it is flushed, 4 ms each), and a thousand runs that are put back have seven outputs each.
    `forget` is called with each output.
    """
    for job in jobs:
        if not any(os.path.exists(output) for output in job.output):
            for output in job.output:
                forget(output)


def say_code_changes(noted: Iterable[Standing], store: Store | None, commit: str) -> None:
    """Say on standard error which code changed since finished runs that are made again."""
    records = [(one.record, one.specification) for one in noted if one.record]
    if line := code_changes(records, store, commit):
        print(line, file=sys.stderr, flush=True)


def put_back_outputs(
    noted: Iterable[Standing], store: Store | None, unfinished: Callable[[Any], None]
) -> None:
    """Put the outputs of failed jobs back that were there before, and say of how many.

    `unfinished` is called with each one's job: Snakemake notes the parameters of failed jobs, too,
    and would take the outputs for theirs.
    """
    came = come_back(noted, store) if store else []
    for one in came:
        unfinished(one.job)
    if came and store:
        print(
            f"perturb: {len(came)} finished results whose jobs failed are back from "
            f"{store.folder}.",
            file=sys.stderr,
            flush=True,
        )


def in_store(asked: Iterable[Specification], store: Store | None) -> frozenset[Run]:
    """Return the runs that the store has as they are asked for, and that it will put back.

    By their settings, today's code and the kind of device. A run of other data than today's is
    taken for one of them: what it is made from only its job knows.
    """
    specifications = {specification.run.folder: specification for specification in asked}
    if not store or not specifications:
        return frozenset()
    return frozenset(
        specifications[entry.folder].run
        for entry in store.entries()
        if entry.folder in specifications and _is_asked_for(entry, specifications[entry.folder])
    )


def _is_asked_for(entry: Entry, asked: Specification) -> bool:
    on_cpu = asked.device == "cpu" or (asked.device == "auto" and not may_have_gpu())
    return (
        _has_settings(entry, asked)
        and on_cpu == entry.made_from.get("device", "").startswith("cpu")
        and entry.code == code.digest(studies.code_of(asked))
    )


def code_changes(
    records: Iterable[tuple[Path, Specification]], store: Store | None, commit: str = ""
) -> str:
    """Return a line that says what code changed since finished runs that are to be made again.

    "" where no code did. `records` are files and what is asked for today; what a record does not
    tell, because it is damaged, is left out. Runs that the store has for today's code do not count.

    Args:
        records: of finished runs, which may be missing.
        store: in which the runs stay, and which knows by what commit they were made.
        commit: of today's code.
    """
    changed: Counter[str] = Counter()
    commits: Counter[str] = Counter()
    count = 0
    for path, specification in records:
        if not path.exists():
            continue
        try:
            record, now = runs.read_record(path), studies.code_of(specification)
        except PerturbError:
            continue
        then = record.get("code", {})
        if record["sha256"].get("code") == code.digest(now):
            continue
        made_from = runs.made_from(record, type(specification).NEUTRAL)
        if store and store.entry_folder(made_from | {"code": now}).exists():
            continue
        count += 1
        changed.update(name for name in then.keys() | now if then.get(name) != now.get(name))
        commits.update(_commit(store, made_from))
    if not count:
        return ""
    named = [name for name, _ in sorted(changed.items(), key=lambda item: (-item[1], item[0]))]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    by = f" (made by commit {', '.join(sorted(commits))}; now {commit})" if commits else ""
    kept = f" The old ones stay in {store.folder} (docs/resume-and-status.md)." if store else ""
    runs_are = "1 finished run is" if count == 1 else f"{count} finished runs are"
    what = f"{', '.join(named[:_SHOWN])}{more}"
    return f"perturb: {runs_are} of other code than today's: {what} changed{by}.{kept}"


def _commit(store: Store | None, made_from: Mapping[str, Any]) -> Iterable[str]:
    """Yield by what commit a run in the store was made, where that is known."""
    place = store.entry_folder(made_from) if store else None
    if place and place.exists():
        try:
            commit = Entry.read(place).values["commit"]
        except Exception:  # `verify` and putting back say what is wrong with it
            return
        if commit:
            yield commit


def come_back(noted: Iterable[Standing], store: Store) -> list[Standing]:
    """Put outputs back that were there and now are not, of jobs that failed; return which came.

    From the newest entry of that name whose run has the settings that are asked for. What the store
    does not have stays away. They may be of other code or data than today's, so their jobs are
    still to be run.
    """
    gone = [one for one in noted if not all(path.exists() for path in one.files)]
    if not gone:
        return []
    by_folder: dict[str, list[Entry]] = {}
    for entry in store.entries():
        by_folder.setdefault(entry.folder, []).append(entry)
    found: list[Standing] = []
    for one in gone:
        folder = one.files[0].parent
        entries = by_folder.get(store.name_of(folder), [])
        for entry in sorted(entries, key=lambda entry: entry.kept, reverse=True):
            if _fits(entry, one) and store.put_entry_back(entry, folder):
                found.append(one)
                break
    return found


def _fits(entry: Entry, one: Standing) -> bool:
    """Whether an entry has the files, of a run of the same settings."""
    folder, held = one.files[0].parent, {*entry.values["files"], *entry.values["folders"]}
    names = {path.relative_to(folder).as_posix() for path in one.files}
    return _has_settings(entry, one.specification) and names <= held


def _has_settings(entry: Entry, asked: Specification) -> bool:
    settings = runs.without_neutral(asked.settings(), type(asked).NEUTRAL)
    return (
        entry.made_from.get("specification") == settings
        and entry.made_from.get("scale") == asked.scale
    )
