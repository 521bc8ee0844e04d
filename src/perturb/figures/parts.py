"""Makers of a chapter's figures, as `perturb.study.Part` names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from perturb.analysis import ranking as rankings
from perturb.analysis import tables
from perturb.analysis.plan import Plan
from perturb.figures import profiles as performance
from perturb.figures import ranking as diagram
from perturb.figures.material import gather
from perturb.figures.style import style
from perturb.study import load


def draw(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Draw a figure of `settings["plan"]` from the runs of `inputs["records"]`.

    `draw` names who draws it, `section` the section of the table that it is of, where it is.
    """
    material = gather(Plan.of(settings["plan"]), inputs["records"])
    of_section = {"section": settings["section"]} if "section" in settings else {}
    with style():
        return load(settings["draw"])(material, **of_section)


def ranking(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Draw the ranking of the tables of `inputs["tables"]`, which are those of the plans."""
    plans = [Plan.of(plan) for plan in settings["plans"]]
    found = [tables.read(*pair) for pair in zip(inputs["tables"], plans, strict=True)]
    return diagram.draw(rankings.build(found), found)


def profiles(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Draw the performance profiles of the runs behind the tables of `inputs["tables"]`."""
    plans = [Plan.of(plan) for plan in settings["plans"]]
    found = [tables.read(*pair) for pair in zip(inputs["tables"], plans, strict=True)]
    return performance.draw(rankings.build(found), found)
