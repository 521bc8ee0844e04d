"""A comparison as a reader sees it: shown units, intervals, signs and verdicts, as plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from perturb.analysis import training
from perturb.analysis.plan import Plan
from perturb.analysis.statistics import FEW_SEEDS, LEVEL, POWER, p_text
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.analysis.tables import ComparisonTable
from perturb.study import Measure


@dataclass(frozen=True)
class DisplayRow:
    """One row of a table as text; an empty string stands where there is nothing to say.

    `last`, `best`, `difference`, `detectable`, `published` are in the shown unit of the measure;
    `also` are further series in the plan's order; `verdict` is a key of `comparisons.VERDICTS`;
    `base` is the optimiser that takes the steps of its runs, as prose has it; `values` are the
    numbers behind the texts, by these names, to the last digit.
    """

    section: str
    method: str
    label: str
    seeds: str
    last: str
    last_interval: str
    best: str
    difference: str
    difference_interval: str
    without_copies: str
    images_interval: str
    p_holm: str
    detectable: str
    gradients: str
    also: tuple[str, ...]
    trigger: str
    published: str
    status: str
    verdict: str
    mixed: str
    remarks: str
    base: str
    values: Mapping[str, float]

    @property
    def finished(self) -> bool:
        """Whether any run of the method finished, so that there are numbers."""
        return bool(self.last)


def rows(table: ComparisonTable) -> list[DisplayRow]:
    """Return the rows of a table as text, in its order."""
    return [_row(table, row) for row in table.frame.to_dict("records")]


_WHOLE = 100.0  # percent, and so the largest difference of two percentages in points

# A protocol as a sentence has it.
PROTOCOLS = {
    "from400": "every train image trained on, the test split also as validation",
    "holdout": "20 % of the train split held out as validation",
}


def epochs_said(plan: Plan) -> str:
    """Return `, 5 epochs`, and how the methods that train for others are known; "" without any."""
    if not plan.epochs:
        return ""
    epochs = f", {plan.epochs} epoch{'' if plan.epochs == 1 else 's'}"
    others = any(row.epochs not in (0, plan.epochs) for row in plan.rows)
    return epochs + (" unless the name's last number says otherwise" if others else "")


def caption(table: ComparisonTable) -> str:
    """Return the sentences that say what the numbers of a table are, of those that it has."""
    plan, measure, frame = table.plan, table.plan.measure, table.frame
    unit = f" ({measure.unit})" if measure.unit else ""
    interval = frame[f"{plan.last}_ci95_low"].notna().any()
    parts = [
        f"{measure.words[:1].upper()}{measure.words[1:]}{unit} of {plan.models} on {plan.dataset}"
        f"{epochs_said(plan)}: "
        + ("mean over seeds" if (frame["seeds_asked"] > 1).any() else "one seed")
        + (" with the 95 % t interval of the mean." if interval else "."),
        "" if measure.larger_is_better else "Smaller is better.",
    ]
    if frame[f"{plan.difference}_mean"].notna().any():
        with_interval = frame[f"{plan.difference}_ci95_low"].notna().any()
        end = ", with its 95 % t interval." if with_interval else "."
        others = sorted({row.reference for row in plan.rows if row.reference} - {plan.reference})
        or_own = " (or what its remark names)" if others else ""
        parts += [
            f"Difference: to {plan.reference}{or_own} {_design(table)}{_in_points(measure)}{end}",
            _verdicts(table),
        ]
    if frame["minimum_detectable_difference"].notna().any():
        parts.append(
            f"Detectable: the difference that a test on as many seeds finds at {100 * LEVEL:.0f} "
            f"%, uncorrected, with power {POWER}."
        )
    if any(row.images_interval for row in rows(table)):
        parts.append(
            "Over seeds and images: the 95 % interval of the difference for other seeds and for "
            "other test images, too."
        )
    if _without_copies(table):
        parts.append(
            "Without duplicates: accuracy on the test images that have no copy among the train "
            "images."
        )
    if any(row.trigger for row in rows(table)):
        parts.append(
            "Trigger: for each seed the epoch, counted from 0, at whose end the timing rule held, "
            "and in brackets the first that perturbs."
        )
    if plan.sgd:
        parts.append(f"Gradients: batch gradients computed, relative to {plan.sgd}.")
    if _published(table):
        parts.append(
            f"Published: {plan.published or 'as the configuration gives it, from elsewhere'}."
        )
    return " ".join(filter(None, [*parts, _split(plan)]))


def _in_points(measure: Measure) -> str:
    if not measure.difference_unit:
        return ""
    percentage = "percentage " if measure.unit == "%" else ""
    return f", in {percentage}{measure.difference_unit}"


def _split(plan: Plan) -> str:
    """Say which images choose the best epoch."""
    if plan.protocol == "holdout":
        return "The best epoch is chosen on a fixed 20 % of the train split."
    if not plan.protocol:
        return ""
    return (
        "The whole train split trains and the test split plays validation; the best epoch is "
        "selected on test, so that column is too high by construction."
    )


def _published(table: ComparisonTable) -> bool:
    column = table.plan.published_column
    return bool(column) and bool(table.frame[column].notna().any())


def _without_copies(table: ComparisonTable) -> bool:
    column = f"{table.plan.last}_without_duplicates_mean"
    return column in table.frame and bool(table.frame[column].notna().any())


def _design(table: ComparisonTable) -> str:
    same_model = all(row.model in ("", table.plan.model) for row in table.plan.rows)
    paired = "at the same seed" + (" and the same initial weights" if same_model else "")
    if not table.frame["comparison"].str.startswith("unpaired").any():
        return paired
    return f"{paired} (by Welch's test where fewer than {FEW_SEEDS} seeds are shared)"


def _verdicts(table: ComparisonTable) -> str:
    """Say what the verdicts follow from: the family, the corrections, the margin."""
    family = next((text for text in table.frame["family"] if text), "")
    if not family:
        return f"No verdict: no comparison has {FEW_SEEDS} seeds and a difference that varies."
    return (
        f"Verdicts at {100 * LEVEL:.0f} % after Holm's correction over the family of this table "
        f"({family}; either kind corrected on its own): better or worse by the t test, equivalent "
        "by two one-sided tests against a margin of "
        f"{table.plan.equivalence_margin:g} {table.plan.measure.difference_unit}".rstrip()
        + "."
    )


def heading(table: ComparisonTable) -> str:
    """Return a table's title; a smoke run's and a partial data set's say so."""
    marks = []
    if table.frame["scale"].str.contains("smoke").any():
        marks.append("smoke run")
    if (table.frame["data"] != "whole").any():
        marks.append("partial data")
    return f"{table.plan.dataset}, {table.plan.models}" + (
        f" ({', '.join(marks)})" if marks else ""
    )


def mark(table: ComparisonTable) -> str:
    """Return what must stand on every figure: that the runs are smoke, or the data partial."""
    marks = []
    if table.frame["scale"].str.contains("smoke").any():
        marks.append("Smoke run: shortened training, not a result of the study")
    partial = sorted({text for text in table.frame["data"] if text != "whole"})
    if partial:
        marks.append(f"data {', '.join(partial)}")
    return ". ".join(marks)


def known(value: Any) -> bool:
    """Return whether a cell of a table holds a number."""
    return value is not None and not math.isnan(value)


def percent(value: float | None, digits: int = 2) -> str:
    """Write a fraction in percent, without the sign; empty where it is unknown."""
    return shown(Measure(digits=digits), value)


def points(value: float | None) -> str:
    """Write a difference of fractions in percentage points, with its sign."""
    return shown_difference(Measure(), value)


def shown(measure: Measure, value: float | None) -> str:
    """Write a value of a measure in its shown unit, without it; empty where it is unknown."""
    if not known(value):
        return ""
    return f"{measure.factor * value:.{measure.digits}f}".replace("-", "−")


def detectable_shown(measure: Measure, value: float | None) -> str:
    """Write a detectable difference; `>100` where no difference of percentages is so large."""
    return ">100" if exceeds(measure, value) else shown(measure, value)


def exceeds(measure: Measure, value: float | None) -> bool:
    """Return whether a difference is larger than any two percentages can have."""
    return measure.unit == "%" and known(value) and measure.factor * value > _WHOLE


def significant(value: float, digits: int = 3) -> str:
    """Write a number to `digits` significant digits, zeros kept: `2.30`; empty where unknown."""
    if math.isnan(value):
        return ""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-", "−")
    # The power after rounding: 9.999 to three digits is 10.0, not 10.00.
    power = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if -4 <= power < 6:
        text = f"{value:.{max(digits - 1 - power, 0)}f}"
    else:
        text = f"{value:.{digits - 1}e}"
    return text.replace("-", "−")


def shown_difference(measure: Measure, value: float | None) -> str:
    """Write a difference of a measure in its shown unit, with its sign."""
    if not known(value):
        return ""
    text = f"{measure.factor * value:+.{measure.digits}f}"
    return (f"{0:.{measure.digits}f}" if float(text) == 0 else text).replace("-", "−")


def _row(table: ComparisonTable, row: Mapping[str, Any]) -> DisplayRow:
    plan, measure = table.plan, table.plan.measure
    low, high = (row[f"{plan.last}_ci95_{end}"] for end in ("low", "high"))
    ends, of_images = (
        [
            shown_difference(measure, row.get(f"{plan.difference}_{which}ci95_{end}"))
            for end in ("low", "high")
        ]
        for which in ("", "seeds_and_images_")
    )
    relative = row.get("gradient_evaluations_relative_to_sgd")
    others = [row[f"final_{name}_mean"] for name in plan.also]
    values = {
        "last": row[f"{plan.last}_mean"],
        "best": row.get(f"{plan.best}_mean"),
        "difference": row[f"{plan.difference}_mean"],
        "without_copies": row.get(f"{plan.last}_without_duplicates_mean"),
        "p_holm": row["p_value_holm"],
        "detectable": row["minimum_detectable_difference"],
        "gradients": relative,
        "published": row.get(plan.published_column),
    } | dict(zip(plan.also, others, strict=True))
    return DisplayRow(
        section=row["section"],
        method=row["method"],
        label=row["label"],
        seeds=f"{row['seeds_finished']}/{row['seeds_asked']}",
        last=shown(measure, row[f"{plan.last}_mean"]),
        last_interval=f"± {shown(measure, (high - low) / 2)}" if known(low) else "",
        best=shown(measure, row.get(f"{plan.best}_mean")),
        difference=shown_difference(measure, row[f"{plan.difference}_mean"]),
        difference_interval=f"[{ends[0]}, {ends[1]}]" if ends[0] else "",
        without_copies=shown(measure, row.get(f"{plan.last}_without_duplicates_mean")),
        images_interval=f"[{of_images[0]}, {of_images[1]}]" if of_images[0] else "",
        p_holm=p_text(row["p_value_holm"]),
        detectable=detectable_shown(measure, row["minimum_detectable_difference"]),
        gradients=f"{relative:.2f}" if known(relative) else "",
        also=tuple(significant(v) if known(v) else "" for v in others),
        trigger=row.get("trigger_epoch", ""),
        published=shown(measure, row.get(plan.published_column)),
        status=row["status"],
        verdict=row["verdict"],
        mixed=row["mixed"],
        remarks=row["remarks"],
        base=training.base_of(row.get("settings", "")),
        values={name: float(value) for name, value in values.items() if known(value)},
    )


# How a verdict stands in LaTeX, where there is no width for the word, and its tone.
_MARKS = {
    "better": ("↑", "better"),
    "worse": ("↓", "worse"),
    "better within margin": ("↑≈", "better"),
    "worse within margin": ("↓≈", "worse"),
    "equivalent": ("≈", "equal"),
    "too few seeds": ("?", ""),
}


def table_of(table: ComparisonTable, provenance: pd.DataFrame | None = None) -> Table:
    """Return the table as it is printed: rows by section, intervals, pictures of differences."""
    found = rows(table)
    has = _Optional.of(table, found)
    bars = difference_bars(table)
    groups = [
        Group(section, [_cells(row, table.plan, bars, has) for row in listed])
        for section, listed in groupby(found, key=lambda row: row.section)
    ]
    return Table(
        name=table.plan.chapter,
        title=f"Every method: {heading(table)}",
        frame=table.frame,
        columns=_columns(table.plan, has),
        groups=groups,
        caption=caption(table),
        warnings=table.warnings,
        provenance=pd.DataFrame() if provenance is None else provenance,
    )


@dataclass(frozen=True)
class _Optional:
    """Which columns a table has that not every one needs."""

    triggers: bool
    published: bool
    without_copies: bool
    images: bool

    @classmethod
    def of(cls, table: ComparisonTable, found: Sequence[DisplayRow]) -> _Optional:
        return cls(
            triggers=any(row.trigger for row in found),
            published=_published(table),
            without_copies=any(row.without_copies for row in found),
            images=any(row.images_interval for row in found),
        )


def _columns(plan: Plan, has: _Optional) -> list[Column]:
    measure = plan.measure
    unit = f" ({measure.unit})" if measure.unit else ""
    short = measure.short[:1].upper() + measure.short[1:]
    selected = "validation" if plan.protocol == "holdout" else "test"
    columns = [
        Column("Method", "code", width=34),
        Column("Seeds", "count", short="n"),
        Column(f"{short}, last epoch", unit=measure.unit, short=f"{short}{unit}\nlast epoch"),
    ]
    if has.without_copies:
        columns.append(Column("Without duplicates", unit=measure.unit, paper=False))
    columns.append(
        Column(
            f"Difference to {plan.reference}",
            unit=measure.difference_unit,
            short=f"Difference to\n{plan.reference}",
        )
    )
    # The page is too narrow for these columns: the CSV has them.
    images = Column("Over seeds and images", unit=measure.difference_unit, paper=False)
    columns += [images] if has.images else []
    columns += [
        Column("Verdict, p after Holm", "verdict", short="Verdict,\np (Holm)"),
        Column("Detectable", short="Detect-\nable"),
    ]
    if plan.protocol:
        columns.append(Column(f"Best epoch, by {selected}", short=f"Best\nby {selected[:4]}"))
    columns += [Column("Gradients", short="Gradi-\nents")] if plan.sgd else []
    columns += [Column(_words(name), short=_words(name).replace(" ", "\n")) for name in plan.also]
    columns += [Column("Trigger", "text", width=12)] if has.triggers else []
    columns += [Column("Published", short="Pub-\nlished")] if has.published else []
    return columns


def _words(series: str) -> str:
    words = series.replace("_", " ")
    return words[:1].upper() + words[1:]


def _cells(
    row: DisplayRow,
    plan: Plan,
    bars: Mapping[str, tuple[float, ...]],
    has: _Optional,
) -> list[Cell]:
    alerts = (row.status if row.finished and row.status != "finished" else "",)
    alerts += (f"mixed: {row.mixed}" if row.mixed else "",)
    cells = [
        Cell(
            row.method,
            label=row.label,
            alerts=tuple(filter(None, alerts)),
            notes=tuple(filter(None, [row.remarks])),
            base=row.base,
        ),
        Cell(row.seeds),
    ]
    value = row.values.get
    last = [Cell(row.published, value=value("published"))] if has.published else []
    if not row.finished:
        across = 4 + bool(plan.protocol) + bool(plan.sgd) + len(plan.also) + has.triggers
        across += has.without_copies + has.images
        return [*cells, Cell(row.status, tone="absent", span=across), *last]
    mark, tone = _MARKS.get(row.verdict, ("", ""))
    cells += [
        Cell(row.last, row.last_interval, value=value("last")),
        *([Cell(row.without_copies, value=value("without_copies"))] if has.without_copies else []),
        Cell(
            row.difference,
            row.difference_interval,
            bar=bars.get(row.method, ()),
            value=value("difference"),
        ),
        *([Cell(row.images_interval)] if has.images else []),
        Cell(
            row.verdict,
            f"p {row.p_holm}" if row.p_holm else "",
            tone=tone,
            short="—" if row.verdict == "reference" else mark,
            value=value("p_holm"),
        ),
        Cell(row.detectable, value=value("detectable")),
    ]
    cells += [Cell(row.best, value=value("best"))] if plan.protocol else []
    cells += [Cell(row.gradients, value=value("gradients"))] if plan.sgd else []
    cells += [Cell(text, value=value(name)) for name, text in zip(plan.also, row.also, strict=True)]
    cells += [Cell(row.trigger)] if has.triggers else []
    return [*cells, *last]


def difference_bars(table: ComparisonTable) -> dict[str, tuple[float, ...]]:
    """Return for each method its difference and the ends of its interval, from -1 to 1.

    The scale is one for the table; what lies further than 2.5 times the median reach is cut off
    at the edges.
    """
    frame, stem = table.frame.set_index("method"), table.plan.difference
    found = frame[[f"{stem}_mean", f"{stem}_ci95_low", f"{stem}_ci95_high"]]
    values = found.abs().max(axis=1).dropna()
    values = values[values > 0]
    if values.empty:
        return {}
    reach = min(values.max(), 2.5 * float(np.median(values)))
    return {
        method: tuple(float(np.clip(v / reach, -1, 1)) for v in row if known(v))
        for method, row in zip(found.index, found.to_numpy(), strict=True)
        if known(row[0])
    }
