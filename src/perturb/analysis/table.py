"""A table: the frame that is written as CSV, and how a reader sees it. Printed by `printers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Cell:
    """A cell as a reader sees it.

    `text` is its value, `interval` stands beside it, `label` names it in words, `notes` explain it
    and `alerts` say what limits it. `tone` marks what a reader looks for: `better`, `worse`,
    `equal`, `absent` (there is no number). `bar` are positions of a picture of a difference from
    -1 to 1: its mean first, then the ends of its interval. A cell may stand across the columns
    that follow, `span` in all. `short` is what LaTeX shows in place of `text`, where it is given;
    in a column of kind `verdict` LaTeX explains it below the table. `value` is what a page sorts
    its row by, to the last digit; where it is not given, the number that `text` begins with. `base`
    is the optimiser by which the method takes its steps, for the explanation of a method's name.
    """

    text: str
    interval: str = ""
    label: str = ""
    notes: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    tone: str = ""
    bar: tuple[float, ...] = ()
    span: int = 1
    short: str | None = None
    value: float | None = None
    base: str = ""


@dataclass(frozen=True)
class Column:
    """A column as a reader sees it: its head, and what its cells are.

    Args:
        head: its name; `unit` stands below it.
        kind: `code` for names of methods, `number` (aligned right), `count`, `text`, `verdict`.
        over: headings above the head, topmost first; columns beside each other share equal ones.
        short: the head in LaTeX, its lines parted by newlines; by default head and unit.
        width: of its text on a page, in mm, where lines are broken; 0 where they are not.
        paper: whether LaTeX shows it; where a page is too narrow, the CSV has it.
        compact: whether LaTeX leaves out the zero before a decimal point.
    """

    head: str
    kind: str = "number"
    unit: str = ""
    over: tuple[str, ...] = ()
    short: str = ""
    width: float = 0
    paper: bool = True
    compact: bool = False


@dataclass(frozen=True)
class Group:
    """Rows below one heading, which may be empty; the spans of a row's cells fill its columns."""

    heading: str
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Table:
    """One table in all its forms: the same object is printed as CSV, Markdown, LaTeX and HTML.

    Args:
        name: its files' name without ending, and its label.
        title: its heading.
        frame: what the CSV holds, every number to its last digit.
        columns, groups: what the other forms show.
        caption: says what the numbers are.
        warnings: what limits them, worst first.
        provenance: one line per run that a row is made from.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: Sequence[Column]
    groups: Sequence[Group]
    caption: str
    warnings: Sequence[str] = ()
    provenance: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __post_init__(self) -> None:
        for row in self.rows():
            if sum(cell.span for cell in row) != len(self.columns):
                raise ValueError(f"{self.name}: row '{row[0].text}' does not fill the columns.")

    def rows(self) -> Iterator[Sequence[Cell]]:
        """Yield every row, whatever its group."""
        for group in self.groups:
            yield from group.rows

    def has_interval(self, index: int) -> bool:
        """Return whether a cell of the column `index` has an interval."""
        return any(cell.interval for cell in self.cells(index))

    def has_bar(self, index: int) -> bool:
        """Return whether a cell of the column `index` has a picture."""
        return any(cell.bar for cell in self.cells(index))

    def cells(self, index: int) -> Iterator[Cell]:
        """Yield the cells of the column `index`, but for those that stand across several."""
        for row in self.rows():
            at = 0
            for cell in row:
                if at == index and cell.span == 1:
                    yield cell
                at += cell.span
