"""The studies: the one list of them, and who answers for a run. Nothing else imports a study."""

from __future__ import annotations

import importlib
import json
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from perturb import code
from perturb.data import variants
from perturb.errors import PerturbError, did_you_mean

if TYPE_CHECKING:
    from perturb.config import Config
    from perturb.runs import Run, Specification
    from perturb.study import Chapter, Study

NAMES = ("rts", "gradients", "minima", "reid", "fer", "tune")


@cache
def get(name: str) -> Study:
    """Return the study of that name; PerturbError where there is none."""
    if name not in NAMES:
        raise PerturbError(f"unknown study '{name}'.{did_you_mean(name, NAMES)}")
    return importlib.import_module(f"perturb.studies.{name}").STUDY


def every() -> list[Study]:
    """Return all studies, in the order of the report."""
    return [get(name) for name in NAMES]


@cache
def _heads() -> dict[str, Study]:
    return {head: study for study in every() for head in study.heads}


def of_method(method: str) -> Study:
    """Return the study that answers for a method: by the first word of its name.

    The first study answers for all words that no study has, so that its message says what is wrong
    with such a name.
    """
    word = method.partition("_")[0]
    letters = word.rstrip("0123456789.")  # a number may be glued to it: samx1_40
    return _heads().get(word) or _heads().get(letters) or get(NAMES[0])


def specification(config: Config, run: Run) -> Specification:
    """Return what a run of this name computes; PerturbError where its name does not parse."""
    return of_method(run.method).resolve(config, run)


@lru_cache(maxsize=100_000)
def canonical(method: str) -> str:
    """Return a method's name in its one spelling, as records have it.

    The name itself where it does not parse: runs of a rule that was removed stop nothing.
    """
    study = of_method(method)
    with suppress(PerturbError):
        return study.format(study.parse(method))
    return method


def specification_of_json(text: str, device: str = "auto") -> Specification:
    """Return the specification of any study's run that its `to_json` wrote, for `device`."""
    return get(json.loads(text)["study"]).specification.from_json(text, device)


def initial_file(specification: Specification) -> str:
    """Return the file, below the results, of the weights that a run begins from.

    Those of its model and seed, or those that another run ended with, or had on its way.
    """
    model = f"{specification.dataset}/{specification.model}"
    own = get(specification.study).begins_from(specification)
    return own or f"init/{model}/seed{specification.seed}.safetensors"


def code_of(specification: Specification) -> dict[str, str]:
    """Return the hash of every module that a run uses, by name."""
    study = get(specification.study)
    job, learner = (reference.partition(":")[0] for reference in (study.job, study.learner))
    used = code.of(job, learner, *study.uses(specification))
    return {**used, **study.entries(specification)}


@lru_cache
def chapters(config: Config) -> tuple[Chapter, ...]:
    """Return every chapter that the configuration has, of all studies, in the report's order."""
    return tuple(chapter for study in every() for chapter in study.chapters(config))


@lru_cache
def _by_name(config: Config) -> dict[str, Chapter]:
    found: dict[str, Chapter] = {}
    for one in chapters(config):
        if one.name in found:
            raise PerturbError(
                f"config: study {one.study} has a chapter '{one.name}', and so has study "
                f"{found[one.name].study}. Rename one of them."
            )
        found[one.name] = one
    return found


def chapter(config: Config, name: str) -> Chapter:
    """Return the chapter of that name; PerturbError where the configuration has none."""
    found = _by_name(config)
    if name in found:
        return found[name]
    for study in every():
        if (made := study.variant(config, name)) is not None:
            return made
    raise PerturbError(
        f"no chapter '{name}' in the configuration (config/studies).{did_you_mean(name, found)}"
    )


def asked(config: Config) -> tuple[Chapter, ...]:
    """Return the chapters of the results section: each study's together, in the asked order.

    A ranking comes after the data sets that it is over.
    PerturbError where the configuration asks for one that it does not have.
    """
    listed = {name: one for name, one in _by_name(config).items() if one.asked}
    listed |= {name: chapter(config, name) for name in config.asked}
    place = {name: number for number, name in enumerate(config.asked)}
    order = sorted(
        listed.values(), key=lambda one: (NAMES.index(one.study), place.get(one.name, len(place)))
    )
    return tuple(order)


@cache
def _shipped(study: str) -> dict[str, Any]:
    """Return a study's data sets as its own file lists them; empty where that is not at hand."""
    path = code.SOURCE.parent / "config" / "studies" / f"{study}.yaml"
    if not path.exists():
        return {}
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values.get(study, {}).get("datasets", {})


def _lists_own(config: Config, chapter: Chapter) -> bool:
    """Whether the methods of a chapter are those of the user's configuration, not the study's."""
    listed, shipped = config.section(chapter.study).get("datasets", {}), _shipped(chapter.study)
    names = (chapter.name, chapter.name.removeprefix(f"{chapter.study}_"))
    found = [one for name in names for one in (name, variants.base_name(name)) if one in listed]
    if not found or not shipped:
        return False
    given, own = listed[found[0]], shipped.get(found[0])
    return own is None or any(given.get(key) != own.get(key) for key in ("methods", "like"))


# Titles that one line can carry.
_TITLES = 3


def title(config: Config) -> str:
    """Return the title of the report: the given one, or else those of what its chapters are.

    A study's title is of its own chapters; over folders of the user's own images, and over methods
    that the user lists, stands what is done there.
    """
    if given := config.values.get("title"):
        return given
    folders = config.values.get("image_folders", {})
    titles: dict[str, None] = {}
    own: dict[str, dict[str, None]] = {}  # the user's data sets by what is done there
    for chapter in asked(config):
        done = "Settings searched" if "search" in chapter.settings else "Methods compared"
        study = config.section(chapter.study).get("title", "")
        for dataset, run in {run.dataset: run for run in reversed(chapter.runs)}.items():
            entry = get(chapter.study).entry(config, run)
            users = variants.base_name(dataset) in folders or _lists_own(config, chapter)
            if users and "title" not in entry:
                own.setdefault(done, {})[dataset] = None
            else:
                titles[entry.get("title", study)] = None
    over = [f"{done} on {' and '.join(datasets)}" for done, datasets in own.items()]
    parts = [part for part in (*titles, *over) if part]
    if len(parts) > _TITLES:
        return f"{parts[0]}, and {len(asked(config)) - 1} further chapters"
    return "; ".join(parts) or "Results"
