"""The parts of a chapter that is a search. Pure, without torch."""

from __future__ import annotations

from collections.abc import Sequence

from perturb.search.settings import Search
from perturb.study import Part

_HERE = "perturb.search"


def parts(search: Search, records: Sequence[str]) -> tuple[Part, ...]:
    """Return the tables and figures of a search.

    `records` are those of the trials that are known before any has run; the steps' files lead to
    all of them.
    """
    settings = {"search": search.values()}
    inputs = {"steps": tuple(search.files), "records": tuple(records)}
    tables = [
        Part("", "table", f"{_HERE}.parts:main", inputs, settings, stem=search.chapter),
        Part("trials", "table", f"{_HERE}.parts:trials", inputs, settings),
    ]
    drawn = {"steps": tuple(search.files)}
    figures = [
        Part(name, "figure", f"{_HERE}.figures:{name}", drawn, settings, title, caption)
        for name, title, caption in _figures(search)
    ]
    return (*tables, *figures)


def _figures(search: Search) -> list[tuple[str, str, str]]:
    """Return name, title and caption of the figures that a search has anything for."""
    own = [stage for stage in search.stages if not stage.repeat]
    found = []
    if any(stage.parameters for stage in own):
        found.append(
            (
                "isolation",
                "What each scientific value comes to",
                "Validation accuracy of every trial by scientific value, by the value itself where "
                "a stage has none; the line joins the best over the other parameters, where values "
                "repeat; the star is the chosen point. Crosses below are infeasible trials: no "
                "number, or a huge loss.",
            )
        )
        found.append(
            (
                "importance",
                "What decides",
                "How far the best accuracy over all other parameters moves as one parameter goes "
                "through its values, and how far the mean accuracy moves, in points; where each "
                "value was tried once (quasi-random points), through the lower, middle and upper "
                "third of them. An infeasible value has no best; trials without a number count in "
                "neither.",
            )
        )
    if any(len(stage.parameters) >= 2 for stage in own):
        found.append(
            (
                "heat_map",
                "Two parameters at once",
                "Validation accuracy by the first scientific (or nuisance) and the last other "
                "parameter of a stage: the best over the others in each cell; each trial as a "
                "point where values do not repeat. The star is the chosen point, a cross a cell or "
                "a trial that is infeasible.",
            )
        )
    found.append(
        (
            "curves",
            "Training curves of the best",
            "Training loss (dashed) and validation accuracy of the best point of each scientific "
            "value, at its first seed.",
        )
    )
    return found
