"""The tables of a search: what was chosen, beside what; and every trial."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.analysis import provenance, runs
from perturb.analysis.display import percent, points
from perturb.analysis.statistics import Comparison, Summary, compare, p_text, summarise
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.figures.catalogue import listing
from perturb.search.flags import Flag, flags, values_of, words_of
from perturb.search.settings import Search, Stage, Value
from perturb.search.steps import Best, Measured, Step

Settings = Mapping[str, Any]
Inputs = Mapping[str, Sequence[Path]]
CHOSEN, OTHER, NEIGHBOUR = "chosen", "best of its value", "neighbour"
SMOKE = "Smoke run: too short to conclude from."
_MARGIN = 0.005  # equivalence is not told here; `compare` wants one

MAIN = (
    Column("Point", "text", width=52),
    Column("Is", "text", width=22),
    Column("Seeds", "count"),
    Column("Trials", "text"),
    Column("Validation", unit="%"),
    Column("Test", unit="%"),
    Column("Test, to chosen", unit="points", short="Test,\nto chosen\n(points)"),
    Column("McNemar p"),
)
TRIALS = (
    Column("Method", "code"),
    Column("Seed", "count"),
    Column("Status", "text"),
    Column("Epochs", "count"),
    Column("Validation", unit="%"),
    Column("Test", unit="%"),
)


@dataclass(frozen=True)
class Material:
    """A search and the last step of each of its stages."""

    search: Search
    steps: Mapping[str, Step]

    def stages(self) -> Iterator[tuple[Stage, Step]]:
        """Yield each stage with its last step, in order."""
        for stage in self.search.stages:
            yield stage, self.steps[stage.name]

    @property
    def flags(self) -> list[Flag]:
        """The warnings of all stages."""
        return [flag for stage, step in self.stages() for flag in flags(stage, step)]

    @property
    def epochs_trained(self) -> int:
        """Epochs of all trials; what stages share is counted in each."""
        return sum(step.epochs_trained for step in self.steps.values())


def gather(settings: Settings, inputs: Inputs) -> Material:
    """Read the last steps of a search."""
    search = Search.of(settings["search"])
    found = [Step.read(Path(path)) for path in inputs["steps"]]
    return Material(search, {step.stage: step for step in found})


def main(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return the table: of each stage the chosen point, its neighbours, each value's best."""
    material = gather(settings, inputs)
    rows = [row for stage, step in material.stages() for row in _rows(stage, step)]
    limits = {
        stage.name: " | ".join(f"{one.words}." for one in flags(stage, step))
        for stage, step in material.stages()
    }
    frame = pd.DataFrame(
        [row.values(material.search.scale) | {"limits": limits[row.stage]} for row in rows]
    )
    groups = [
        Group(_heading(stage, step), [row.cells() for row in rows if row.stage == stage.name])
        for stage, step in material.stages()
    ]
    warnings = [f"{flag.stage}: {flag.words}." for flag in material.flags]
    if material.search.scale == "smoke":
        warnings = [SMOKE, *warnings]
    return Table(
        name=material.search.chapter,
        title=f"What was chosen: {material.search.dataset}, {material.search.model}",
        frame=frame,
        columns=MAIN,
        groups=groups,
        caption=_caption(material, rows),
        warnings=warnings,
        provenance=_provenance([(row.words, row.best.runs) for row in rows], results),
    )


def trials(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return every trial of every stage, infeasible ones too."""
    material = gather(settings, inputs)
    lines, groups = [], []
    for stage, step in material.stages():
        cells = []
        for one in step.measured:
            trial = one.trial
            method = trial.run.split("/")[2] if trial.run else ""
            lines.append(
                {
                    "stage": stage.name,
                    "method": method,
                    "run": f"runs/{trial.run}" if trial.run else "",
                    "seed": trial.seed,
                    "status": one.status,
                    "epochs": one.epochs,
                    "validation_accuracy": one.value,
                    "test_accuracy": one.reported,
                    "gradient_evaluations": one.work,
                    "note": one.note,
                    **trial.values,
                }
            )
            cells.append(
                [
                    Cell(method or words_of(trial.values)),
                    Cell(str(trial.seed)),
                    Cell(f"{one.status} {one.note}".strip(), tone="" if one.feasible else "worse"),
                    Cell(str(one.epochs)),
                    Cell(percent(one.value), tone="" if one.feasible else "absent"),
                    Cell(percent(one.reported), tone="" if one.feasible else "absent"),
                ]
            )
        groups.append(Group(f"Stage {stage.name}", cells))
    ran = [
        (one.trial.run.split("/")[2], (one.trial.run,))
        for _, step in material.stages()
        for one in step.measured
        if one.trial.run and (results / "runs" / one.trial.run / "record.json").exists()
    ]
    return Table(
        name=f"{material.search.chapter}_trials",
        title=f"Every trial: {material.search.dataset}, {material.search.model}",
        frame=pd.DataFrame(lines),
        columns=TRIALS,
        groups=groups,
        caption="Every trial, in the order in which it was listed. A trial without a number is "
        "infeasible: it diverged, its loss is huge, or its settings were refused; one that is "
        "paused did not go on from its rung.",
        warnings=[SMOKE] if material.search.scale == "smoke" else [],
        provenance=_provenance(ran, results),
    )


@dataclass(frozen=True)
class _Row:
    """A row of the main table."""

    stage: str
    kind: str
    words: str
    best: Best
    trials: int
    infeasible: int
    validation: Summary
    test: Summary
    difference: Comparison | None
    images: tuple[int, int, int, float] | None

    def values(self, scale: str) -> dict[str, Any]:
        """Return the row of the frame."""
        row: dict[str, Any] = {
            "stage": self.stage,
            "kind": self.kind,
            "method": self.best.runs[0].split("/")[2],
            "scientific": words_of(self.best.scientific),
            "seeds": len(self.best.runs),
            "trials": self.trials,
            "infeasible": self.infeasible,
        }
        for name, found in (("validation", self.validation), ("test", self.test)):
            row |= {
                f"{name}_accuracy_mean": found.mean,
                f"{name}_accuracy_ci95_low": found.low,
                f"{name}_accuracy_ci95_high": found.high,
            }
        difference = self.difference.summary if self.difference else Summary(0)
        images = self.images or (None, None, None, None)
        return row | {
            "test_difference_to_chosen": difference.mean,
            "test_difference_ci95_low": difference.low,
            "test_difference_ci95_high": difference.high,
            "test_difference_p_value": self.difference.p_value if self.difference else None,
            "test_images": images[0],
            "right_here_alone": images[1],
            "right_in_chosen_alone": images[2],
            "mcnemar_p_value": images[3],
            "scale": scale,
            "values": json.dumps(dict(self.best.values), sort_keys=True),
        }

    def cells(self) -> list[Cell]:
        """Return the row as a reader sees it."""
        difference = self.difference.summary if self.difference else Summary(0)
        return [
            Cell(self.words),
            Cell(self.kind, tone="better" if self.kind == CHOSEN else ""),
            Cell(str(len(self.best.runs))),
            Cell(f"{self.trials}, {self.infeasible} infeasible" if self.infeasible
                 else str(self.trials)),
            Cell(percent(self.validation.mean), interval=_interval(self.validation)),
            Cell(percent(self.test.mean), interval=_interval(self.test)),
            Cell(points(difference.mean), interval=_interval(difference, points)),
            Cell(p_text(self.images[3]) if self.images else ""),
        ]  # fmt: skip


def _interval(found: Summary, write: Any = percent) -> str:
    return "" if found.low is None else f"[{write(found.low)}, {write(found.high)}]"


def _rows(stage: Stage, step: Step) -> Iterator[_Row]:
    assert step.chosen is not None
    yield _row(stage, step, step.chosen, CHOSEN)
    for best in step.best:
        if best.runs[0] != step.chosen.runs[0]:
            yield _row(stage, step, best, OTHER)
    shown = {step.chosen.runs[0], *(best.runs[0] for best in step.best)}
    for best in neighbours(stage, step):
        if best.runs[0] not in shown:
            yield _row(stage, step, best, NEIGHBOUR)


def _row(stage: Stage, step: Step, best: Best, kind: str) -> _Row:
    own = {one.trial.seed: one for one in _of(step, best.values)}
    assert step.chosen is not None
    chosen = {one.trial.seed: one for one in _of(step, step.chosen.values)}
    same = [
        one
        for one in step.measured
        if all(one.trial.values[name] == value for name, value in best.scientific.items())
    ]
    found = next((c for c in step.compared if c.run == best.runs[0]), None)
    difference = None
    if kind != CHOSEN and len(own) > 1:
        difference = compare(_reported(own), _reported(chosen), _MARGIN)
    return _Row(
        stage=stage.name,
        kind=kind,
        words=words_of({**best.scientific, **_varied(stage, best)}) or "the one point",
        best=best,
        trials=len(same),
        infeasible=sum(not one.feasible for one in same),
        validation=summarise([one.value or 0.0 for one in own.values()]),
        test=summarise([one.reported or 0.0 for one in own.values()]),
        difference=difference,
        images=(found.images, found.only_this, found.only_chosen, found.p_value) if found else None,
    )


def _varied(stage: Stage, best: Best) -> dict[str, Value]:
    return {one.name: best.values[one.name] for one in stage.parameters}


def _reported(by_seed: Mapping[int, Measured]) -> dict[int, float]:
    return {seed: one.reported or 0.0 for seed, one in by_seed.items()}


def _of(step: Step, values: Mapping[str, Value]) -> list[Measured]:
    """Return the measured trials of a point, whole runs only."""
    return [
        one
        for one in step.measured
        if one.trial.until is None and one.feasible and one.trial.values == values
    ]


def neighbours(stage: Stage, step: Step) -> list[Best]:
    """Return the feasible points next to the chosen one: one parameter a value lower or higher."""
    assert step.chosen is not None
    found = []
    for parameter in stage.parameters:
        values = values_of(stage, parameter, step.measured)
        at = values.index(step.chosen.values[parameter.name])
        for place in (at - 1, at + 1):
            if not 0 <= place < len(values):
                continue
            point = {**step.chosen.values, parameter.name: values[place]}
            own = _of(step, point)
            if len(own) < len(stage.seeds):
                continue
            scientific = {name: point[name] for name in step.chosen.scientific}
            mean = sum(one.value or 0.0 for one in own) / len(own)
            reported = sum(one.reported or 0.0 for one in own) / len(own)
            runs_of_point = tuple(one.trial.run for one in own)
            found.append(Best(point, scientific, mean, reported, own[0].work, runs_of_point))
    return found


def _heading(stage: Stage, step: Step) -> str:
    """Return what a stage fixed and where it came from: its caveats."""
    varied = {one.name for one in stage.parameters}
    assert step.chosen is not None
    fixed = {name: value for name, value in step.chosen.values.items() if name not in varied}
    origin = f", after {stage.after}" if stage.after else ""
    caveat = f": {words_of(fixed)} fixed" if fixed else ""
    how = f"repeated at seeds {', '.join(map(str, stage.seeds))}" if stage.repeat else stage.sampler
    return f"Stage {stage.name}{origin} ({how}){caveat}"


def _caption(material: Material, rows: Sequence[_Row]) -> str:
    """Return what the rows of the table are: of what it has, and of nothing else."""
    search = material.search
    trials = sum(len(step.measured) for step in material.steps.values())
    kinds = {row.kind for row in rows}
    shown = [
        "the chosen point",
        *(["the best of each other scientific value"] if OTHER in kinds else []),
        *(["the chosen one's neighbours"] if NEIGHBOUR in kinds else []),
    ]
    parts = [
        f"{search.model} on {search.dataset}: {trials} trials, {material.epochs_trained:,} epochs.",
        f"Of each stage {listing(shown)}. A stage chooses the best mean validation accuracy of the "
        "last epoch; of equal ones the one with fewer gradient evaluations, then the one listed "
        "first.",
        "The next stage starts there." if len(search.stages) > 1 else "",
        "Test accuracy chooses nothing.",
    ]
    if any(row.validation.low is not None for row in rows):
        parts.append("Brackets are 95 % t intervals over seeds.")
    if any(row.difference for row in rows):
        parts.append(
            "Test, to chosen: the difference in test accuracy to the point that the stage chose by "
            "validation, paired by seed; another point may be better on test."
        )
    if any(row.images for row in rows):
        parts.append(
            "McNemar's exact test counts the test images that one of two runs alone gets right, at "
            "the first seed: it tells two networks apart. Only several seeds tell two settings "
            "apart."
        )
    return " ".join(filter(None, parts))


def _provenance(rows: Sequence[tuple[str, Sequence[str]]], results: Path) -> pd.DataFrame:
    """Return a line for each run of each row."""
    every = dict.fromkeys(run for _, names in rows for run in names)
    found = runs.collect(results / "runs" / run / "record.json" for run in every)
    by_run = {
        provenance.relative(Path(run["record"]).parent, results): run
        for run in found.to_dict("records")
    }
    lines = [
        {"method": words, "columns": "*"} | provenance.describe(by_run[f"runs/{name}"], results)
        for words, names in rows
        for name in names
    ]
    return pd.DataFrame(lines, columns=list(provenance.COLUMNS))
