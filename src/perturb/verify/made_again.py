"""Tables, figures, audits, section and report made again in memory and compared to the byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from perturb import studies
from perturb.analysis import printers
from perturb.analysis.table import Table
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.figures import style
from perturb.report import html, section
from perturb.study import Chapter, Part, load
from perturb.verify.found import Verification


def _inputs(found: Verification, part: Part) -> dict[str, list[Path]]:
    return {kind: [found.results / path for path in paths] for kind, paths in part.inputs.items()}


def compare_tables(found: Verification, chapter: Chapter) -> None:
    """Make a chapter's tables again and compare them in all their forms."""
    for part in chapter.tables:
        stem = found.results / "tables" / chapter.stem(part)
        if not chapter.asked and not stem.with_name(f"{stem.name}.csv").exists():
            continue
        try:
            table: Table = load(part.make)(part.settings, _inputs(found, part), found.results)
        except PerturbError as error:
            found.find("tables", "uncompared", stem.with_name(f"{stem.name}.csv"), error)
            continue
        for kind, text in printers.texts(table).items():
            found.compare("tables", stem.with_name(f"{stem.name}.{kind}"), text)


def compare_figures(found: Verification, chapter: Chapter) -> None:
    """Draw a chapter's figures again and compare them."""
    folder = found.results / "figures" / chapter.name
    parts = {part.name: part for part in chapter.figures}

    @cache
    def drawn(name: str) -> style.Figure:
        part = parts[name]
        return load(part.make)(part.settings, _inputs(found, part), found.results)

    def figure(path: Path) -> bytes:
        return style.render(drawn(path.stem), path.suffix[1:])

    files = [folder / f"{name}.{kind}" for name in parts for kind in ("pdf", "png")]
    found.make_again("figures", files, chapter.asked, figure)


def files_of_audit(results: Path, name: str) -> list[Path]:
    """Return the tables and figures that an audit leaves beside its page."""
    from perturb.figures.catalogue import AUDIT

    figures = results / "figures" / f"audit_{name}"
    return [figures / f"{figure}.{kind}" for figure in AUDIT for kind in ("pdf", "png")]


def find_unknown(found: Verification, config: Config, chapters: Sequence[Chapter]) -> None:
    """Find tables and figures that nothing of this configuration makes."""
    tables = {
        f"{chapter.stem(part)}.{kind}"
        for chapter in chapters
        for part in chapter.tables
        for kind in printers.KINDS
    }
    for path in sorted((found.results / "tables").glob("[!.]*")):
        if path.name not in tables:
            found.find("tables", "unknown", path)
    known = {
        found.results / "figures" / chapter.name / f"{part.name}.{kind}"
        for chapter in chapters
        for part in chapter.figures
        for kind in ("pdf", "png")
    }
    for audit in config.values.get("audits", {}):
        known.update(files_of_audit(found.results, audit))
    for path in sorted((found.results / "figures").rglob("[!.]*")):
        if path.is_file() and path not in known:
            found.find("figures", "unknown", path)


def compare_report(found: Verification, config: Config, given: str = "") -> None:
    """Make the report and the section again from tables and figures, and compare them."""
    chapters, title = studies.asked(config), studies.title(config)
    files = {
        "report.html": lambda: html.render(chapters, found.results, title=title, given=given),
        "section.tex": lambda: section.render(chapters, found.results),
    }
    for name, render in files.items():
        path = found.results / name
        if found.wrong("tables", "figures"):
            found.find("report", "uncompared", path, "its tables or figures differ")
            continue
        try:
            text = render()
        except (PerturbError, FileNotFoundError) as error:
            found.find("report", "uncompared", path, error)
        else:
            found.compare("report", path, text)
