"""The trials of a search beyond those that its configuration lists: listed so far, and assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perturb.config import Config
from perturb.runs import Run
from perturb.search.points import points
from perturb.search.settings import SCIENTIFIC, Search, Stage
from perturb.search.steps import Step, Trial, trials_of
from perturb.search.study import naming_of
from perturb.study import Chapter
from perturb.wording import plural


def search_of(chapter: Chapter) -> Search | None:
    """Return the search that a chapter is, or None."""
    found = chapter.settings.get("search")
    return Search.of(found) if found else None


def listed(chapter: Chapter, results: Path) -> tuple[Run, ...]:
    """Return the runs that the steps made so far have listed; none for another kind of chapter.

    Those of rungs too, of which most are never trained through.
    """
    search = search_of(chapter)
    if search is None:
        return ()
    found: dict[str, None] = {}
    for stage in search.stages:
        for number in range(stage.last_step, -1, -1):
            path = results / search.step_file(stage, number)
            if not path.exists():
                continue
            step = Step.read(path)
            trials = [*(one.trial for one in step.measured), *step.trials]
            found |= dict.fromkeys(trial.run for trial in trials if trial.run)
            break
    return tuple(Run.of_folder(run) for run in found)


def chosen_runs(chapter: Chapter, results: Path) -> tuple[Run, ...]:
    """Return the runs that a search's tables are made from, as far as its steps have come."""
    search = search_of(chapter)
    if search is None:
        return ()
    found: dict[str, None] = {}
    for stage in search.stages:
        path = results / search.step_file(stage, stage.last_step)
        if path.exists():
            measured = Step.read(path).measured
            whole = [one.trial for one in measured if one.trial.until is None]
            found |= dict.fromkeys(trial.run for trial in whole if trial.run)
    return tuple(Run.of_folder(run) for run in found)


def assumed(config: Config, chapter: Chapter) -> tuple[Run, ...]:
    """Return runs like those that later stages will list, for what they cost (`by_stage`)."""
    known = set(chapter.runs)
    every = dict.fromkeys(run for runs in by_stage(config, chapter).values() for run in runs)
    return tuple(run for run in every if run not in known)


def by_stage(config: Config, chapter: Chapter) -> dict[str, tuple[Run, ...]]:
    """Return the runs of each stage, known or assumed; nothing for another kind of chapter.

    Each stage is taken to choose its first point, halving to train every point to the end, and a
    Bayesian sampler to ask for quasi-random points: so many trials at most.
    """
    return {
        name: tuple(Run.of_folder(trial.run) for trial in trials if trial.run)
        for name, trials in _trials_by_stage(config, chapter).items()
    }


def said(config: Config, chapter: Chapter) -> str:
    """Return how many runs a chapter has; of a search how many at most, and what of each stage."""
    search = search_of(chapter)
    if search is None:
        return plural(len(chapter.runs), "run")
    every = _trials_by_stage(config, chapter)
    runs = {trial.run for trials in every.values() for trial in trials if trial.run}
    stages = [_stage_said(stage, every[stage.name]) for stage in search.stages]
    return (
        f"at most {len(runs)} runs, {len(chapter.runs)} of them known before any has run "
        f"({'; '.join(stages)})"
    )


def _stage_said(stage: Stage, trials: Sequence[Trial]) -> str:
    """Return a stage's runs in words: how many, how many to the end, and what is refused."""
    refused = [trial.refused for trial in trials if not trial.run]
    trained = len(trials) - len(refused)
    text = f"stage {stage.name}: {trained}"
    if stage.halving:
        left = -(-trained // len(stage.seeds))
        for _ in stage.halving.epochs:
            left = stage.halving.survivors(left)
        text += f", of which halving trains {left * len(stage.seeds)} to the end"
    if refused:
        text += f", and {len(refused)} refused, such as: {refused[0].removesuffix('.')}"
    return text


def _trials_by_stage(config: Config, chapter: Chapter) -> dict[str, tuple[Trial, ...]]:
    search = search_of(chapter)
    if search is None:
        return {}
    naming = naming_of(config, search)
    every: dict[str, tuple[Trial, ...]] = {}
    for stage in search.stages:
        # A refused point is never chosen.
        base = every.get(stage.after, ())
        base = tuple(trial for trial in base if trial.run) or base
        before = dict(base[0].values) if base else {}
        if stage.repeat:
            own = search.stage(stage.after).of_role(SCIENTIFIC)
            seen: dict[str, Trial] = {}
            for trial in base:
                seen.setdefault(str([trial.values[one.name] for one in own]), trial)
            found = [dict(trial.values) for trial in seen.values()]
        else:
            found = points(_quasi_random(stage), before)
        every[stage.name] = trials_of(stage, found, before, naming, None)
    return every


def _quasi_random(stage: Stage) -> Stage:
    return replace(stage, sampler="sobol") if stage.sampler == "tpe" else stage
