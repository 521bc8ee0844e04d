"""The figures of a search: isolation plots, importance, heat maps, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturb.analysis.runs import read_epochs
from perturb.figures.sheet import make_sheet, say_nothing_to_show
from perturb.figures.style import COLOURS, GREY, LineStyle, line_style, style
from perturb.search.flags import values_of, words_of
from perturb.search.parts import Material, gather
from perturb.search.settings import SCIENTIFIC, Parameter, Stage, Value
from perturb.search.steps import Measured, Step

Settings = Mapping[str, Any]
Inputs = Mapping[str, Sequence[Path]]
_MARK = "Smoke run: shortened training, not a result of the study"
_TRIAL = LineStyle(COLOURS[0], "none", "o", 0.0)
_BEST = LineStyle(COLOURS[1], "-", None, 1.4)
_CHOSEN = LineStyle("#000000", "none", "*", 0.0)
_CROSS = LineStyle(COLOURS[3], "none", "x", 0.0)
_OF_BEST = LineStyle(COLOURS[0], "-", None, 6.0)
_OF_MEAN = LineStyle(COLOURS[4], "-", None, 6.0)


def isolation(settings: Settings, inputs: Inputs, results: Path) -> Figure:
    """Draw every trial by the scientific value (or the parameter) of each stage."""
    material = gather(settings, inputs)
    panels = [
        (stage, step, parameter)
        for stage, step in material.stages()
        if not stage.repeat
        for parameter in (stage.of_role(SCIENTIFIC) or stage.parameters)
    ]
    with style():
        legend = [("trial", _TRIAL), ("best over the others", _BEST), ("chosen", _CHOSEN)]
        legend.append(("infeasible", _CROSS))
        sheet = _panels(material, len(panels), legend)
        for axes, (stage, step, parameter) in zip(sheet.axes.flat, panels, strict=False):
            _isolate(axes, stage, step, parameter)
    return sheet.figure


def _panels(material: Material, number: int, legend: Sequence[tuple[str, LineStyle]] = ()) -> Any:
    columns = min(3, max(1, number))
    sheet = make_sheet(
        -(-number // columns),
        columns,
        panel_height=2.1,
        legend=legend,
        mark=_MARK if material.search.scale == "smoke" else "",
    )
    for axes in sheet.axes.flat[number:]:
        axes.set_visible(False)
    return sheet


def _places(
    axes: Axes, stage: Stage, parameter: Parameter, measured: Sequence[Measured]
) -> dict[Value, float]:
    """Return where on the x axis each value stands: numbers on their scale, words evenly."""
    values = values_of(stage, parameter, measured)
    axes.set_xlabel(parameter.name)
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numeric and len(values) > 1:
        numbers = [float(value) for value in values]
        if min(numbers) > 0 and max(numbers) / min(numbers) >= 10:
            axes.set_xscale("log")
        elif len(values) <= 8:
            axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
        return dict(zip(values, numbers, strict=True))
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    return {value: float(at) for at, value in enumerate(values)}


def _isolate(axes: Axes, stage: Stage, step: Step, parameter: Parameter) -> None:
    places = _places(axes, stage, parameter, step.measured)
    whole = [one for one in step.measured if one.trial.until is None or not one.feasible]
    good = [one for one in whole if one.feasible]
    x = [places[one.trial.values[parameter.name]] for one in good]
    y = [100 * (one.value or 0.0) for one in good]
    axes.plot(x, y, **_TRIAL.line(), marker="o", markersize=3, alpha=0.6)
    best: dict[float, float] = {}
    for at, value in zip(x, y, strict=True):
        best[at] = max(value, best.get(at, -np.inf))
    axes.plot(sorted(best), [best[at] for at in sorted(best)], **_BEST.line())
    if step.chosen:
        at = places[step.chosen.values[parameter.name]]
        axes.plot([at], [100 * step.chosen.value], **_CHOSEN.line(), marker="*", markersize=9)
    low, high = (min(y), max(y)) if y else (0.0, 1.0)
    bad = [places[one.trial.values[parameter.name]] for one in whole if not one.feasible]
    if bad:
        floor = low - 0.12 * max(high - low, 0.5)
        axes.plot(bad, [floor] * len(bad), **_CROSS.line(), marker="x", markersize=5)
    axes.set_title(f"stage {stage.name}")
    axes.set_ylabel("validation accuracy (%)")


def importance(settings: Settings, inputs: Inputs, results: Path) -> Figure:
    """Draw how far the best and the mean accuracy move with each parameter of each stage."""
    material = gather(settings, inputs)
    found = [(stage, step) for stage, step in material.stages() if stage.parameters]
    found = [(stage, step) for stage, step in found if not stage.repeat]
    with style():
        legend = [("best over the others", _OF_BEST), ("mean", _OF_MEAN)]
        sheet = _panels(material, len(found), legend)
        for axes, (stage, step) in zip(sheet.axes.flat, found, strict=False):
            names = [one.name for one in stage.parameters]
            spreads = [spread(stage, step, one) for one in stage.parameters]
            at = np.arange(len(names))
            axes.barh(at + 0.2, [100 * best for best, _ in spreads], 0.36, color=COLOURS[0])
            axes.barh(at - 0.2, [100 * m for _, m in spreads], 0.36, color=COLOURS[4])
            axes.set_yticks(at, names)
            axes.set_xlabel("spread of validation accuracy (points)")
            axes.set_title(f"stage {stage.name}")
            axes.grid(False, axis="y")
    return sheet.figure


def spread(stage: Stage, step: Step, parameter: Parameter) -> tuple[float, float]:
    """Return the spread over a parameter's values of the best and of the mean, fractions.

    Of feasible whole trials; 0 where there is one value.
    """
    groups: dict[Value, list[float]] = {}
    for one in step.measured:
        if one.value is not None and one.trial.until is None:
            groups.setdefault(one.trial.values[parameter.name], []).append(one.value)
    if not groups:
        return 0.0, 0.0
    best = [max(values) for values in groups.values()]
    mean = [sum(values) / len(values) for values in groups.values()]
    return max(best) - min(best), max(mean) - min(mean)


def heat_map(settings: Settings, inputs: Inputs, results: Path) -> Figure:
    """Draw the best accuracy over a stage's first two parameters."""
    material = gather(settings, inputs)
    found = [(stage, step) for stage, step in material.stages() if len(stage.parameters) >= 2]
    found = [(stage, step) for stage, step in found if not stage.repeat]
    with style():
        sheet = _panels(material, len(found))
        for axes, (stage, step) in zip(sheet.axes.flat, found, strict=False):
            _heat(sheet.figure, axes, stage, step)
    return sheet.figure


def _heat(figure: Figure, axes: Axes, stage: Stage, step: Step) -> None:
    first = (stage.of_role(SCIENTIFIC) or stage.parameters)[0]
    second = next(one for one in stage.parameters[::-1] if one is not first)
    rows = values_of(stage, first, step.measured)
    columns = values_of(stage, second, step.measured)
    grid = np.full((len(rows), len(columns)), np.nan)
    tried = np.zeros_like(grid, dtype=bool)
    for one in step.measured:
        at = (rows.index(one.trial.values[first.name]),
              columns.index(one.trial.values[second.name]))  # fmt: skip
        tried[at] = True
        if one.value is not None and one.trial.until is None:
            grid[at] = np.nanmax([grid[at], 100 * one.value])
    if np.isnan(grid).all():
        say_nothing_to_show(axes, "no feasible trial")
        return
    image = axes.imshow(grid, aspect="auto", cmap="viridis", origin="lower")
    figure.colorbar(image, ax=axes, shrink=0.9, label="validation accuracy (%)")
    bad = np.argwhere(tried & np.isnan(grid))
    axes.plot(bad[:, 1], bad[:, 0], **_CROSS.line(), marker="x", markersize=6)
    if step.chosen:
        at = (rows.index(step.chosen.values[first.name]),
              columns.index(step.chosen.values[second.name]))  # fmt: skip
        axes.plot([at[1]], [at[0]], color="white", marker="*", markersize=9, markeredgecolor="k")
    axes.set_xticks(range(len(columns)), [_short(v) for v in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [_short(value) for value in rows])
    axes.set_xlabel(second.name)
    axes.set_ylabel(first.name)
    axes.set_title(f"stage {stage.name}")
    axes.grid(False)


def _short(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def curves(settings: Settings, inputs: Inputs, results: Path) -> Figure:
    """Draw loss and accuracy over the epochs of the best point of each scientific value."""
    material = gather(settings, inputs)
    stages = list(material.stages())
    with style():
        columns = min(3, len(stages))
        rows = -(-len(stages) // columns)
        sheet = make_sheet(
            rows,
            columns,
            panel_height=2.7,
            mark=_MARK if material.search.scale == "smoke" else "",
        )
        for axes in sheet.axes.flat[len(stages) :]:
            axes.set_visible(False)
        for axes, (stage, step) in zip(sheet.axes.flat, stages, strict=False):
            losses = axes.twinx()
            losses.grid(False)
            losses.spines["right"].set_visible(True)
            for position, best in enumerate(step.best):
                epochs = read_epochs(results / "runs" / best.runs[0] / "record.json")
                drawn = line_style(position)
                axes.plot(epochs["epoch"] + 1, 100 * epochs["validation_accuracy"],
                          **drawn.line(), label=words_of(best.scientific) or "best")  # fmt: skip
                losses.plot(epochs["epoch"] + 1, epochs["train_loss"], color=drawn.colour,
                            linestyle="--", linewidth=0.8, alpha=0.7)  # fmt: skip
            axes.set_title(f"stage {stage.name}")
            axes.set_xlabel("epoch")
            axes.set_ylabel("validation accuracy (%)")
            losses.set_ylabel("training loss (nats)", color=GREY)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize=6.5,
                        frameon=False, ncols=2, handlelength=1.4)  # fmt: skip
    return sheet.figure
