"""A table as CSV, Markdown, LaTeX and HTML: one printer each, the same bytes for the same table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from perturb.analysis import sealed
from perturb.analysis.explained import explain
from perturb.analysis.table import Cell, Column, Table
from perturb.files import write_text

_BAR = 120  # user units across the picture of a difference, zero in the middle
_METHOD = re.compile(r"(?<![\w./])[a-z][a-z0-9.]*(?:_[a-zA-Z0-9.+-]*[a-zA-Z0-9])+(?!\w)")
# The number that a text begins with: `−0.09`, `<0.001`, `1,024`, `2/3`.
_LEADING = re.compile(r"[<>≥≤ ]*([+−-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)")
# Of LaTeX in mm: the text of an A4 page, a character of small type (of code), between two columns.
_TEX_WIDTH, _TEX_CHARACTER, _TEX_CODE, _TEX_BETWEEN = 174.0, 1.2, 1.3, 1.4
_LEAST_SHARE = 0.6  # of its width that a column of running text keeps
_TINY = 5 / 7  # of small type
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
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "ρ": r"$\rho$",
    "–": "--",
    "—": "---",
}


def texts(table: Table) -> dict[str, str]:
    """Return what the files of a table hold, by their endings."""
    made = {ending: printer(table) for ending, printer in _PRINTERS.items()}
    return made | {sealed.ENDING: sealed.text(table.name, made)}


def write(table: Table, folder: str | Path) -> None:
    """Write a table's files, each atomically: `{folder}/{table.name}.csv` and so on."""
    for ending, text in texts(table).items():
        write_text(Path(folder) / f"{table.name}.{ending}", text)


def csv_text(frame: pd.DataFrame) -> str:
    """Return a frame as CSV, floats to their last digit."""
    return frame.to_csv(index=False, lineterminator="\n")


def csv(table: Table) -> str:
    """Return what the table holds as CSV, floats to their last digit."""
    return csv_text(table.frame)


# --- Markdown -------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """Return the table for GitHub: heading, warnings, a table for each group, the caption.

    What a row's cells note stands in a last column, `remarks`.
    """
    remarks = any(cell.notes or cell.alerts for row in table.rows() for cell in row)
    header = [_md_head(column) for column in table.columns] + ["remarks"] * remarks
    lines = [f"# {table.title}", ""]
    lines += [f"> **{warning}**\n" for warning in table.warnings]
    for group in table.groups:
        lines += [f"## {group.heading}", ""] if group.heading else []
        lines += [markdown_row(header), markdown_row(["---"] * len(header))]
        lines += [markdown_row(_md_row(row, table.columns, remarks)) for row in group.rows]
        lines.append("")
    return "\n".join([*lines, table.caption, ""])


def markdown_row(cells: Iterable[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"


def _md_head(column: Column) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return ", ".join((*column.over, column.head)) + unit


def _md_row(row: Sequence[Cell], columns: Sequence[Column], remarks: bool) -> list[str]:
    texts: list[str] = []
    for cell in row:
        texts += [_md_cell(cell, columns[len(texts)]), *[""] * (cell.span - 1)]
    notes = [note for cell in row for note in (*cell.alerts, *cell.notes)]
    return [*texts, "; ".join(notes)] if remarks else texts


def _md_cell(cell: Cell, column: Column) -> str:
    text = f"`{cell.text}`" if column.kind == "code" and cell.text else cell.text
    text = f"**{text}**" if cell.tone in ("better", "worse") else text
    return " ".join(filter(None, (text, cell.interval, cell.label)))


# --- HTML -----------------------------------------------------------------------------------------


def html(table: Table) -> str:
    """Return the table as a piece of a page: heading, warnings, table, caption.

    Its classes are those of the report's style sheet (report/style.css.j2).
    """
    environment = Environment(
        loader=PackageLoader("perturb.analysis", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    template = environment.get_template("table.html.j2")
    numbered = range(len(table.columns))
    heads = [_html_heads(table, level) for level in range(_depth(table.columns))]
    return template.render(
        table=table,
        heads=heads,
        bars=[table.has_bar(index) for index in numbered],
        width=len(table.columns) + sum(table.has_bar(index) for index in numbered),
        placed=placed,
        ends=_bar_ends,
        explain=explain,
        runs_of=_runs_by_row(table.provenance),
        anchor=_Anchors(table),
        value_of=_value,
    )


class _Anchors:
    """The id of each row that a name begins, for links: `digits-sgd_30`; each once."""

    def __init__(self, table: Table) -> None:
        self._name, self._given = table.name, set[str]()
        self._named = bool(table.columns) and table.columns[0].kind == "code"

    def __call__(self, row: Sequence[Cell]) -> Markup:
        """Return the attribute of a row, empty where it has none."""
        found = row_id(self._name, row[0].text)
        if not self._named or not row[0].text or found in self._given:
            return Markup()
        self._given.add(found)
        return Markup(' id="{}"').format(found)


def row_id(table: str, method: str) -> str:
    """Return the id of a method's row in a table's piece of a page."""
    return f"{table}-{method}".replace(" ", "-")


def _value(cell: Cell, column: Column) -> Markup:
    """Return as an attribute what a page sorts a cell's row by, where it is a number."""
    value = cell.value
    if value is None and (found := _LEADING.match(cell.text)):
        value = float(found[1].replace("−", "-").replace(",", ""))
    known = value is not None and math.isfinite(value) and column.kind not in ("code", "text")
    return Markup(' data-value="{}"').format(repr(float(value))) if known else Markup()


def _runs_by_row(provenance: pd.DataFrame) -> Callable[[str], list[tuple[Any, str]]]:
    """Return a function of a row's name: seed and folder of each of its own runs."""
    if provenance.empty or not {"method", "run", "seed", "columns"} <= set(provenance.columns):
        return lambda name: []
    # Every run of the row itself is behind its status (analysis/provenance.py).
    own = provenance[
        [{"status", "*"} & set(text.split()) != set() for text in provenance["columns"]]
    ]

    def runs(name: str) -> list[tuple[Any, str]]:
        chosen = own[own["method"] == name]
        return list(dict.fromkeys(zip(chosen["seed"], chosen["run"], strict=True)))

    return runs


def placed(row: Sequence[Cell]) -> Iterator[tuple[int, Cell]]:
    """Yield each cell with the index of its first column."""
    at = 0
    for cell in row:
        yield at, cell
        at += cell.span


def _depth(columns: Sequence[Column]) -> int:
    return max((len(column.over) for column in columns), default=0)


def _html_heads(table: Table, level: int) -> list[tuple[str, int]]:
    """Return the headings of a level above the heads, with how many columns each stands over."""
    return [
        (text, sum(1 + table.has_bar(index) for index in indices))
        for text, indices in _shared(table.columns, range(len(table.columns)), level)
    ]


def _shared(
    columns: Sequence[Column], indices: Iterable[int], level: int
) -> Iterator[tuple[str, list[int]]]:
    """Yield the headings of a level above the heads, each with the columns that share it."""

    def key(index: int) -> tuple[str, ...]:
        return columns[index].over[: level + 1]

    for over, group in groupby(indices, key=key):
        yield over[level] if level < len(over) else "", list(group)


def _bar_ends(cell: Cell) -> list[float]:
    """Return the positions of a picture in its user units."""
    return [round(_BAR / 2 * (1 + position), 2) for position in cell.bar]


# --- LaTeX ----------------------------------------------------------------------------------------


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


def latex(table: Table) -> str:
    """Return the table as a longtable with booktabs rules and its notes, to `\\input`.

    Needs the packages booktabs, longtable and array. An interval has a column of its own beside
    its number's. Notes of cells are set below the table, under letters.
    """
    shown = [index for index, column in enumerate(table.columns) if column.paper]
    width = sum(1 + table.has_interval(index) for index in shown)
    across = rf"\multicolumn{{{width}}}{{@{{}}l}}"
    # Rows of several lines would run into each other.
    apart = any(table.columns[index].width for index in shown)
    header = [r"\toprule", *_tex_header(table, shown), r"\midrule"]
    letters = _letters(table)
    size, share = _tex_size(table, shown, letters)
    lines = [
        rf"\begingroup{size}\setlength{{\tabcolsep}}{{2pt}}\setlength{{\LTcapwidth}}{{\linewidth}}",
        rf"\begin{{longtable}}{{@{{}}{_tex_columns(table, shown, share)}@{{}}}}",
        rf"\caption{{{prose(f'{table.title}. {table.caption}{_left_out(table)}')}}}"
        rf"\label{{tab:{table.name}}}\\",
        *header,
        r"\endfirsthead",
        rf"{across}{{\emph{{{prose(table.title)}, continued}}}}\\",
        *header,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
    ]
    for number, group in enumerate(table.groups):
        lines += [r"\addlinespace"] if number else []
        if group.heading:
            lines.append(rf"{across}{{\textbf{{{prose(group.heading)}}}}}\\*")
        for row in group.rows:
            lines += [_tex_row(row, table, letters), *[r"\addlinespace[2pt]"] * apart]
    lines += [r"\end{longtable}", *_tex_notes(table, letters), r"\endgroup"]
    return "\n".join(lines) + "\n"


def _left_out(table: Table) -> str:
    heads = [column.head for column in table.columns if not column.paper]
    if not heads:
        return ""
    listed = " and ".join(filter(None, [", ".join(heads[:-1]), heads[-1]]))
    return f" Not shown here for want of width, but in {table.name}.csv: {listed}."


def _tex_size(table: Table, shown: Sequence[int], letters: Mapping[str, str]) -> tuple[str, float]:
    """Return a table's size of type, and by what its columns of a given width are narrower.

    So that it is as wide as the page at most, told from the characters of its cells: columns of
    running text give way first, then the type.
    """
    given, others = 0.0, 0.0
    for index in shown:
        column = table.columns[index]
        others += _TEX_BETWEEN * (1 + table.has_interval(index))
        if column.width:
            given += column.width
            continue
        cells = [c for row in table.rows() for at, c in placed(row) if at == index and c.span == 1]
        texts = [
            f"{c.text if c.short is None else c.short} {c.label}".strip() + " " + c.interval
            for c in cells
        ]
        marks = any(note in letters for c in cells for note in (*c.alerts, *c.notes))
        longest = max(map(len, (*texts, *_head_lines(column))), default=0) + marks
        others += longest * (_TEX_CODE if column.kind == "code" else _TEX_CHARACTER)
    if given + others <= _TEX_WIDTH:
        return r"\scriptsize", 1.0
    share = (_TEX_WIDTH - others) / given if given else 0.0
    if share >= _LEAST_SHARE:
        return r"\scriptsize", share
    others *= _TINY
    return r"\tiny", min(1.0, (_TEX_WIDTH - others) / given) if given else 1.0


def _tex_columns(table: Table, shown: Sequence[int], share: float) -> str:
    parts = []
    for index in shown:
        column = table.columns[index]
        if column.width:
            plain = rf">{{\raggedright\arraybackslash}}p{{{column.width * share:.3g}mm}}"
        else:
            plain = {"number": "r", "count": "c", "verdict": "c"}.get(column.kind, "l")
        parts.append(plain + (r"@{\,}l" if table.has_interval(index) else ""))
    return "".join(parts)


def _tex_header(table: Table, shown: Sequence[int]) -> list[str]:
    """Return the lines of the header: shared headings, then the lines of each column's head."""
    found = []
    for level in range(_depth(table.columns)):
        cells = [
            _across(sum(1 + table.has_interval(i) for i in indices), text)
            for text, indices in _shared(table.columns, shown, level)
        ]
        found.append(" & ".join(cells) + r" \\")
    heads = [_head_lines(table.columns[index]) for index in shown]
    height = max(map(len, heads))
    heads = [[""] * (height - len(head)) + head for head in heads]
    for line in zip(*heads, strict=True):
        cells = [
            _across(1 + table.has_interval(index), text)
            for index, text in zip(shown, line, strict=True)
        ]
        found.append(" & ".join(cells) + r" \\")
    return found


def _head_lines(column: Column) -> list[str]:
    if column.short:
        return column.short.split("\n")
    return [column.head, *([f"({column.unit})"] if column.unit else [])]


def _across(columns: int, text: str) -> str:
    """Return a heading over several columns, or over one."""
    if columns == 1:
        return prose(text)
    if not text:
        return "&" * (columns - 1)
    return rf"\multicolumn{{{columns}}}{{c}}{{{prose(text)}}}"


def _tex_row(row: Sequence[Cell], table: Table, letters: dict[str, str]) -> str:
    texts = []
    for at, cell in placed(row):
        covered = [i for i in range(at, at + cell.span) if table.columns[i].paper]
        if not covered:
            continue
        text = _tex_text(cell, table.columns[at], letters)
        width = sum(1 + table.has_interval(i) for i in covered)
        if cell.span > 1:
            texts.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{text}}}}}")
        else:
            texts += [text, _tex_number(cell.interval, table.columns[at])][:width]
    guard = "{}" if texts[0].startswith(("[", "*")) else ""  # else the line before reads it
    return guard + " & ".join(texts) + r"\\"


def _tex_text(cell: Cell, column: Column, letters: dict[str, str]) -> str:
    plain = cell.text if cell.short is None else cell.short
    if column.kind == "code":
        text = method_tex(plain) if plain else ""
    elif column.kind == "number":
        text = _tex_number(plain, column)
    else:
        text = prose(plain)
    marks = ",".join(letters[note] for note in (*cell.alerts, *cell.notes))
    text += rf"\textsuperscript{{{marks}}}" if marks else ""
    return " ".join(filter(None, (text, prose(cell.label))))


def _tex_number(text: str, column: Column) -> str:
    return escape(re.sub(r"(?<![\d.])0\.(?=\d)", ".", text) if column.compact else text)


def _letters(table: Table) -> dict[str, str]:
    """Return the mark of every note of a cell, in the order of the table: a, b, ..., z, aa, ..."""
    shown = (
        note
        for row in table.rows()
        for at, cell in placed(row)
        if any(column.paper for column in table.columns[at : at + cell.span])
        for note in (*cell.alerts, *cell.notes)
    )
    found: dict[str, str] = {}
    for note in shown:
        if note not in found:
            times, letter = divmod(len(found), 26)
            found[note] = chr(ord("a") + letter) * (times + 1)
    return found


def _tex_notes(table: Table, letters: dict[str, str]) -> list[str]:
    legend = _legend(table)
    notes = [f"{legend}."] if legend else []
    if letters:
        marked = (rf"\textsuperscript{{{mark}}} {prose(text)}" for text, mark in letters.items())
        notes.append("; ".join(marked) + ".")
    notes += [r"\textbf{" + prose(warning) + "}" for warning in table.warnings]
    return [r"\noindent " + note + r"\par" for note in notes]


def _legend(table: Table) -> str:
    """Say what the marks stand for that LaTeX shows in place of verdicts."""
    marks: dict[str, list[str]] = {}
    for index, column in enumerate(table.columns):
        for cell in table.cells(index) if column.kind == "verdict" else ():
            if cell.short is not None and cell.text:
                texts = marks.setdefault(cell.short, [])
                texts += [cell.text] if cell.text not in texts else []
    said = [f"{prose(mark)} {' or '.join(texts)}" for mark, texts in marks.items() if mark]
    said += [f"no mark: {' or '.join(marks[''])}"] if "" in marks else []
    return "; ".join(said)


_PRINTERS: dict[str, Callable[[Table], str]] = {
    "csv": csv,
    "md": markdown,
    "tex": latex,
    "html": html,
    "provenance.csv": lambda table: csv_text(table.provenance),
}
KINDS = (*_PRINTERS, sealed.ENDING)
