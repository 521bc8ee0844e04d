"""A chapter as it lies on disk: its words, the tables' pieces, the figures' files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from perturb.analysis import sealed
from perturb.errors import PerturbError
from perturb.study import Chapter, Page, Part, Words, load


@dataclass(frozen=True)
class Picture:
    """A figure: its name in the chapter, its words, and where its PDF and PNG are."""

    name: str
    title: str
    caption: str
    pdf: Path
    png: Path


@dataclass(frozen=True)
class Section:
    """What the results section says and shows of a chapter."""

    chapter: Chapter
    words: Words
    parts: tuple[Part, ...]
    results: Path

    def table(self, part: Part, ending: str) -> Path:
        """Return where a table is, in one of its forms."""
        return self.results / "tables" / f"{self.chapter.stem(part)}.{ending}"

    def picture(self, part: Part) -> Picture:
        """Return a figure with its files."""
        stem = self.results / "figures" / self.chapter.name / part.name
        pdf, png = (stem.with_name(f"{part.name}.{kind}") for kind in ("pdf", "png"))
        return Picture(part.name, part.title, part.caption, pdf, png)

    @property
    def pages(self) -> tuple[Page, ...]:
        """The files that the report links to."""
        return self.chapter.pages


def sections(chapters: Iterable[Chapter], results: Path) -> list[Section]:
    """Return a section for each chapter that is asked for, from what lies in `results`.

    Raises PerturbError where a table or a figure is missing, or a table was edited.
    """
    return [_section(chapter, results) for chapter in chapters if chapter.asked]


def headings(chapter: Chapter, said: str) -> tuple[str, str]:
    """Return a chapter's heading, and what is written small beside it.

    The heading is the chapter's title; `said`, of its words, stands beside it, or is the heading
    itself where it is the title with a remark. Beside that stands what the files are called.
    """
    if said.startswith(chapter.title) or chapter.title.startswith(said):
        return said, chapter.name
    return chapter.title, said


def _section(chapter: Chapter, results: Path) -> Section:
    frames = {
        part.name: _frame(results / "tables" / f"{chapter.stem(part)}.csv")
        for part in chapter.tables
    }
    for part in chapter.tables:  # which a paper reads by \\input
        sealed.check(results / "tables" / f"{chapter.stem(part)}.tex")
    words = load(chapter.words)(chapter.settings, frames)
    return Section(chapter, words, _in_order(chapter.parts), results)


def _in_order(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: part.kind != "table"))


def _frame(path: Path) -> pd.DataFrame:
    """Read a table; empty texts are empty, empty numbers NaN."""
    _there(path)
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except ValueError as error:
        raise PerturbError(f"{path}: damaged ({error}). Delete it and make it again.") from None


def read_text(path: Path) -> str:
    """Read a piece of a page; PerturbError where it is missing."""
    return _there(path).read_text(encoding="utf-8")


def read_bytes(path: Path) -> bytes:
    """Read a picture; PerturbError where it is missing."""
    return _there(path).read_bytes()


def _there(path: Path) -> Path:
    if not path.exists():
        raise PerturbError(f"{path}: missing, and the results section shows it. Make it first.")
    return sealed.check(path)
