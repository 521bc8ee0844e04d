"""Which runs a target needs, told from its name as the rules name their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perturb import studies
from perturb.errors import PerturbError, did_you_mean
from perturb.runs import Run
from perturb.study import Chapter, Part

if TYPE_CHECKING:
    from perturb.workflow import Workflow

_WHOLE = ("report.html", "section.tex")
_KINDS = ("tables", "figures", "runs", "landscapes", *_WHOLE)


@dataclass(frozen=True)
class Target:
    """What is asked for: its runs, each once.

    `chapters` are those whose main table it makes, which a budget can be planned for; none for a
    target of single runs. `name` is what the plan's files are called.
    """

    path: str
    name: str
    runs: tuple[Run, ...]
    chapters: tuple[Chapter, ...] = ()


def resolve(text: str, workflow: Workflow) -> Target:
    """Return the runs of a target: a file of the results, a chapter's name, or all ("").

    Raises PerturbError for what no run leads to.
    """
    if text in ("", "all"):
        return _of_chapters("all chapters of the config", workflow.asked)
    known = {chapter.name: chapter for chapter in studies.chapters(workflow.config)}
    if text in known:
        return _of_chapters(_table(workflow, text), [known[text]])
    try:
        parts = Path(text).relative_to(workflow.results).parts
    except ValueError:
        return _of_variant(text, workflow, known)
    match parts:
        case (file,) if file in _WHOLE:
            return _of_chapters(text, workflow.asked)
        case ("tables", file):
            return _of_part(text, workflow, *workflow.table(_stem(file)))
        case ("landscapes", file):
            found = workflow.chapter(file.rpartition(".")[0])
            return Target(text, f"{found.name}_landscapes", found.landscape_runs)
        case ("figures", name, file):
            part = workflow.figure(name, file.rpartition(".")[0])
            return _of_part(text, workflow, workflow.chapter(name), part)
    if run := _run_above(parts):
        studies.specification(workflow.config, run)
        return Target(text, f"{run.dataset}_{run.method}_seed{run.seed}", (run,))
    raise PerturbError(
        f"plan: no run is known to lead to '{text}'.{did_you_mean(parts[0], _KINDS)} "
        "Give a table, a figure, a run's file or report.html."
    )


def _table(workflow: Workflow, chapter: str) -> str:
    return workflow.file(f"tables/{chapter}.csv")


def _stem(file: str) -> str:
    """Return how a table's files are called, without `.csv`, `.provenance.csv`, ...."""
    return re.sub(r"(\.provenance)?\.[a-z]+$", "", file)


def _of_variant(text: str, workflow: Workflow, known: Iterable[str]) -> Target:
    """Return the runs of a chapter that the configuration does not list, such as one with noise."""
    try:
        return _of_chapters(_table(workflow, text), [workflow.chapter(text)])
    except PerturbError:
        raise PerturbError(
            f"plan: target '{text}' is neither a file under {workflow.results} nor a chapter "
            f"of the configuration.{did_you_mean(text, known)}"
        ) from None


def _of_chapters(path: str, chapters: Sequence[Chapter]) -> Target:
    """Return the runs of chapters, and those that only their landscapes are of."""
    runs = [run for chapter in chapters for run in (*chapter.runs, *chapter.landscape_runs)]
    name = chapters[0].name if len(chapters) == 1 else "section"
    return Target(path, name, tuple(dict.fromkeys(runs)), tuple(chapters))


def _of_part(path: str, workflow: Workflow, chapter: Chapter, part: Part) -> Target:
    """Return the runs that a table or a figure is made from."""
    main = next(iter(chapter.tables), None)
    runs = tuple(dict.fromkeys(_behind(workflow, part)))
    whole = part == main or set(runs) == set(_behind(workflow, main) if main else ())
    own = chapter.stem(part) if part.kind == "table" else f"{chapter.name}_{part.name}"
    name = chapter.name if whole else own
    return Target(path, name, runs, (chapter,) if whole else ())


def _behind(workflow: Workflow, part: Part) -> Iterator[Run]:
    """Yield the runs behind a part, through the tables that it is made from."""
    for path in (path for paths in part.inputs.values() for path in paths):
        parts = Path(path).parts
        if parts[0] == "tables":
            yield from _behind(workflow, workflow.table(_stem(parts[1]))[1])
        elif run := _run_above(parts):
            yield run


def _run_above(parts: Sequence[str]) -> Run | None:
    """Return the run in whose folder a file is, wherever below the results; None where in none.

    Landscapes, and what else is measured on a run, have folders of the same four parts.
    """
    for folder in Path(*parts).parents:
        try:
            return Run.of_folder(folder)
        except (PerturbError, IndexError):
            continue
    return None
