"""The tables of a chapter: the methods by label noise, the diary's claims, every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.analysis import display, provenance, tables
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.data import variants
from perturb.errors import PerturbError
from perturb.studies.reid import claims as of_diary
from perturb.studies.reid.catalogue import noise_words
from perturb.studies.reid.material import Material, gather

Settings = Mapping[str, Any]
Inputs = Mapping[str, Sequence[Path]]

SMOKE = "Smoke run: a few short epochs, to show that everything works. No result of the study."
CLAIMS = (
    Column("The diary says", "text", width=44),
    Column("Verdict", "text", width=24),
    Column("Here", "text", width=88),
    Column("Shown by", "text", width=36),
)
RUNS = (
    Column("Method", "code", width=40),
    Column("Seed", "count"),
    Column("Status", "text", width=26),
    Column("mAP after stage 1", unit="%", short="mAP after\nstage 1 (%)"),
    Column("mAP, last epoch", unit="%", short="mAP, last\nepoch (%)"),
    Column("Net 0", unit="%"),
    Column("Net 1", unit="%"),
    Column("mAP, best epoch by test", unit="%", short="mAP, best\nby test (%)"),
    Column("mINP, last epoch", unit="%", short="mINP, last\nepoch (%)"),
    Column("Empty batches", "count", short="Empty\nbatches"),
    Column("Device", "text", width=24, paper=False),
)


def main(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return the comparison of the methods on each data set, one below the other.

    Verdicts are within a data set: against its own reference, corrected over its own rows.
    """
    material = gather(settings["plans"], inputs["records"])
    found = [tables.build(plan, material.runs) for plan in material.plans]
    printed = [display.table_of(table) for table in found]
    if len({tuple(column.head for column in one.columns) for one in printed}) > 1:
        raise PerturbError(
            f"{settings['name']}: tables of its data sets have different columns. Give a published "
            "number to methods of a chapter with one data set only."
        )
    frames, traced = [], []
    for plan, table in zip(material.plans, found, strict=True):
        noise = variants.parse(plan.dataset).noise
        columns = {
            "dataset": plan.dataset,
            "noise_rate": noise.rate if noise else 0.0,
            "noise_kind": noise.kind if noise else "",
        }
        frames.append(_led_by(table.frame, columns))
        lines = provenance.of_table(plan, material.runs, results)
        traced.append(_led_by(lines, {"dataset": plan.dataset}))
    warnings = list(dict.fromkeys(text for one in printed for text in one.warnings))
    if settings["scale"] == "smoke":
        warnings.insert(0, SMOKE)
    return replace(
        printed[0],
        name=settings["name"],
        title=f"Every method: {settings['title']}",
        frame=pd.concat(frames, ignore_index=True),
        groups=[
            Group(f"{plan.dataset}: {noise_words(plan.dataset)}", group.rows)
            for plan, one in zip(material.plans, printed, strict=True)
            for group in one.groups
        ],
        caption=_caption(material, found[0]),
        warnings=warnings,
        provenance=pd.concat(traced, ignore_index=True),
    )


def _led_by(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    found = frame.copy()
    for place, (name, value) in enumerate(columns.items()):
        found.insert(place, name, value)
    return found


def _caption(material: Material, first: tables.ComparisonTable) -> str:
    plan = first.plan
    several = len(material.plans) > 1
    # What is the same for all data sets is said of the first one: its name is in the headings.
    text = display.caption(first).replace(f" on {plan.dataset}", "")
    where = " Each data set is compared within itself." if several else ""
    return (
        f"{text}{where} The first network is measured, or both averaged where the method does; "
        "mINP and rank 1 are shares."
    )


def claims(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return what the diary says beside what comes out here."""
    material = gather(settings["plans"], inputs["records"])
    frame = of_diary.build(material)
    rows = [
        [Cell(row["claim"]), Cell(row["verdict"]), Cell(row["here"]), Cell(row["shown_by"])]
        for row in frame.to_dict("records")
    ]
    return Table(
        name=f"{settings['name']}_claims",
        title="What the diary says and what comes out",
        frame=frame,
        columns=CLAIMS,
        groups=[Group("", rows)],
        caption=f"{of_diary.whose(material.datasets)} {_intervals(material)} "
        "A claim that this chapter has no runs for is not tested here.",
        warnings=[SMOKE] if settings["scale"] == "smoke" else [],
        provenance=_lines(material, results),
    )


def _intervals(material: Material) -> str:
    if max(len(row.seeds) for row in material.plans[0].rows) > 1:
        return "Intervals are 95 % t intervals over seeds."
    return "One seed: without intervals nothing about the mAP of methods is decided."


def runs(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return one row per run, whatever became of it."""
    material = gather(settings["plans"], inputs["records"])
    groups, frames = [], []
    for dataset in material.datasets:
        own = [material.of(dataset, method) for method in material.methods]
        frame = pd.concat(own, ignore_index=True)
        frames.append(frame)
        rows = [_run(row) for row in frame.to_dict("records")]
        groups.append(Group(f"{dataset}: {noise_words(dataset)}", rows))
    whole = pd.concat(frames, ignore_index=True)
    columns = [
        "dataset", "model", "method", "seed", "status", "diverged_at_step", "epochs_completed",
        "first_epochs", "first_stage_mAP", "last_test_mAP", "last_test_mAP_net0",
        "last_test_mAP_net1", "best_test_mAP", "last_test_mINP", "empty_batches", "wrong_labels",
        "lr0", "lr1", "warmup", "clip", "device", "threads",
    ]  # fmt: skip
    return Table(
        name=f"{settings['name']}_runs",
        title="Every run",
        frame=whole.reindex(columns=columns),
        columns=RUNS,
        groups=groups,
        caption="A run that diverged stands with the first step whose loss was not finite or above "
        "1e6 nats, beside its mAP at the end of stage 1. Empty batches are those of which a "
        "network selected no image. Runs of one seed on one kind of device are equal to the last "
        "bit; on another they are runs of their own.",
        warnings=[SMOKE] if settings["scale"] == "smoke" else [],
        provenance=_lines(material, results),
    )


def _run(row: Mapping[str, Any]) -> list[Cell]:
    def percent(key: str) -> Cell:
        return Cell(display.percent(row.get(key)))

    status = "finished"
    if row["status"] == "diverged":
        epoch = int(row["epochs_completed"]) + 1
        status = f"diverged at step {row['diverged_at_step']:.0f}, in epoch {epoch}"
    return [
        Cell(row["method"]),
        Cell(str(row["seed"])),
        Cell(status, tone="absent" if row["status"] == "diverged" else ""),
        percent("first_stage_mAP"),
        percent("last_test_mAP"),
        percent("last_test_mAP_net0"),
        percent("last_test_mAP_net1"),
        percent("best_test_mAP"),
        percent("last_test_mINP"),
        Cell(str(row["empty_batches"]) if row["selects"] else ""),
        Cell(row["device"]),
    ]


def _lines(material: Material, results: Path) -> pd.DataFrame:
    """Return the provenance of a table that all runs of a chapter are in."""
    lines = [
        {"dataset": run["dataset"], "method": run["method"], "columns": "*"}
        | provenance.describe(run, results)
        for run in material.runs.to_dict("records")
    ]
    return pd.DataFrame(lines, columns=["dataset", *provenance.COLUMNS])
