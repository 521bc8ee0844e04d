"""A table as a reader sees it: percent, intervals, signs and verdicts, as plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perturb import names
from perturb.analysis.statistics import FEW_SEEDS, LEVEL, POWER
from perturb.analysis.tables import StudyTable


@dataclass(frozen=True)
class DisplayRow:
    """One row of a table as text; an empty string stands where there is nothing to say.

    `accuracy`, `best`, `difference`, `detectable`, `notebook` are in percent and percentage points;
    `verdict` is a key of `comparisons.VERDICTS`.
    """

    section: str
    method: str
    label: str
    seeds: str
    accuracy: str
    accuracy_interval: str
    best: str
    difference: str
    difference_interval: str
    p_holm: str
    detectable: str
    gradients: str
    loss: str
    trigger: str
    notebook: str
    status: str
    verdict: str
    mixed: str
    remarks: str

    @property
    def finished(self) -> bool:
        """Whether any run of the method finished, so that there are numbers."""
        return bool(self.accuracy)


def rows(table: StudyTable) -> list[DisplayRow]:
    """Return the rows of a table as text, in its order."""
    return [_row(table, row) for row in table.frame.to_dict("records")]


def sections(table: StudyTable) -> dict[str, list[DisplayRow]]:
    """Return the rows of a table by section, both in its order."""
    found: dict[str, list[DisplayRow]] = {}
    for row in rows(table):
        found.setdefault(row.section, []).append(row)
    return found


def caption(table: StudyTable) -> str:
    """Return the sentences that say what the numbers of a table are."""
    plan = table.plan
    epochs = names.parse(plan["reference"]).epochs
    split = (
        "The whole train split trains and the test split plays validation; the best epoch is "
        "selected on test, so that column is too high by construction."
        if plan["protocol"] != "holdout"
        else "The best epoch is chosen on a fixed 20 % of the train split."
    )
    return (
        f"Test accuracy (%) of {plan['model']} on {plan['dataset']} after {epochs} epochs unless "
        f"the name says otherwise (its last number), protocol {plan['protocol']}: mean over seeds "
        f"with the 95 % t interval of the mean. Difference: to {plan['reference']} "
        f"{_design(table)}, in percentage points, with its 95 % t interval. {_verdicts(table)} "
        f"Detectable: the difference that a test on as many seeds finds at {100 * LEVEL:.0f} %, "
        f"uncorrected, with power {POWER}. Gradients: batch gradients computed, relative to "
        f"{plan.get('sgd') or 'SGD'}. "
        f"Notebook: its published maximum over epochs, one seed, not comparable. {split}"
    )


def _design(table: StudyTable) -> str:
    paired = "at the same seed and the same initial weights"
    if not table.frame["comparison"].str.startswith("unpaired").any():
        return paired
    return f"{paired} (by Welch's test where fewer than {FEW_SEEDS} seeds are shared)"


def _verdicts(table: StudyTable) -> str:
    """Say what the verdicts follow from: the family, the corrections, the margin."""
    family = next((text for text in table.frame["family"] if text), "")
    if not family:
        return f"No verdict: no comparison has {FEW_SEEDS} seeds."
    return (
        f"Verdicts at {100 * LEVEL:.0f} % after Holm's correction over the family of this table "
        f"({family}; either kind corrected on its own): better or worse by the t test, equivalent "
        "by two one-sided tests against a margin of "
        f"{table.plan['equivalence_margin']:g} points."
    )


def heading(table: StudyTable) -> str:
    """Return a table's title; a smoke run's and a partial data set's say so."""
    marks = []
    if table.frame["scale"].str.contains("smoke").any():
        marks.append("smoke run")
    if (table.frame["data"] != "whole").any():
        marks.append("partial data")
    return f"{table.plan['dataset']}, {table.plan['model']}" + (
        f" ({', '.join(marks)})" if marks else ""
    )


def mark(table: StudyTable) -> str:
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
    return f"{100 * value:.{digits}f}" if known(value) else ""


def points(value: float | None) -> str:
    """Write a difference of fractions in percentage points, with its sign."""
    if not known(value):
        return ""
    text = f"{100 * value:+.2f}"
    return ("0.00" if float(text) == 0 else text).replace("-", "−")


def p_text(value: float | None) -> str:
    """Write a p-value to two significant digits, or as `<0.001`."""
    if not known(value):
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _row(table: StudyTable, row: Mapping[str, Any]) -> DisplayRow:
    stem = "last_epoch_test_accuracy"
    low, high = row[f"{stem}_ci95_low"], row[f"{stem}_ci95_high"]
    ends = [points(row[f"{table.difference}_ci95_{end}"]) for end in ("low", "high")]
    relative, loss = row["gradient_evaluations_relative_to_sgd"], row["final_train_loss_mean"]
    return DisplayRow(
        section=row["section"],
        method=row["method"],
        label=row["label"],
        seeds=f"{row['seeds_finished']}/{row['seeds_asked']}",
        accuracy=percent(row[f"{stem}_mean"]),
        accuracy_interval=f"± {percent((high - low) / 2)}" if known(low) else "",
        best=percent(row[f"{table.best}_mean"]),
        difference=points(row[f"{table.difference}_mean"]),
        difference_interval=f"[{ends[0]}, {ends[1]}]" if ends[0] else "",
        p_holm=p_text(row["p_value_holm"]),
        detectable=percent(row["minimum_detectable_difference"]),
        gradients=f"{relative:.2f}" if known(relative) else "",
        loss=f"{loss:.3g}" if known(loss) else "",
        trigger=row["trigger_epoch"],
        notebook=percent(row["notebook_accuracy"]),
        status=row["status"],
        verdict=row["verdict"],
        mixed=row["mixed"],
        remarks=row["remarks"],
    )
