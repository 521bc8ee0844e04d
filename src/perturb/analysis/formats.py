"""Writing a table as CSV, Markdown and LaTeX: the same bytes for the same table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from perturb.analysis import display
from perturb.analysis.display import DisplayRow
from perturb.analysis.tables import StudyTable
from perturb.files import write_text

_METHOD = re.compile(r"(?<![\w./])[a-z][a-z0-9.]*(?:_[a-zA-Z0-9.]*[a-zA-Z0-9])+(?!\w)")
_TEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": r"$-$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "×": r"$\times$",
    "–": "--",
    "—": "---",
}
# How a verdict stands in LaTeX, where there is no width for the word.
_MARKS = {
    "better": r"\uparrow",
    "worse": r"\downarrow",
    "better within margin": r"\uparrow\approx",
    "worse within margin": r"\downarrow\approx",
    "equivalent": r"\approx",
    "too few seeds": "?",
}


def write(table: StudyTable, *, csv: str | Path, md: str | Path, tex: str | Path) -> None:
    """Write a table in its three forms, each atomically."""
    write_text(csv, csv_text(table.frame))
    write_text(md, markdown(table))
    write_text(tex, latex(table))


def csv_text(frame: pd.DataFrame) -> str:
    """Return a frame as CSV, floats to their last digit; `tables.read` reads a table back."""
    return frame.to_csv(index=False, lineterminator="\n")


def markdown(table: StudyTable) -> str:
    """Return the table for GitHub: a heading, warnings, one table a section, the caption."""
    header = (
        "method",
        "seeds",
        "accuracy (%)",
        "best epoch (selected on validation)"
        if table.plan["protocol"] == "holdout"
        else "best epoch (selected on test)",
        f"difference to {table.plan['reference']}",
        "p (Holm)",
        "verdict",
        "detectable",
        "gradients",
        "train loss",
        "trigger",
        "notebook",
        "status",
        "remarks",
    )
    lines = [f"# {display.heading(table)}", ""]
    lines += [f"> **{warning}**\n" for warning in table.warnings]
    for section, rows in display.sections(table).items():
        lines += [f"## {section}", "", markdown_row(header), markdown_row(["---"] * len(header))]
        lines += [markdown_row(_md_cells(row)) for row in rows]
        lines.append("")
    return "\n".join([*lines, display.caption(table), ""])


def _md_cells(row: DisplayRow) -> list[str]:
    name = f"`{row.method}`" + (f" {row.label}" if row.label else "")
    differs = row.verdict.startswith(("better", "worse"))
    mixed = f"mixed: {row.mixed}" if row.mixed else ""
    return [
        name,
        row.seeds,
        f"{row.accuracy} {row.accuracy_interval}",
        row.best,
        f"{row.difference} {row.difference_interval}",
        row.p_holm,
        f"**{row.verdict}**" if differs else row.verdict,
        row.detectable,
        row.gradients,
        row.loss,
        row.trigger,
        row.notebook,
        row.status,
        "; ".join(filter(None, [mixed, row.remarks])),
    ]


def markdown_row(cells: Iterable[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"


def escape(text: str) -> str:
    """Return `text` for LaTeX."""
    return "".join(_TEX.get(character, character) for character in text)


def method_tex(name: str) -> str:
    """Return a method's name in typewriter; it may break after an underscore."""
    return r"\texttt{" + escape(name).replace(r"\_", r"\_\allowbreak{}") + "}"


def prose(text: str) -> str:
    """Return plain text for LaTeX, method names in typewriter."""
    pieces, at = [], 0
    for match in _METHOD.finditer(text):
        pieces += [escape(text[at : match.start()]), method_tex(match[0])]
        at = match.end()
    return "".join([*pieces, escape(text[at:])])


def latex(table: StudyTable) -> str:
    """Return the table as a longtable with booktabs rules and its notes, to `\\input`.

    Needs the packages booktabs, longtable and array. Rows without numbers say why across the
    columns.
    """
    heading = escape(display.heading(table))
    label = f"tab:{table.plan['study']}-{table.plan['dataset']}"
    ragged = r">{\raggedright\arraybackslash}"
    columns = rf"@{{}}{ragged}p{{38mm}}cr@{{\,}}lrr@{{\,}}lrrrrr{ragged}p{{13mm}}@{{}}"
    best = "val." if table.plan["protocol"] == "holdout" else "test"
    reference = method_tex(table.plan["reference"])
    header = [
        r"\toprule",
        r"& & \multicolumn{2}{c}{Accuracy (\%)} & Best & \multicolumn{2}{c}{Difference to} "
        r"& & Detect- & Gradi- & Train & Note- & \\",
        rf"Method & $n$ & \multicolumn{{2}}{{c}}{{last epoch}} & on {best} & "
        rf"\multicolumn{{2}}{{c}}{{{reference}}} & $p_{{\mathrm{{Holm}}}}$ & able & ents & loss & "
        r"book & Trigger \\",
        r"\midrule",
    ]
    lines = [
        r"\begingroup\scriptsize\setlength{\tabcolsep}{2pt}"
        r"\setlength{\LTcapwidth}{\linewidth}",
        rf"\begin{{longtable}}{{{columns}}}",
        rf"\caption{{{heading}. {prose(display.caption(table))}}}\label{{{label}}}\\",
        *header,
        r"\endfirsthead",
        rf"\multicolumn{{13}}{{@{{}}l}}{{\emph{{{heading}, continued}}}}\\",
        *header,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
    ]
    for number, (section, rows) in enumerate(display.sections(table).items()):
        lines += [r"\addlinespace"] if number else []
        lines.append(rf"\multicolumn{{13}}{{@{{}}l}}{{\textbf{{{escape(section)}}}}}\\*")
        lines += [_tex_row(row) for row in rows]
    lines += [r"\end{longtable}", *_tex_notes(table), r"\endgroup"]
    return "\n".join(lines) + "\n"


def _tex_row(row: DisplayRow) -> str:
    name = method_tex(row.method) + (f" {escape(row.label)}" if row.label else "")
    if not row.finished:
        return rf"{name} & {row.seeds} & \multicolumn{{11}}{{l}}{{\emph{{{escape(row.status)}}}}}\\"
    mark = f"$^{{{_MARKS[row.verdict]}}}$" if row.verdict in _MARKS else ""
    difference = "reference" if row.verdict == "reference" else row.difference
    star = "" if row.status == "finished" else r"$^{*}$"
    cells = [
        name,
        row.seeds + star,
        row.accuracy,
        row.accuracy_interval,
        row.best,
        difference,
        row.difference_interval,
        row.p_holm,
        row.detectable,
        row.gradients,
        row.loss,
        row.notebook,
        row.trigger,
    ]
    texts = [cells[0], cells[1], *(escape(cell) for cell in cells[2:])]
    texts[6] += mark
    return " & ".join(texts) + r"\\"


def _tex_notes(table: StudyTable) -> list[str]:
    notes = [
        "; ".join(f"${mark}$ {verdict}" for verdict, mark in _MARKS.items())
        + "; no mark: not distinguishable, or not tested."
    ]
    unfinished = [r for r in display.rows(table) if r.finished and r.status != "finished"]
    if unfinished:
        notes.append(
            "$^{*}$ "
            + "; ".join(f"{method_tex(r.method)}: {escape(r.status)}" for r in unfinished)
            + "."
        )
    notes += [r"\textbf{" + prose(warning) + "}" for warning in table.warnings]
    return [r"\noindent " + note + r"\par" for note in notes]
