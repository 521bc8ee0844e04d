"""The report: one HTML file with everything in it, that opens without network."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from perturb.analysis import display
from perturb.analysis import ranking as rankings
from perturb.analysis.tables import StudyTable
from perturb.files import write_text
from perturb.gradients.table import HEADER
from perturb.landscape import table as scalars
from perturb.report import gradients
from perturb.report.gradients import GradientsSection
from perturb.report.material import Chapter, Picture, Ranking
from perturb.report.results import Results
from perturb.report.sentences import findings, what_was_run

_BAR = 120  # user units across the picture of a difference, zero in the middle


def write(results: Results, path: str | Path) -> None:
    """Write the report to `path`."""
    write_text(path, render(results, Path(path).parent))


def render(results: Results, folder: Path) -> str:
    """Return the report; what it links to is named relative to `folder`."""
    template = environment().get_template("report.html.j2")
    return template.render(
        title=_title(results.chapters),
        smoke=any(_smoke(chapter.table) for chapter in results.chapters),
        chapters=[_chapter(chapter, folder) for chapter in results.chapters],
        ranking=_ranking(results.ranking) if results.ranking else None,
        gradients=[_gradients(study) for study in results.studies],
        headers={
            "claims": gradients.CLAIMS,
            "table": HEADER,
            "layers": gradients.LAYERS,
            "stochastic": gradients.STOCHASTIC,
        },
        results=folder.as_posix(),
    )


def environment() -> Environment:
    """Return where the templates of this room are found, and how they are filled in."""
    return Environment(
        loader=PackageLoader("perturb.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def _ranking(ranking: Ranking) -> dict[str, Any]:
    return {
        "cells": rankings.cells(ranking.frame),
        "caption": rankings.caption(ranking.frame),
        "picture": {"caption": ranking.picture.caption, "source": embedded(ranking.picture.png)},
    }


def _title(chapters: Sequence[Chapter]) -> str:
    titles = {chapter.table.plan.get("title", chapter.table.plan["study"]) for chapter in chapters}
    return "; ".join(sorted(titles)) or "Results"


def _smoke(table: StudyTable) -> bool:
    return bool(table.frame["scale"].str.contains("smoke").any())


def _chapter(chapter: Chapter, folder: Path) -> dict[str, Any]:
    table = chapter.table
    return {
        "dataset": chapter.dataset,
        "heading": display.heading(table),
        "plan": table.plan,
        "smoke": _smoke(table),
        "what": what_was_run(table),
        "warnings": table.warnings,
        "findings": findings(table),
        "sections": display.sections(table),
        "bars": difference_bars(table),
        "caption": display.caption(table),
        "pictures": _pictures(chapter.pictures),
        "landscapes": _landscapes(chapter, folder),
        "provenance": _provenance(table),
        "traced": [chapter.dataset]
        + ([f"landscape_{chapter.dataset}"] if chapter.landscapes is not None else []),
        "example": f"{folder.as_posix()}/runs/{chapter.dataset}/{table.plan['model']}/"
        f"{table.plan['reference']}/seed0/record.json",
    }


def _gradients(study: GradientsSection) -> dict[str, Any]:
    endings = [".csv", ".provenance.csv", "_claims.csv", "_stochastic.csv"]
    endings += ["_layers.csv"] if study.layers else []
    return {
        **{f.name: getattr(study, f.name) for f in fields(study)},
        "heading": study.heading,
        "pictures": _pictures(study.pictures),
        "tables": [study.name + ending for ending in endings],
    }


def _pictures(pictures: Sequence[Picture]) -> list[dict[str, str]]:
    return [
        {"title": p.title, "caption": p.caption, "name": p.name, "source": embedded(p.png)}
        for p in pictures
        if p.png
    ]


def _landscapes(chapter: Chapter, folder: Path) -> dict[str, Any] | None:
    """Return the parts of the landscapes' table and the links to their pages, if any."""
    frame = chapter.landscapes
    if frame is None:
        return None
    pages = [
        {
            "name": f"{path.parents[1].name}, {path.parent.name}",
            "address": Path(os.path.relpath(path, folder)).as_posix(),
        }
        for path in chapter.pages
    ]
    return {
        "tables": [part for part in (scalars.general(frame), scalars.sharpness(frame)) if part],
        "caption": scalars.caption(frame),
        "warnings": scalars.warnings_of(frame),
        "pages": pages,
    }


def embedded(path: Path) -> str:
    """Return a PNG as the address of an image that holds it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _provenance(table: StudyTable) -> dict[str, str]:
    columns = {
        "Protocol": "protocol",
        "Device": "device",
        "Versions": "versions",
        "Data": "data",
        "SHA-256 of the data": "data_sha256",
    }
    return {
        name: " | ".join(sorted({text for text in table.frame[column] if text})) or "unknown"
        for name, column in columns.items()
    }


def difference_bars(table: StudyTable) -> dict[str, Mapping[str, float]]:
    """Return for each method the positions (0 to 120, zero at 60) of its difference and interval.

    The scale is one for the table; what lies further than 2.5 times the median reach is cut off
    at the edges.
    """
    frame = table.frame.set_index("method")
    stem = table.difference
    columns = {"mean": f"{stem}_mean", "low": f"{stem}_ci95_low", "high": f"{stem}_ci95_high"}
    values = frame[list(columns.values())].abs().max(axis=1).dropna()
    values = values[values > 0]
    if values.empty:
        return {}
    reach = min(values.max(), 2.5 * float(np.median(values)))
    bars = {}
    for method, row in frame.iterrows():
        if display.known(row[columns["mean"]]):
            bars[method] = {
                key: round(_BAR / 2 * (1 + float(np.clip(row[name] / reach, -1, 1))), 2)
                for key, name in columns.items()
                if display.known(row[name])
            }
    return bars
