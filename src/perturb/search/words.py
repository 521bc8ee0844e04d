"""What the report says of a search: what was asked, the chain of choices, the warnings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from perturb.report.words import count
from perturb.search.parts import CHOSEN, SMOKE
from perturb.search.settings import SCIENTIFIC, Search, Stage
from perturb.study import Words


def words(settings: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Words:
    """Return the words of a search's chapter, from its main table."""
    search, frame = Search.of(settings["search"]), frames[""]
    smoke = search.scale == "smoke"
    chosen = frame[frame["kind"] == CHOSEN].set_index("stage")
    return Words(
        heading=search.title + (" (smoke run)" if smoke else ""),
        what=f"{search.model} on {search.dataset}, in {count(len(search.stages), 'stage')}: "
        + "; ".join(_asked(stage) for stage in search.stages)
        + ".",
        warnings=[*([SMOKE] if smoke else []), *_limits(search, chosen)],
        findings=[_found(stage, chosen.loc[stage.name]) for stage in search.stages],
        facts={"Chosen by": "mean validation accuracy of the last epoch"},
    )


def _limits(search: Search, chosen: pd.DataFrame) -> list[str]:
    """Return what limits each stage's answer: an edge, infeasible trials, too few of them."""
    return [
        f"Stage {stage.name}: {text}"
        for stage in search.stages
        if pd.notna(found := chosen.loc[stage.name, "limits"])
        for text in found.split(" | ")
        if text
    ]


def _asked(stage: Stage) -> str:
    scientific = ", ".join(one.name for one in stage.of_role(SCIENTIFIC))
    nuisance = ", ".join(one.name for one in stage.parameters if one.role != SCIENTIFIC)
    if stage.repeat:
        return f"{stage.name} (trains {_again(stage)})"
    parts = [f"asks {scientific}" if scientific else "", f"tunes {nuisance}" if nuisance else ""]
    return f"{stage.name} ({', '.join(filter(None, parts)) or 'one point'})"


def _again(stage: Stage) -> str:
    """Return which points a stage that repeats trains, and at which seeds."""
    scientific = " and ".join(one.name for one in stage.of_role(SCIENTIFIC))
    chose = f"found best for each {scientific}" if scientific else "chose"
    seeds = ", ".join(map(str, stage.repeat))
    return f"again, at seeds {seeds}, the point that stage {stage.after} {chose}"


def _found(stage: Stage, row: pd.Series) -> str:
    values = json.loads(row["values"])
    own = ", ".join(f"{one.name} {values[one.name]}" for one in stage.parameters)
    start = f"Starting from {stage.after}, stage" if stage.after else "Stage"
    if own:
        says = f"{start} {stage.name} chose {own}"
    elif stage.repeat:
        says = f"Stage {stage.name} trained {_again(stage)}"
    else:
        says = f"{start} {stage.name} has one point"
    return (
        f"{says}: validation {100 * row['validation_accuracy_mean']:.2f} %, "
        f"test {100 * row['test_accuracy_mean']:.2f} %."
    )
