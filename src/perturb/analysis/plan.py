"""What a table that compares methods lists, typed: made by a study, read by tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from perturb.runs import Run
from perturb.study import Measure


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A method of the table.

    Args:
        method: as the table calls it.
        section: of the table.
        label: says in words what the method is.
        reference: the method that it is compared with, where that is not the table's.
        seeds: of its runs; none where it is listed and its runs are not asked for.
        published: a number published for it.
        note: a remark on it.
        spellings: other names that its runs' folder may have.
        model: that its runs train, where that is not the table's.
        timed: whether it begins to perturb at an epoch of its own, which the table then tells.
        across: the method's name over data sets, for rankings; "" where that is `method`.
        epochs: of its runs; 0 where they have none.
    """

    method: str
    section: str
    label: str = ""
    reference: str = ""
    seeds: tuple[int, ...] = ()
    published: float | None = None
    note: str = ""
    spellings: tuple[str, ...] = ()
    model: str = ""
    timed: bool = False
    across: str = ""
    epochs: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A table of methods on one data set and model.

    Args:
        study, title, chapter: names; the chapter's is that of the table's files.
        sections: of the rows, in the table's order.
        reference: the method that every other is compared with.
        measure: what methods are compared by.
        protocol: "from400" or "holdout", where best epochs are chosen; "" where there are none.
        equivalence_margin: in shown units of the measure (percentage points for accuracies).
        sgd, sgd_double: SGD at equal epochs and at equal gradient evaluations, or "". With `sgd`
            the table has a column of gradient evaluations relative to it.
        epochs: of the reference; 0 where its runs have none.
        published: says where the rows' published numbers are from, for the caption, or "".
        also: further series whose last values are told, mean over seeds.
        normalisation: of the directions of its landscapes, or "".
        leakage: whether its table says what its data set has twice.
        predicted: whether it is made from what its runs say of each test image, too.
    """

    study: str
    title: str
    chapter: str
    dataset: str
    model: str
    rows: tuple[Row, ...]
    sections: tuple[str, ...]
    reference: str
    measure: Measure = Measure()
    scale: str = "full"
    partial_data: bool = False
    protocol: str = "from400"
    equivalence_margin: float = 0.5
    sgd: str = ""
    sgd_double: str = ""
    epochs: int = 0
    published: str = ""
    also: tuple[str, ...] = ("train_loss",)
    normalisation: str = ""
    leakage: bool = False
    predicted: bool = False

    @property
    def models(self) -> str:
        """The models that its runs train, in words, in the rows' order; its own where none."""
        trained = dict.fromkeys(row.model or self.model for row in self.rows if row.seeds)
        found = list(trained or [self.model])
        return " and ".join(filter(None, [", ".join(found[:-1]), found[-1]]))

    @property
    def margin(self) -> float:
        """The equivalence margin in the unit of the records."""
        return self.equivalence_margin / self.measure.factor

    @property
    def last(self) -> str:
        """The stem of the columns with the measure after the last epoch."""
        return f"last_epoch_{self.measure.name}"

    @property
    def best(self) -> str:
        """The stem of the best epoch's columns, which says what it was selected on."""
        split = "validation" if self.protocol == "holdout" else "test"
        return f"best_epoch_{self.measure.name}_selected_on_{split}"

    @property
    def difference(self) -> str:
        """The stem of the columns with the difference to the reference."""
        return f"difference_to_{self.reference}"

    @property
    def published_column(self) -> str:
        """The column of published numbers, or "" where no row has one."""
        listed = any(row.published is not None for row in self.rows)
        return f"published_{self.measure.slug}" if listed else ""

    def reference_of(self, row: Row) -> str:
        """Return the method that a row is compared with: its own, or else the table's."""
        return row.reference or self.reference

    def listed(self) -> tuple[Row, ...]:
        """Return the rows by section; those of no known section stand last."""
        ranks = {section: rank for rank, section in enumerate(self.sections)}
        return tuple(sorted(self.rows, key=lambda row: ranks.get(row.section, len(ranks))))

    def values(self) -> dict[str, Any]:
        """Return the plan as plain values; `of` reads them back."""
        return msgspec.to_builtins(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read what `values` returned, or its JSON's values."""
        return msgspec.convert(values, cls, strict=False)

    def runs(self) -> tuple[Run, ...]:
        """Return every run that the table asks for, in its order."""
        return tuple(
            Run(self.dataset, row.model or self.model, row.method, seed)
            for row in self.rows
            for seed in row.seeds
        )
