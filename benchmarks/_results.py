"""What benchmarks have measured, a file each: written when it has ended, read by the next call.

A file is of one benchmark on one machine, of its whole or of its quick form: one machine's numbers
never replace another's, nor quick ones those of the whole.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

COLUMNS = [
    "benchmark",
    "what",
    "value",
    "unit",
    "ratio",
    "spread",
    "repeats",
    "against",
    "expected",
]
# Of the CSV, before those: a number is never without where it is from.
FROM = ["measured", "quick", "machine"]


@dataclass(frozen=True)
class Result:
    """What a benchmark measured: its rows, when it ended, how long it took, on what.

    `machine` is a sentence that the next call on the same machine writes again; `versions` is not
    part of what makes it the same.
    """

    name: str
    quick: bool
    measured: str
    seconds: float
    machine: str
    versions: str
    rows: list[dict]

    def write(self, folder: Path) -> None:
        """Write it as the one result of its benchmark, machine and form."""
        folder.mkdir(parents=True, exist_ok=True)
        path = path_of(folder, self.name, self.quick, self.machine)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1) + "\n")
        new.replace(path)


def path_of(folder: Path, name: str, quick: bool, machine: str) -> Path:
    """Return the file of a benchmark's result."""
    key = hashlib.sha256(machine.encode()).hexdigest()[:8]
    return folder / f"{name}{'.quick' if quick else ''}.{key}.json"


def read(path: Path) -> Result | None:
    """Return the result that a file has, None where there is none or no longer one."""
    try:
        return Result(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def read_all(folder: Path, order: Sequence[str]) -> list[Result]:
    """Return all results: of the benchmarks in this order, whole ones before quick ones."""
    found = [result for path in sorted(folder.glob("*.json")) if (result := read(path))]
    place = {name: number for number, name in enumerate(order)}
    return sorted(found, key=lambda r: (place.get(r.name, len(place)), r.name, r.quick))


def text(value: object) -> str:
    """Return a cell: numbers with four significant digits."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _markdown_table(cells: Sequence[Sequence[str]]) -> str:
    head, *lines = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    whole = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in whole)


def _sections(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Return the results by machine, in the order in which these come first."""
    machines = list(dict.fromkeys(result.machine for result in results))
    return [(m, [r for r in results if r.machine == m]) for m in machines]


def markdown(results: Sequence[Result], notes: Sequence[str]) -> str:
    """Return a page: the notes, then for each machine when its benchmarks ran, and their rows."""
    page = ["# Benchmarks", "\n".join(f"- {note}" for note in notes)]
    for machine, own in _sections(results):
        page.append(f"## {machine}")
        for quick in (False, True):
            chosen = [result for result in own if result.quick == quick]
            if not chosen:
                continue
            if quick:
                page.append("### Quick: a tenth of the time, fewer repeats, smaller sizes")
            when = [["benchmark", "measured", "seconds", "versions"]]
            when += [[r.name, r.measured, f"{r.seconds:.0f}", r.versions] for r in chosen]
            page += [_markdown_table(when), _markdown_table(cells_of(chosen))]
    return "\n\n".join(page) + "\n"


def cells_of(results: Sequence[Result]) -> list[list[str]]:
    """Return the rows' texts, the heads of their columns first."""
    rows = [row for result in results for row in result.rows]
    return [COLUMNS] + [[text(row.get(key)) for key in COLUMNS] for row in rows]


def write_csv(results: Sequence[Result], path: Path) -> None:
    """Write every row with when and on what it was measured."""
    with path.open("w", newline="") as file:
        columns = [*FROM, *COLUMNS]
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for result in results:
            origin = {key: getattr(result, key) for key in FROM}
            writer.writerows({**row, **origin} for row in result.rows)
