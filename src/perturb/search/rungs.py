"""Which rungs of successive halving a budget buys, for the stages of a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.planning.settings import duration
from perturb.runs import Run
from perturb.search.listing import by_stage, search_of
from perturb.search.settings import Search, Stage
from perturb.study import Chapter

KEEP = 1 / 3


@dataclass(frozen=True)
class Bought:
    """What a stage costs trained through, in seconds, and with the rungs that a budget buys."""

    stage: str
    seconds: float
    rungs: tuple[int, ...]
    seconds_with_rungs: float


def epochs_of_rungs(epochs: int, number: int) -> tuple[int, ...]:
    """Return the epochs of a number of rungs below the whole run's: each a third of the next."""
    found = [max(1, round(epochs * KEEP ** (number - at))) for at in range(number)]
    return tuple(dict.fromkeys(one for one in found if one < epochs))


def share(points: int, epochs: int, rungs: tuple[int, ...]) -> float:
    """Return the share of the epochs that halving trains, of those of every point trained through.

    `ceil(n / 3)` of n points go on from a rung.
    """
    trained, left, before = 0, points, 0
    for until in (*rungs, epochs):
        trained += left * (until - before)
        before, left = until, math.ceil(left * KEEP)
    return trained / (points * epochs)


def buy(
    config: Config, chapter: Chapter, seconds: Callable[[Run], float], budget: float
) -> list[Bought]:
    """Return the fewest rungs of each stage with which the whole search fits a budget in seconds.

    Stages of a grid or of quasi-random points, of one number of epochs, can be halved; the others
    are trained through. All stages that can get the same number of rungs. PerturbError where no
    number fits.
    """
    search = search_of(chapter)
    assert search is not None
    runs = by_stage(config, chapter)
    whole = {stage.name: sum(map(seconds, runs[stage.name])) for stage in search.stages}
    least = math.inf
    for number in range(6):
        found = [_bought(stage, runs[stage.name], whole[stage.name], number)
                 for stage in search.stages]  # fmt: skip
        least = min(least, sum(one.seconds_with_rungs for one in found))
        if sum(one.seconds_with_rungs for one in found) <= budget:
            return found
    raise PerturbError(
        f"plan: {chapter.name} takes {duration(least)} at least, with as many rungs as its epochs "
        f"have thirds; the budget is {duration(budget)}. Leave values out, or train fewer epochs."
    )


def _bought(stage: Stage, runs: tuple[Run, ...], seconds: float, number: int) -> Bought:
    epochs = {studies.of_method(run.method).epochs(run.method) for run in runs}
    points = len(runs) // len(stage.seeds)
    can = not stage.repeat and not stage.halving and stage.sampler != "tpe"
    if number == 0 or not can or len(epochs) != 1 or points < 3:
        return Bought(stage.name, seconds, (), seconds)
    (each,) = epochs
    rungs = epochs_of_rungs(each, number)
    return Bought(stage.name, seconds, rungs, seconds * share(points, each, rungs))


def text(search: Search, found: list[Bought], budget: float) -> str:
    """Return what a budget buys, in lines."""
    total = sum(one.seconds_with_rungs for one in found)
    lines = [f"{search.chapter}: {duration(total)} of a budget of {duration(budget)}"]
    for one in found:
        how = (
            f"rungs at {', '.join(map(str, one.rungs))} epochs" if one.rungs else "trained through"
        )
        lines.append(
            f"  stage {one.stage}: {how}, {duration(max(one.seconds_with_rungs, 1))}"
            + (f" instead of {duration(one.seconds)}" if one.rungs else "")
        )
    return "\n".join(lines)


def section(config: Config, search: Search, found: list[Bought]) -> Mapping[str, Mapping[str, Any]]:
    """Return the part of a configuration that asks for these rungs."""
    name = search.chapter.removeprefix(f"{search.study}_")
    known = config.section(search.study)["searches"]
    entry = known[name]
    given = entry.get("stages") or known[entry["like"]]["stages"]
    rungs = {one.stage: one.rungs for one in found if one.rungs}
    stages = [
        dict(stage)
        | (
            {"halving": {"epochs": list(rungs[stage["stage"]]), "keep": round(KEEP, 4)}}
            if stage["stage"] in rungs
            else {}
        )
        for stage in given
    ]
    return {search.study: {"searches": {name: {"stages": stages}}}}
