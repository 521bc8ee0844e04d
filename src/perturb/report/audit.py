"""The page of an audit: one HTML file, claims first, that opens without network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from perturb.audit import words
from perturb.audit.claims import HOLDS, REVERSED, UNKNOWN
from perturb.audit.findings import KINDS
from perturb.audit.study import Audit
from perturb.audit.words import Table
from perturb.figures.audit import nothing_to_show
from perturb.figures.catalogue import AUDIT
from perturb.files import write_text
from perturb.report.html import embedded, environment

_VERDICTS = {HOLDS: "holds", REVERSED: "reversed", UNKNOWN: "cannot"}
_NAMED = {"Method", "Run as", "Baseline", "File", "Row of the study"}  # columns in typewriter
_WORDS = {
    "Why, and what else",
    "Evidence",
    "Found",
    "Last epochs (%)",
    "Names",
}  # columns that wrap


def write(audit: Audit, pictures: Mapping[str, Path], path: str | Path, command: str) -> None:
    """Write the page of `audit` to `path`; `pictures` are the PNG files of the figures by name."""
    write_text(path, render(audit, pictures, Path(path).parents[1], command))


def render(audit: Audit, pictures: Mapping[str, Path], results: Path, command: str) -> str:
    """Return the page of `audit`.

    `results` is the results folder as a command names it, `command` what makes the page again.
    """
    headlines = [claim for claim in audit.claims if claim.headline]
    others = [claim for claim in audit.claims if not claim.headline]
    tables = {kind: words.findings_table(audit, kind) for kind in KINDS}
    contradiction = tables.pop("contradiction")
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            title=audit.plan.title or audit.plan.name,
            name=audit.plan.name,
            results=results.as_posix(),
            command=command,
            summary=words.summary(audit),
            configuration=audit.configuration if audit.guessed else "",
            headlines=words.claims_tables(headlines, audit),
            others=words.claims_tables(others, audit),
            comparisons=len(audit.claims),
            correction=words.holm_sentence(audit),
            verdict=words.verdict_sentence(),
            alone=audit.alone,
            floors=words.floors_table(audit),
            repeats=words.repeats_table(audit),
            contradiction=contradiction,
            alike=words.alike_table(audit),
            held=words.held_sentence(audit),
            doubtful=words.doubtful(audit),
            findings={kind: table for kind, table in tables.items() if table.rows},
            kinds=KINDS,
            published=words.published_table(audit),
            files=words.files_table(audit),
            pictures={
                name: {
                    "title": entry.title,
                    "caption": entry.text,
                    "source": embedded(pictures[name]),
                    "nothing": nothing_to_show(name, audit),
                }
                for name, entry in AUDIT.items()
            },
            named=_NAMED,
            style=_style,
        )
    )


def _style(column: int, cell: str, table: Table) -> str:
    """Return the classes of a cell."""
    header = table.header[column]
    if column in table.numbers:
        return "n"
    if header == "Verdict":
        return _VERDICTS.get(cell, "")
    return "words" if header in _WORDS else "file" if header == "File" else ""
