"""What figures are drawn from: a table, its runs, and every epoch of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from perturb.analysis import display, tables
from perturb.analysis import runs as collecting
from perturb.analysis.plan import Plan
from perturb.analysis.tables import ComparisonTable


@dataclass(frozen=True)
class Material:
    """A table of methods with its runs (one row per run) and curves (one row per epoch of a run).

    Methods go by the names of the table's rows.
    """

    table: ComparisonTable
    runs: pd.DataFrame
    curves: pd.DataFrame

    @property
    def plan(self) -> Plan:
        """The plan of the table."""
        return self.table.plan

    @property
    def reference(self) -> str:
        """The method that the others are compared with."""
        return self.plan.reference

    @property
    def mark(self) -> str:
        """What must stand on every figure: that the runs are smoke, or the data partial."""
        return display.mark(self.table)

    def methods(self, section: str) -> list[str]:
        """Return the methods of a section in the table's order."""
        frame = self.table.frame
        return list(frame.loc[frame["section"] == section, "method"])

    def finished(self, methods: Iterable[str]) -> list[str]:
        """Return those of `methods` that have a finished run."""
        done = set(self.runs.loc[self.runs["status"] == "ok", "method"])
        return [method for method in methods if method in done]

    def mean(self, method: str, column: str) -> pd.DataFrame:
        """Return mean and sd (0 for one seed) of a column over a method's finished runs, by epoch.

        The index is the epoch, from 0; `gradient_evaluations` is the mean so far.
        """
        if column not in self.curves:
            return pd.DataFrame(columns=["mean", "sd", "gradient_evaluations"], dtype=float)
        chosen = self.curves[(self.curves["method"] == method) & (self.curves["status"] == "ok")]
        groups = chosen.groupby("epoch")
        return pd.DataFrame(
            {
                "mean": groups[column].mean(),
                "sd": groups[column].std().fillna(0.0),
                "gradient_evaluations": groups["gradient_evaluations"].mean(),
            }
        )

    def note(self, methods: Iterable[str]) -> str:
        """Name those of `methods` whose runs are not all finished, by what became of them."""
        frame = self.table.frame.set_index("method")
        texts: dict[str, list[str]] = {}
        for method in methods:
            status = frame.loc[method, "status"]
            if status != "finished":
                texts.setdefault(status, []).append(method)
        return ". ".join(f"{', '.join(names)}: {status}" for status, names in texts.items())


def gather(plan: Plan, records: Iterable[str | Path]) -> Material:
    """Collect the runs of `records` that the plan asks for, their curves and their table."""
    runs = collecting.collect(records)
    table = tables.build(plan, runs)
    parts = [tables.runs_of_row(row, runs, plan).assign(method=row.method) for row in plan.rows]
    listed = pd.concat(parts, ignore_index=True) if parts else runs
    return Material(table, listed, collecting.curves(listed))
