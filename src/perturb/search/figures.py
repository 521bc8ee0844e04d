"""The figures of a search: isolation plots, importance, heat maps, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perturb.analysis.runs import read_epochs
from perturb.figures.sheet import make_sheet, mark_logarithmic, say_nothing_to_show
from perturb.figures.style import COLOURS, GREY, LineStyle, line_style, style
from perturb.search.flags import values_of, values_repeat, words_of
from perturb.search.parts import Material, gather
from perturb.search.settings import SCIENTIFIC, Parameter, Stage, Value
from perturb.search.steps import Measured, Step

Settings = Mapping[str, Any]
Inputs = Mapping[str, Sequence[Path]]
_THIRDS_FROM = 6  # trials: two in each third
_NEAREST = 0.15  # of the range: numbers from there on have place for a label each
_ACROSS = 20  # characters that the labels of a panel may have beside each other
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
        lined = any(_is_lined(stage, parameter, step) for stage, step, parameter in panels)
        legend = [("trial", _TRIAL), ("chosen", _CHOSEN), ("infeasible", _CROSS)]
        legend += [("best over the others", _BEST)] if lined else []
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
    """Return where on the x axis each value stands: numbers on their scale, words evenly.

    Evenly, too, numbers that stand so near each other that their labels would meet.
    """
    values = values_of(stage, parameter, measured)
    axes.set_xlabel(parameter.name)
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numeric and len(values) > 1:
        numbers = [float(value) for value in values]
        nearest = min(np.diff(sorted(numbers))) / (max(numbers) - min(numbers))
        if min(numbers) > 0 and max(numbers) / min(numbers) >= 10:
            mark_logarithmic(axes.xaxis, numbers)
            return dict(zip(values, numbers, strict=True))
        if len(values) > 8 or nearest >= _NEAREST:
            if len(values) <= 8:
                axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
            return dict(zip(values, numbers, strict=True))
    words = [_short(value) for value in values]
    turned = {"rotation": 40, "ha": "right"} if len("".join(words)) > _ACROSS else {}
    axes.set_xticks(range(len(values)), words, **turned)
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
    if _is_lined(stage, parameter, step):
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


def _is_lined(stage: Stage, parameter: Parameter, step: Step) -> bool:
    """Return whether a line over a parameter's values says something: not through lone trials."""
    return len(stage.parameters) == 1 or values_repeat(parameter, step.measured)


def importance(settings: Settings, inputs: Inputs, results: Path) -> Figure:
    """Draw how far the best and the mean accuracy move with each parameter of each stage."""
    material = gather(settings, inputs)
    found = [(stage, step) for stage, step in material.stages() if stage.parameters]
    found = [(stage, step) for stage, step in found if not stage.repeat]
    with style():
        legend = [("best over the others", _OF_BEST), ("mean", _OF_MEAN)]
        sheet = _panels(material, len(found), legend)
        for axes, (stage, step) in zip(sheet.axes.flat, found, strict=False):
            _decide(axes, stage, step)
    return sheet.figure


def _decide(axes: Axes, stage: Stage, step: Step) -> None:
    found = {one.name: spread(stage, step, one) for one in stage.parameters}
    spreads = {name: both for name, both in found.items() if both is not None}
    axes.set_title(f"stage {stage.name}")
    if not spreads:
        why = f"each value was tried once, and fewer\nthan {_THIRDS_FROM} trials have a number"
        say_nothing_to_show(axes, why)
        return
    at = np.arange(len(spreads))
    axes.barh(at + 0.2, [100 * best for best, _ in spreads.values()], 0.36, color=COLOURS[0])
    axes.barh(at - 0.2, [100 * mean for _, mean in spreads.values()], 0.36, color=COLOURS[4])
    axes.set_yticks(at, list(spreads))
    axes.set_xlabel("spread of validation accuracy (points)")
    axes.grid(False, axis="y")


def spread(stage: Stage, step: Step, parameter: Parameter) -> tuple[float, float] | None:
    """Return the spread over a parameter's values of the best and of the mean, fractions.

    Of feasible whole trials; 0 where there is one value. Where other parameters move with every
    value, as with quasi-random points, a value has one trial and its spread is that of all trials,
    for each parameter: then of the lower, middle and upper third of the values instead, and None
    where there are too few trials for thirds.
    """
    whole = [one for one in step.measured if one.value is not None and one.trial.until is None]
    if not whole:
        return 0.0, 0.0
    groups: dict[Value, list[float]] = {}
    for one in whole:
        groups.setdefault(one.trial.values[parameter.name], []).append(one.value or 0.0)
    found = list(groups.values())
    if len(stage.parameters) > 1 and not values_repeat(parameter, whole):
        if len(groups) < _THIRDS_FROM:
            return None
        parts = np.array_split(values_of(stage, parameter, whole), 3)
        found = [[each for value in part for each in groups[value]] for part in parts]
    best = [max(values) for values in found]
    mean = [sum(values) / len(values) for values in found]
    return max(best) - min(best), max(mean) - min(mean)


def heat_map(settings: Settings, inputs: Inputs, results: Path) -> Figure:
    """Draw accuracy over a stage's first two parameters: a cell each, or trials as points."""
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
    if not any(values_repeat(one, step.measured) for one in (first, second)):
        _scatter(figure, axes, stage, step, (second, first))
        return
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


def _scatter(
    figure: Figure, axes: Axes, stage: Stage, step: Step, parameters: tuple[Parameter, Parameter]
) -> None:
    """Draw each trial at its two values, coloured by what it came to."""
    whole = [one for one in step.measured if one.trial.until is None or not one.feasible]
    for axis, parameter in zip((axes.xaxis, axes.yaxis), parameters, strict=True):
        axis.set_label_text(parameter.name)
        numbers = [float(one.trial.values[parameter.name]) for one in whole]
        if min(numbers) > 0 and max(numbers) / min(numbers) >= 10:
            mark_logarithmic(axis, numbers)

    def places(found: Sequence[Measured]) -> list[list[float]]:
        return [[float(one.trial.values[own.name]) for one in found] for own in parameters]

    good = [one for one in whole if one.feasible]
    shown = axes.scatter(*places(good), c=[100 * (one.value or 0.0) for one in good], s=28,
                         cmap="viridis", edgecolors=GREY, linewidths=0.4)  # fmt: skip
    figure.colorbar(shown, ax=axes, shrink=0.9, label="validation accuracy (%)")
    bad = [one for one in whole if not one.feasible]
    axes.plot(*places(bad), **_CROSS.line(), marker="x", markersize=6)
    if step.chosen:
        at = [[float(step.chosen.values[own.name])] for own in parameters]
        axes.scatter(*at, c=[100 * step.chosen.value], norm=shown.norm, cmap="viridis", s=110,
                     marker="*", edgecolors="k")  # fmt: skip
    axes.set_title(f"stage {stage.name}")


def _short(value: Value) -> str:
    return str(value) if isinstance(value, str | bool) else f"{value:g}"


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
            longest = max((len(words_of(best.scientific)) for best in step.best), default=0)
            axes.set_title(f"stage {stage.name}")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel("validation accuracy (%)")
            losses.set_ylabel("training loss (nats)", color=GREY)
            axes.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, -0.25),
                fontsize=6.5,
                frameon=False,
                ncols=1 if longest > 14 else 2,
                handlelength=1.4,
            )
    return sheet.figure
