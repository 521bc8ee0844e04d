"""Where the time of a workflow went, by what was made, from Snakemake's benchmark files."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from perturb.errors import PerturbError

# Deeper folders are methods and seeds: what is below them counts together.
_DEPTH = 2
# What tells a landscape's job from another of its kind: a direction seed, one of several networks.
_NUMBERED = re.compile(r"\d+$|\d*_net\d+")


def collect(benchmarks: Path) -> dict[str, list[float]]:
    """Return the seconds that each job's last start took, by kind and chapter or data set.

    `runs/digits`, `figures/digits`, and for landscapes the kind of job: `landscapes/digits, plane`.
    Raises PerturbError where there are none.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for path in sorted(benchmarks.rglob("*.tsv")):
        below = path.relative_to(benchmarks)
        part = "/".join(below.parts[:-1][:_DEPTH]) or below.stem
        if below.parts[0] == "landscapes":
            part += f", {_NUMBERED.sub('', path.stem).replace('_page', ' page')}"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        if rows:
            found[part].append(float(rows[-1]["s"]))
    if not found:
        raise PerturbError(
            f"{benchmarks}: no benchmark files; they are written as `snakemake` makes its targets."
        )
    return dict(found)


def table(found: Mapping[str, Sequence[float]]) -> str:
    """Return the parts, those that took longest first, as columns of a terminal."""
    whole = sum(map(sum, found.values()))
    lines = [("part", "jobs", "seconds", "share", "median", "longest")]
    for part, seconds in sorted(found.items(), key=lambda item: -sum(item[1])):
        share = f"{sum(seconds) / whole:.1%}" if whole else ""
        numbers = (sum(seconds), median(seconds), max(seconds))
        total, middle, longest = (f"{number:.1f}" for number in numbers)
        lines.append((part, str(len(seconds)), total, share, middle, longest))
    lines.append(("all", str(sum(map(len, found.values()))), f"{whole:.1f}", "", "", ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
