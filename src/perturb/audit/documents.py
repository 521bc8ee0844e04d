"""Files that are no tables, as columns: JSON in its shapes, JSON lines, text logs, event files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perturb.audit.events import scalars
from perturb.audit.sheets import Sheet
from perturb.audit.text import Cell, Unreadable, to_cell
from perturb.errors import PerturbError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|-?inf"
_WORD = r"[A-Za-z][\w@/.\-]*"
_PAIR = re.compile(rf"({_WORD}(?: {_WORD}){{0,2}})\s*[:=]?\s*\[?({_NUMBER})(?![\w.])\s*(%?)", re.I)
_EPOCH = re.compile(r"\bepoch\b\W{0,3}(\d+)", re.I)


def read_json(text: str) -> Sheet:
    """Read JSON: series by name, a list of epochs, or one object a line; Unreadable if neither."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if error.msg == "Extra data" and len(lines) > 1:
            return _json_lines(lines)
        if error.pos and error.pos >= len(text.rstrip()) - 1:
            raise Unreadable(f"ends in the middle: {error}", "truncated") from None
        raise Unreadable(f"is not JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from None
    if isinstance(value, list):
        if not value:
            raise Unreadable("has no epochs", "truncated")
        return _sheet("list of epochs in JSON", {"": value})
    if not isinstance(value, dict):
        raise Unreadable(f"holds a {type(value).__name__}, not an object with named series")
    if value and all(_index(name) is not None for name in value):
        return _sheet("JSON with one object per epoch", {"": value})
    trainer = isinstance(value.get("log_history"), list)
    return _sheet("Hugging Face trainer_state" if trainer else "JSON", value)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"has the key '{doubled}' twice in one object: which counts is not said")
    return found


def _json_lines(lines: Sequence[str]) -> Sheet:
    records, notes = [], []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line, object_pairs_hook=_object)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise Unreadable(f"is not JSON lines: line {number}: {error.msg}") from None
            notes.append(("truncated", f"line {number} ends in the middle: {error.msg}"))
            continue
        if not isinstance(value, dict):
            raise Unreadable(f"is not JSON lines: line {number} is no object")
        records.append(value)
    return _sheet("JSON lines", {"": records}, notes)


def _sheet(words: str, value: Mapping[str, Any], notes: Iterable[tuple[str, str]] = ()) -> Sheet:
    """Return every list in a JSON value as a column, named by its path with dots."""
    columns: dict[str, list[Cell]] = {}
    scalars, percent = {}, set()
    for path, item in _leaves(value):
        if isinstance(item, list):
            cells = [to_cell(cell) for cell in item]
            columns[path] = [cell for cell, _ in cells]
            percent |= {path} if any(sign for _, sign in cells) else set()
        else:
            scalars[path] = item
    return Sheet(words, columns, scalars, (), frozenset(percent), tuple(notes))


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield (path, list or scalar); rows of objects are turned into columns."""
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, dict) and item and all(_index(name) is not None for name in item):
            ordered = sorted(item.items(), key=lambda pair: _index(pair[0]))
            if all(isinstance(row, dict) for _, row in ordered):
                own = "epoch" if any("epoch" in row for _, row in ordered) else None
                rows = [row if own else {"epoch": _index(n), **row} for n, row in ordered]
                yield from _columns(rows, path)
            else:  # a column as pandas writes it: {"0": 0.2, "1": 0.3}
                yield path, [row for _, row in ordered]
        elif isinstance(item, dict):
            yield from _leaves(item, f"{path}.")
        elif isinstance(item, list) and item and all(isinstance(row, dict) for row in item):
            yield from _columns(item, path)
        else:
            yield path, item


def _index(name: str) -> int | None:
    """Return the number of a key such as "3" or "epoch_3"."""
    match = re.fullmatch(r"(?:epoch)?[ _-]?(\d{1,9})", name, re.I)
    return int(match[1]) if match else None


def _columns(rows: Sequence[Mapping[str, Any]], path: str) -> Iterable[tuple[str, list[Any]]]:
    flat = [dict(_flat(row)) for row in rows]
    for name in dict.fromkeys(name for row in flat for name in row):
        yield f"{path}.{name}" if path else name, [row.get(name) for row in flat]


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, item in row.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def read_log(text: str, fields: Iterable[str]) -> Sheet:
    """Read a text log: the numbers behind words, by the epoch that was named last.

    `fields` are words, or regular expressions with one group that is the number.
    """
    patterns = {name: _pattern(name) for name in fields}
    rows: list[tuple[int | None, dict[str, str]]] = []
    epoch = None
    for line in text.split("\n"):
        if match := _EPOCH.search(line):
            epoch = int(match[1])
        found = {m[1].strip(): m[2] + m[3] for m in _PAIR.finditer(line)}
        found |= {name: m[1] for name, p in patterns.items() for m in p.finditer(line)}
        found = {name: cell for name, cell in found.items() if name.lower() != "epoch"}
        if found:
            rows.append((epoch, found))
    names = dict.fromkeys(name for _, row in rows for name in row)
    columns: dict[str, list[Cell]] = {"epoch": [None if e is None else float(e) for e, _ in rows]}
    percent = set()
    for name in names:
        cells = [to_cell(row.get(name)) for _, row in rows]
        columns[name] = [cell for cell, _ in cells]
        percent |= {name} if any(sign for _, sign in cells) else set()
    if epoch is None:
        del columns["epoch"]
    if not rows:
        raise Unreadable("is a text without numbers behind words")
    return Sheet("text log", columns, {}, (), frozenset(percent))


def _pattern(field: str) -> re.Pattern[str]:
    if "(" not in field:
        return re.compile(rf"{re.escape(field)}\W{{0,3}}?((?:{_NUMBER})\s*%?)", re.I)
    try:
        pattern = re.compile(field)
    except re.error as error:
        raise PerturbError(
            f"config, audits: field '{field}' is no regular expression: {error}."
        ) from None
    if pattern.groups != 1:
        raise PerturbError(
            f"config, audits: field '{field}' needs one group, the number; it has {pattern.groups}."
        )
    return pattern


def long_sheet(words: str, rows: Iterable[tuple[float, str, float]]) -> Sheet:
    """Return a sheet from (step, name of a series, value): one row a step and series."""
    rows = sorted(rows, key=lambda row: row[0])
    names = dict.fromkeys(name for _, name, _ in rows)
    columns: dict[str, list[Cell]] = {"step": [step for step, _, _ in rows]}
    for name in names:
        columns[name] = [value if own == name else None for _, own, value in rows]
    return Sheet(words, columns)


def read_events(content: bytes) -> Sheet:
    """Read the scalars of a TensorBoard event file."""
    rows, cut = scalars(content)
    if not rows:
        raise Unreadable("is an event file without scalars", "truncated")
    notes = (("truncated", cut),) if cut else ()
    return replace(long_sheet("TensorBoard event file", rows), notes=notes)
