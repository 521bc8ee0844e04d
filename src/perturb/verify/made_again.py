"""Tables, figures, audits, section and report made again in memory and compared to the byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from perturb import studies
from perturb.analysis import printers, sealed
from perturb.analysis.table import Table
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.figures import landscape_page, style
from perturb.figures.catalogue import AUDIT
from perturb.jobs import command_line
from perturb.landscape.files import read_plane
from perturb.landscape.parts import page_of, planes_of
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
        except (PerturbError, FileNotFoundError) as error:
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


def compare_landscape_page(found: Verification, chapter: Chapter) -> None:
    """Make the page of a chapter's surfaces again and compare it."""
    page = found.results / page_of(chapter.name)
    planes = [found.results / path for path in planes_of(chapter)]
    asked = chapter.asked and bool(planes)
    found.make_again(
        "landscapes",
        [page],
        asked,
        lambda _: landscape_page.render(list(map(read_plane, planes)), chapter.scale),
    )


def only_audits(found: Verification) -> bool:
    """Whether audits have been made, and nothing of any study."""
    of_studies = ("data", "init", "runs", "tables", "landscapes", "report.html", "section.tex")
    made = any((found.results / name).exists() for name in of_studies)
    return not made and any((found.results / "audit").glob("*.html"))


def compare_audits(found: Verification, config: Config, given: str = "") -> None:
    """Make every audit again that has been made, and compare its page, tables and figures.

    `given` is what its command says of the configuration.
    """
    known = {path for name in config.values.get("audits", {}) for path in _files_of(found, name)}
    others = _other_audits(found, config)
    for path in sorted((found.results / "audit").glob("[!.]*")):
        if path not in known:
            of = [name for name in others if path in _files_of(found, name)]
            _unknown(found, "audits", path, of)
    for name in config.values.get("audits", {}):
        if any(path.exists() for path in _files_of(found, name)):
            _compare_audit(found, config, name, given)


def _other_audits(found: Verification, config: Config) -> list[str]:
    """Return the audits that another configuration asked for: their pages tell its command."""
    pages = sorted((found.results / "audit").glob("[!.]*.html"))
    told = [page.stem for page in pages if command_line.told_by(page, page.as_posix()) is not None]
    return [name for name in told if name not in config.values.get("audits", {})]


def _files_of(found: Verification, audit: str) -> list[Path]:
    """Return the page, tables and figures that an audit leaves."""
    beside = [f"audit/{audit}.{kind}" for kind in ("html", "csv", "claims.csv", "md")]
    return [*(found.results / path for path in beside), *_figures_of(found, audit)]


def _figures_of(found: Verification, audit: str) -> list[Path]:
    folder = found.results / "figures" / f"audit_{audit}"
    return [folder / f"{name}.{kind}" for name in AUDIT for kind in ("pdf", "png")]


def _compare_audit(found: Verification, config: Config, name: str, given: str) -> None:
    # Imported here: most results have no audit.
    from perturb.audit import formats
    from perturb.audit.plan import plan
    from perturb.audit.study import build
    from perturb.figures.audit import draw
    from perturb.report import audit as pages

    page = found.results / "audit" / f"{name}.html"
    try:
        audit = build(plan(config, name))
    except PerturbError as error:
        found.find("audits", "uncompared", page, error)
        return
    target = page.as_posix()
    for kind in formats.texts(audit, ""):

        def text(given: str, kind: str = kind) -> str:
            return formats.texts(audit, command_line.of_target(target, given))[kind]

        compare_told(found, "audits", page.with_name(f"{name}.{kind}"), text, given, target)
    drawn = cache(lambda figure: draw(figure, audit))
    figures = _figures_of(found, name)
    before = len(found.findings)
    found.make_again(
        "audits", figures, True, lambda path: style.render(drawn(path.stem), path.suffix[1:])
    )
    if len(found.findings) > before:
        found.find("audits", "uncompared", page, "its figures differ")
        return
    pictures = {path.stem: path for path in figures if path.suffix == ".png"}

    def html_of(given: str) -> str:
        command = command_line.of_target(target, given)
        return pages.render(audit, pictures, found.results, command)

    compare_told(found, "audits", page, html_of, given, target)


def find_unknown(found: Verification, config: Config, chapters: Sequence[Chapter]) -> None:
    """Find tables, figures and pages that nothing of this configuration makes."""
    others = _other_tables(found, chapters)
    pages = {found.results / page_of(chapter.name) for chapter in chapters if planes_of(chapter)}
    for path in sorted((found.results / "landscapes").glob("[!.]*.html")):
        if path not in pages:
            _unknown(found, "landscapes", path, others.keys() & {path.stem})
    tables = {
        f"{chapter.stem(part)}.{kind}"
        for chapter in chapters
        for part in chapter.tables
        for kind in printers.KINDS
    }
    for path in sorted((found.results / "tables").glob("[!.]*")):
        if path.name not in tables:
            stems = [stem for stem, files in others.items() if path.name in files]
            _unknown(found, "tables", path, stems)
    known = {
        found.results / "figures" / chapter.name / f"{part.name}.{kind}"
        for chapter in chapters
        for part in chapter.figures
        for kind in ("pdf", "png")
    }
    for audit in config.values.get("audits", {}):
        known.update(_figures_of(found, audit))
    named = [*others, *(f"audit_{name}" for name in _other_audits(found, config))]
    for path in sorted((found.results / "figures").rglob("[!.]*")):
        if path.is_file() and path not in known:
            _unknown(found, "figures", path, {path.parent.name}.intersection(named))


def _other_tables(found: Verification, chapters: Sequence[Chapter]) -> dict[str, list[str]]:
    """Return the files of the tables that another configuration made, by what those are called.

    A table brings its hashes, so that it is told from a file that somebody put there.
    """
    own = {chapter.stem(part) for chapter in chapters for part in chapter.tables}
    found_tables = {}
    for seal in sorted((found.results / "tables").glob(f"[!.]*.{sealed.ENDING}")):
        if seal.stem in own:
            continue
        files = [line.partition("  ")[2] for line in seal.read_text("utf-8").splitlines()]
        for path in (seal.with_name(name) for name in files):
            found.attempt("tables", path, lambda path=path: sealed.check(path))
        found_tables[seal.stem] = [seal.name, *files]
    return found_tables


def _unknown(found: Verification, part: str, path: Path, others: Iterable[str]) -> None:
    """Note a file that nothing of this configuration makes.

    It is put aside where it is of one of `others`, which another configuration made.
    """
    names = list(others)
    for name in names:
        found.put_aside(f"files of {part}", name)
    if not names:
        found.find(part, "unknown", path)


def compare_report(found: Verification, config: Config, given: str = "") -> None:
    """Make the report and the section again from tables and figures, and compare them."""
    chapters, title = studies.asked(config), studies.title(config)
    files = {
        "report.html": lambda given: html.render(chapters, found.results, title=title, given=given),
        "section.tex": lambda _: section.render(chapters, found.results),
    }
    for name, render in files.items():
        path = found.results / name
        if found.wrong("tables", "figures"):
            found.find("report", "uncompared", path, "its tables or figures differ")
            continue
        try:
            compare_told(found, "report", path, render, given, "verify")
        except (PerturbError, FileNotFoundError) as error:
            found.find("report", "uncompared", path, error)


def compare_told(
    found: Verification,
    part: str,
    path: Path,
    render: Callable[[str], str],
    given: str,
    target: str,
) -> None:
    """Compare a text that tells commands with what `render` makes of a configuration's words.

    Commands change no result: a text that differs in them only was made with another configuration
    file beside, which is noted. `target` is what one of its commands makes.
    """
    made = render(given)
    then = command_line.told_by(path, target)
    if then is not None and then != given and path.read_bytes() == render(then).encode():
        found.checked[part] += 1
        found.notes.append(
            f"{path}: made with another configuration ({then or 'without options'}). Only the "
            "commands that it tells differ; to have it tell today's, make it again "
            f"(`{command_line.of_target(path.as_posix(), given, force=True)}`)."
        )
        return
    found.compare(part, path, made)
