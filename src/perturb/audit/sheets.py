"""A table of text as columns: whatever its dialect, every field under its own header or refused."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from clevercsv.detect import Detector

from perturb.audit.text import Cell, Unreadable, to_cell

DELIMITERS = [",", ";", "\t", "|", " "]
COMMENT = re.compile(r"\s*(?:#|//|;;)")
_SNIFFED = 60  # lines that tell a dialect


@dataclass(frozen=True)
class Sheet:
    """What a file holds, before anything of it is chosen.

    `columns` by name, a cell per row (rows are in the file's order; columns of JSON may differ in
    length); `scalars` what has one value; `breaks` the rows before which the header stands again;
    `percent` the columns whose cells bear the sign; `notes` what is odd, as (kind of finding,
    text); `format` in words, for what was guessed.
    """

    format: str
    columns: Mapping[str, list[Cell]]
    scalars: Mapping[str, Any] = field(default_factory=dict)
    breaks: tuple[int, ...] = ()
    percent: frozenset[str] = frozenset()
    notes: tuple[tuple[str, str], ...] = ()


def read_table(text: str) -> Sheet:
    """Read a CSV in whatever dialect; Unreadable, with line and counts, where it is ragged."""
    lines = text.split("\n")
    above, header_comment = _comments(lines)
    delimiter = _delimiter([line for line in lines[above:] if line.strip()])
    rows = _rows(lines, above, delimiter)
    if not rows:
        raise Unreadable("has no rows below its comments", "truncated")
    comma = delimiter != "," and not any(
        "." in cell and _number(cell) for _, row in rows for cell in row
    )
    comma = comma or (delimiter == "," and _quoted_commas(rows))
    rows, notes = _below_preamble(rows, header_comment, delimiter, comma)
    if not rows:
        raise Unreadable("has no header: no line of names stands above rows of numbers")
    filled, breaks, cut = _aligned(rows, comma, not text.endswith("\n"))
    columns: dict[str, list[Cell]] = {}
    percent = set()
    for position, record in enumerate(filled):
        for name, cell in record.items():
            value, sign = to_cell(cell, comma)
            column = columns.setdefault(name, [None] * position)
            column.append(value)
            if sign:
                percent.add(name)
        for column in columns.values():
            if len(column) == position:
                column.append(None)
    shown = {"\t": "tabs", " ": "spaces"}.get(delimiter, f"'{delimiter}'")
    words = f"table separated by {shown}" + (", decimal commas" if comma else "")
    return Sheet(words, columns, {}, breaks, frozenset(percent), tuple(notes + cut))


def _number(cell: str) -> bool:
    return isinstance(to_cell(cell)[0], float)


def _quoted_commas(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Return whether quoted cells of a comma-separated table are decimal commas throughout."""
    cells = [cell for _, row in rows for cell in row if re.fullmatch(r"\s*[-+]?\d+,\d+%?\s*", cell)]
    return bool(cells) and not any("." in c and _number(c) for _, row in rows for c in row)


def _comments(lines: Sequence[str]) -> tuple[int, str | None]:
    """Return how many lines of comment stand on top, and the last of them without its mark."""
    above, last = 0, None
    for line in lines:
        if line.strip() and not COMMENT.match(line):
            break
        above += 1
        if line.strip():
            last = COMMENT.sub("", line, count=1).strip()
    return above, last


def _delimiter(lines: Sequence[str]) -> str:
    """Return what separates the fields: clevercsv's answer for the first lines."""
    found = Detector().detect("\n".join(lines[:_SNIFFED]) + "\n", delimiters=DELIMITERS)
    return (found.delimiter if found else "") or ","


def _rows(lines: Sequence[str], above: int, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return (line number, fields) of every row that is neither blank nor a comment."""
    if delimiter == " ":
        return [
            (number, line.split())
            for number, line in enumerate(lines[above:], above + 1)
            if line.strip() and not COMMENT.match(line)
        ]
    text = "\n".join("" if COMMENT.match(line) else line for line in lines[above:])
    reader = csv.reader(StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((above + reader.line_num, [cell.strip() for cell in row]))
    except csv.Error as error:
        raise Unreadable(f"is not CSV: line {above + reader.line_num}: {error}") from None
    return rows


def _is_header(row: Sequence[str], comma: bool) -> bool:
    """Return whether a row is one of names: at least one, and no number."""
    cells = [to_cell(cell, comma)[0] for cell in row]
    return any(isinstance(cell, str) for cell in cells) and not any(
        isinstance(cell, float) for cell in cells
    )


def _below_preamble(
    rows: list[tuple[int, list[str]]], comment: str | None, delimiter: str, comma: bool
) -> tuple[list[tuple[int, list[str]]], list[tuple[str, str]]]:
    """Return the rows from the header on; it may stand in a comment (numpy.savetxt).

    Words above the header, of another number of fields than it, are skipped.
    """
    width = Counter(len(row) for _, row in rows).most_common(1)[0][0]
    if not _is_header(rows[0][1], comma) and comment:
        names = comment.split() if delimiter == " " else comment.split(delimiter)
        names = [name.strip() for name in names]
        if len(names) == width and _is_header(names, comma):
            return [(0, names), *rows], []
    for start, (line, row) in enumerate(rows):
        if not _is_header(row, comma):
            if start == 0 and len(row) == width:
                return [], []  # numbers without names
            continue
        following = [len(after) for _, after in rows[start + 1 : start + 3]]
        if len(row) > 1 or width == 1 or (following and max(following) <= 1):
            words = {line for line, _ in rows[:start]}
            said = (
                f"lines {min(words)} to {max(words)} above the header were skipped" if words else ""
            )
            return rows[start:], [("other_series", said)] if words else []
        del line
    return [], []


def _aligned(
    rows: Sequence[tuple[int, list[str]]], comma: bool, unended: bool
) -> tuple[list[dict[str, str]], tuple[int, ...], list[tuple[str, str]]]:
    """Return rows by name, the rows before which a header stands again, and what was cut off."""
    sections: list[tuple[list[str], list[tuple[int, list[str]]]]] = []
    for line, row in rows:
        known = sections[-1][0] if sections else ()
        again = sections and _is_header(row, comma) and len(set(row) & set(known)) * 2 >= len(known)
        if not sections or again:
            sections.append((row, []))
        else:
            sections[-1][1].append((line, row))
    records: list[dict[str, str]] = []
    breaks, cut = [], []
    for place, (header, body) in enumerate(sections):
        last = place == len(sections) - 1
        if place and records:
            breaks.append(len(records))
        names, body, notes = _section(header, body, last, unended)
        cut += notes
        records += [dict(zip(names, row, strict=True)) for _, row in body]
    if not records:
        raise Unreadable("has a header and no rows", "truncated")
    return records, tuple(breaks), cut


def _section(
    header: Sequence[str], body: list[tuple[int, list[str]]], last: bool, unended: bool
) -> tuple[list[str], list[tuple[int, list[str]]], list[tuple[str, str]]]:
    """Return one header with its rows, each of its own number of fields; Unreadable where not."""
    names, width, notes = list(header), len(header), []
    if body and all(len(row) == width + 1 and not row[-1] for _, row in body):
        body = [(line, row[:-1]) for line, row in body]  # a separator after the last field
    if last and body and len(body[-1][1]) < width and all(len(r) == width for _, r in body[:-1]):
        line, row = body[-1]
        notes.append(("truncated", f"line {line} ends in the middle: {len(row)} fields of {width}"))
        body = body[:-1]
    elif last and unended and _cut_number([row for _, row in body]):
        line, row = body[-1]
        notes.append(
            ("truncated", f"line {line}, the last, ends without a line end and with '{row[-1]}'")
        )
    wrong = [(line, len(row)) for line, row in body if len(row) != width]
    if wrong:
        line, count = wrong[0]
        raise Unreadable(
            f"line {line} has {count} fields, its header {width} ({len(wrong)} of {len(body)} rows "
            "differ from it): which value is whose cannot be told. Write one name for each column"
        )
    doubled = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    kept = [i for i, name in enumerate(names) if name or any(row[i] for _, row in body)]
    for place in kept:
        if not names[place]:  # pandas writes its row numbers under no name
            names[place] = f"column {place + 1}"
    if doubled:
        for name in doubled:
            same = [i for i, other in enumerate(names) if other == name]
            if any(len({row[i] for i in same}) > 1 for _, row in body):
                raise Unreadable(f"has the column '{name}' {len(same)} times, with other values")
            kept = [i for i in kept if i not in same[1:]]
    return [names[i] for i in kept], [(n, [row[i] for i in kept]) for n, row in body], notes


def _cut_number(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the last number of the last row has lost digits that all others have."""
    if len(rows) < 4:
        return False
    digits = [len(row[-1].partition(".")[2].rstrip("%")) for row in rows if row[-1]]
    if not rows[-1][-1]:
        return False
    return digits[-1] <= min(digits[:-1], default=0) - 2
