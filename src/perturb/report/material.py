"""What the report and the section are made from: tables and figures on disk, by data set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from perturb.analysis import ranking as rankings
from perturb.analysis import tables
from perturb.analysis.tables import StudyTable
from perturb.errors import PerturbError
from perturb.figures.catalogue import CATALOGUE, LANDSCAPES
from perturb.landscape import table as scalar_table


@dataclass(frozen=True)
class Picture:
    """A figure on disk with its words."""

    name: str
    title: str
    caption: str
    pdf: Path | None
    png: Path | None


@dataclass(frozen=True)
class Chapter:
    """A data set's part of the results section.

    Where its landscapes are drawn: their table, and the pages that turn, one a run.
    """

    table: StudyTable
    pictures: list[Picture]
    landscapes: pd.DataFrame | None = None
    pages: list[Path] = field(default_factory=list)

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.table.plan["dataset"]


@dataclass(frozen=True)
class Ranking:
    """The ranking of the methods over data sets, and its figure."""

    frame: pd.DataFrame
    picture: Picture


def ranking(paths: Iterable[str | Path]) -> Ranking | None:
    """Return the ranking that the files at `paths` hold (csv, pdf, png); None for no files."""
    files = {Path(path).suffix: Path(path) for path in paths}
    if not files:
        return None
    text = (
        "Methods by their mean rank over data sets (best on top); small marks are the ranks on "
        "each. Bars on the right join methods that the test does not tell apart, where it found "
        "any difference."
    )
    picture = Picture(
        "ranking", "Ranking over data sets", text, files.get(".pdf"), files.get(".png")
    )
    return Ranking(rankings.read(files[".csv"]), picture)


def chapters(
    plans: str,
    table_paths: Sequence[str | Path],
    figure_paths: Iterable[str | Path],
    page_paths: Sequence[str | Path] = (),
) -> list[Chapter]:
    """Return a chapter for each plan, in their order.

    Args:
        plans: JSON, a list of plans.
        table_paths: CSV files named after the data sets, `landscape_<dataset>` those of landscapes.
        figure_paths: PDF and PNG files `<dataset>/<name>.<ending>`.
        page_paths: pages of landscapes, `<dataset>/<model>/<method>/seed<n>/<plane>.html`.

    Raises PerturbError where a plan's table is not among the files.
    """
    by_name = {Path(path).stem: Path(path) for path in table_paths if str(path).endswith(".csv")}
    files: dict[tuple[str, str], dict[str, Path]] = {}
    for path in map(Path, figure_paths):
        files.setdefault((path.parent.name, path.stem), {})[path.suffix] = path
    found = []
    for plan in json.loads(plans):
        dataset = plan["dataset"]
        if dataset not in by_name:
            raise PerturbError(
                f"no table of {dataset} was given. Make <results>/tables/{dataset}.csv."
            )
        pictures = [
            Picture(
                name,
                entry.title,
                entry.caption(plan),
                files[dataset, name].get(".pdf"),
                files[dataset, name].get(".png"),
            )
            for name, entry in (CATALOGUE | LANDSCAPES).items()
            if (dataset, name) in files
        ]
        scalars = by_name.get(f"landscape_{dataset}")
        found.append(
            Chapter(
                tables.read(by_name[dataset], plan),
                pictures,
                None if scalars is None else scalar_table.read(scalars),
                [path for path in map(Path, page_paths) if path.parents[3].name == dataset],
            )
        )
    return found
