"""The chapters of the study: their tables and figures, and what these are made from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from perturb.config import Config
from perturb.runs import Run
from perturb.studies.gradients import catalogue
from perturb.studies.gradients.settings import NAME, Entry, Layers, entry
from perturb.study import Chapter, Measure, Part

HERE = "perturb.studies.gradients"
MEASURE = Measure(
    name="decrease_hidden",
    words="loss decrease",
    unit="",
    difference_unit="",
    factor=1.0,
    digits=4,
)


def chapters(config: Config) -> list[Chapter]:
    """Return a chapter for each entry of the study's section, asked for or not."""
    return [chapter_of(config, entry(config, name)) for name in config.section(NAME)]


def chapter_of(config: Config, found: Entry) -> Chapter:
    """Return the chapter that an entry describes."""
    layers = found.layers
    trained = layers.runs if layers else ()
    return Chapter(
        study=NAME,
        name=found.name,
        title=found.title,
        asked=found.name in config.asked,
        measure=MEASURE,
        runs=(*found.toys, *trained),
        parts=(*_tables(found), *_figures(found)),
        words=f"{HERE}.words:words",
        settings=_common(found) | {"layers": layers.values() if layers else None},
        scale=found.scale,
    )


def records_of(toys: Iterable[Run]) -> dict[str, list[str]]:
    """Return what tables and figures of toys are made from: records, and the frames beside them."""
    return {"records": [run.record for run in toys]}


def layer_files(chapter: str, layers: Layers) -> list[str]:
    """Return the frames of the measured layers, relative to the results, one per network."""
    return [f"gradients/{chapter}/layers/{run}/layers.csv" for run in layers.runs]


def _common(found: Entry) -> dict[str, Any]:
    return {"name": found.name, "title": found.title, "scale": found.scale}


def _tables(found: Entry) -> list[Part]:
    toys, common = records_of(found.toys), _common(found)
    told = {**common, "published": found.published}
    drawn = msgspec.to_builtins(found.stochastic)
    parts = [
        _table("", "main", toys, told),
        _table("claims", "claims", toys, told),
        _table("stochastic", "stochastic", {}, {**common, "stochastic": drawn}),
    ]
    if found.layers:
        files = {"layers": layer_files(found.name, found.layers)}
        parts.append(_table("layers", "layers", files, common))
    return parts


def _table(
    name: str, make: str, inputs: Mapping[str, list[str]], settings: Mapping[str, Any]
) -> Part:
    return Part(name, "table", f"{HERE}.parts:{make}", inputs, settings)


def _figures(found: Entry) -> list[Part]:
    toys, settings = records_of(found.toys), {"name": found.name, "scale": found.scale}
    parts = [
        Part(
            name=name,
            kind="figure",
            make=f"{HERE}.figures:make",
            inputs=toys,
            settings={**settings, "figure": name},
            title=catalogue.title(name),
            caption=catalogue.caption(name, found.scale),
        )
        for name in catalogue.TOY
    ]
    if found.layers:
        parts.append(
            Part(
                name="layers",
                kind="figure",
                make=f"{HERE}.figure_of_layers:make",
                inputs={"table": [f"tables/{found.name}_layers.csv"]},
                settings=settings,
                title=catalogue.title("layers"),
                caption=catalogue.caption("layers", found.scale),
            )
        )
    return parts
