"""The report: one HTML file with everything in it, that opens without network."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from perturb.files import write_text
from perturb.report.reading import Section, read_bytes, read_text, sections
from perturb.study import Chapter, Part


def write(
    chapters: Sequence[Chapter], path: str | Path, title: str = "Results", given: str = ""
) -> None:
    """Write the report of the results that `path` lies in."""
    folder = Path(path).parent
    write_text(path, render(chapters, folder, title=title, given=given))


def render(
    chapters: Sequence[Chapter],
    results: Path,
    folder: Path | None = None,
    title: str = "Results",
    given: str = "",
) -> str:
    """Return the report of the chapters that are asked for, in their order.

    Tables and figures are read below `results`; what the report links to is named relative to
    `folder`, where it will lie, by default `results`. `given` is what of a command says which
    configuration it is: `--configfile mine.yaml`. Raises PerturbError for a missing file.
    """
    folder = folder or results
    found = sections(chapters, results)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            given=f" {given}" if given else "",
            smoke=all(section.chapter.scale == "smoke" for section in found),
            chapters=[_chapter(section, folder) for section in found],
            results=results.as_posix(),
        )
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


def _chapter(section: Section, folder: Path) -> dict[str, Any]:
    chapter, results = section.chapter, section.results

    def address(path: Path) -> str:
        return Path(os.path.relpath(path, folder)).as_posix()

    return {
        "name": chapter.name,
        "words": section.words,
        "parts": [_part(section, part) for part in section.parts],
        "pages": [
            {"title": page.title, "address": address(results / page.path)} for page in section.pages
        ],
        "traced": [
            {"name": path.name, "address": address(path)}
            for path in (section.table(part, "provenance.csv") for part in chapter.tables)
            if path.exists()
        ],
        "table": address(section.table(chapter.tables[0], "csv")) if chapter.tables else "",
        "example": chapter.runs[0].record if chapter.runs else "",
    }


def _part(section: Section, part: Part) -> dict[str, str]:
    if part.kind == "table":
        return {"kind": "table", "html": read_text(section.table(part, "html"))}
    picture = section.picture(part)
    return {
        "kind": "figure",
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "source": as_address(read_bytes(picture.png)),
    }


def embedded(path: Path) -> str:
    """Return a PNG as the address of an image that holds it."""
    return as_address(read_bytes(path))


def as_address(png: bytes) -> str:
    """Return the bytes of a PNG as the address of an image that holds them."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
