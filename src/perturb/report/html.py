"""The report: one HTML file with everything in it, that opens without network."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape as html_escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image
from plotly.offline import get_plotlyjs

from perturb.files import write_text
from perturb.report.curves import as_json, of_chapter
from perturb.report.reading import Section, headings, read_bytes, read_text, sections
from perturb.study import Chapter, Part

_DOWNLOADS = {
    "CSV": "csv",
    "LaTeX": "tex",
    "Markdown": "md",
    "provenance": "provenance.csv",
}


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
    made = [_chapter(section, folder) for section in found]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            given=f" {given}" if given else "",
            smoke=all(section.chapter.scale == "smoke" for section in found),
            chapters=made,
            plotly=Markup(get_plotlyjs()) if any(one["curves"] for one in made) else "",
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

    parts = [_part(section, part, address) for part in section.parts]
    figures = [part for part in parts if part["kind"] == "figure"]
    words = section.words
    links = _row_links(parts)
    curves = of_chapter(chapter, results)
    heading, name = headings(chapter, words.heading)
    return {
        "name": chapter.name,
        "heading": heading,
        "called": name,
        "words": words,
        "warnings": [_linked(text, links) for text in words.warnings],
        "findings": [_linked(text, links) for text in words.findings],
        "lead": figures[0] if figures else None,
        "figures": figures[1:],
        "tables": [part for part in parts if part["kind"] == "table"],
        "curves": Markup(as_json(curves)) if curves else "",
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


def _part(section: Section, part: Part, address: Callable[[Path], str]) -> dict[str, Any]:
    if part.kind == "table":
        # A table's piece names files as seen from its own folder.
        beside = html_escape(address(section.results / "x").removesuffix("x"), quote=True)
        text = read_text(section.table(part, "html")).replace('href="../', f'href="{beside}')
        paths = {label: section.table(part, ending) for label, ending in _DOWNLOADS.items()}
        return {
            "kind": "table",
            "name": section.chapter.stem(part),
            "html": Markup(text),  # escaped where it was printed
            "files": {label: address(path) for label, path in paths.items() if path.exists()},
        }
    picture = section.picture(part)
    return {
        "kind": "figure",
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "source": as_small_address(read_bytes(picture.png)),
        "files": {"PDF": address(picture.pdf), "PNG": address(picture.png)},
    }


def _row_links(parts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the id of each method's row, in the first table that has one."""
    found: dict[str, str] = {}
    for part in parts:
        if part["kind"] == "table":
            beginning = f"{part['name']}-"
            for row in re.findall(r'<tr[^>]* id="([^"]+)"', part["html"]):
                found.setdefault(row.removeprefix(beginning), row)
    return found


def _linked(text: str, links: Mapping[str, str]) -> Markup:
    """Return a sentence in which each method leads to its row of the table."""
    if not links:
        return escape(text)
    names = "|".join(map(re.escape, sorted(links, key=len, reverse=True)))
    pieces = re.split(rf"(?<![\w.])({names})(?!\w|\.\w)", text)
    made = (
        Markup('<a href="#{}"><code>{}</code></a>').format(links[piece], piece)
        if position % 2
        else escape(piece)
        for position, piece in enumerate(pieces)
    )
    return Markup().join(made)


def embedded(path: Path) -> str:
    """Return a PNG as the address of an image that holds it."""
    return as_address(read_bytes(path))


def as_small_address(png: bytes) -> str:
    """Return the bytes of a PNG as the address of an image with the same pixels at half the size.

    WebP without loss; the effort is what takes a tenth of a second for a figure.
    """
    kept = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(kept, "WEBP", lossless=True, method=1, quality=20)
    return "data:image/webp;base64," + base64.b64encode(kept.getvalue()).decode("ascii")


def as_address(png: bytes) -> str:
    """Return the bytes of a PNG as the address of an image that holds them."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
