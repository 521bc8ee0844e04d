"""The figures of a chapter: what its toys left in, a matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from perturb.errors import PerturbError, did_you_mean
from perturb.figures.sheet import Sheet, make_sheet
from perturb.figures.style import COLOURS, GREY, REFERENCE, LineStyle, style
from perturb.runs import read_record
from perturb.studies.gradients.cost import factorised, forward
from perturb.studies.gradients.table import Material, gather

SMOKE = "Smoke run: shortened, its numbers are no result of the study"
LABELS = {
    "cdg": "coordinate (CDG)",
    "nes_plain": "NES, plain",
    "nes_baseline": "NES, baseline",
    "nes_antithetic": "NES, antithetic",
    "nes_rank": "NES, ranks",
    "spsa": "SPSA",
    "ste_clip": "STE, clip",
    "ste_steep": "STE, steep",
    "ste_swish_sign": "STE, SwishSign",
    "ste_polynomial": "STE, polynomial",
    "ste_reste": "STE, ReSTE",
    "ste_ewgs": "STE, EWGS",
    "sign_flip": "sign flip",
    "ste": "straight-through",
}
_MARKERS = ("o", "s", "^", "D", "v", "P")


def look(estimator: str) -> LineStyle:
    """Return how an estimator is drawn, the same in every figure."""
    if estimator in ("cdg", "ste"):
        return LineStyle(REFERENCE.colour, "-", "o", 1.6)
    family = "ste_" if estimator.startswith("ste_") else "nes"
    members = [name for name in LABELS if name not in ("cdg", "ste", "sign_flip")]
    members = [name for name in members if name.startswith("ste_") == (family == "ste_")]
    at = members.index(estimator) if estimator in members else 5
    return LineStyle(COLOURS[at], "-" if family == "nes" else (0, (4, 1.5)), _MARKERS[at], 1.1)


def _window_looks(windows: Sequence[float]) -> dict[float, LineStyle]:
    """Return a style a window, from dark and wide to light and narrow."""
    order = sorted(windows, reverse=True)
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(order)))
    dashes = ("-", (0, (4, 1.2)), (0, (1, 1)))
    return {
        window: LineStyle(to_hex(shade), dashes[at % 3], None, 1.3)
        for at, (window, shade) in enumerate(zip(order, shades, strict=True))
    }


def _window_legend(name: str, looks: dict[float, LineStyle]) -> list[tuple[str, LineStyle]]:
    """Return a label a window, short enough for one row: the first says what they are."""
    first = max(looks)
    return [(f"{name} {w:g}" if w == first else f"{w:g}", drawn) for w, drawn in looks.items()]


def _mark(material: Material) -> str:
    return SMOKE if material.scale == "smoke" else ""


def _states(frame: pd.DataFrame) -> list[int]:
    return sorted(frame["pretraining"].unique())


def _state(pretraining: int) -> str:
    return f"pre-trained, {pretraining:,} batches" if pretraining else "raw"


def _label_outer(sheet: Sheet, x: str, y: str) -> None:
    for axes in sheet.axes[-1]:
        axes.set_xlabel(x)
    for axes in sheet.axes[:, 0]:
        axes.set_ylabel(y)


def _draw_curves(axes: Axes, frame: pd.DataFrame, looks: dict[float, LineStyle]) -> None:
    """Draw decrease against learning rate, one line per window, as far down as up matters."""
    mean = frame.groupby(["window", "learning_rate"])["decrease"].mean().unstack()
    for window in sorted(mean.index, reverse=True):
        axes.plot(mean.columns, mean.loc[window], **looks[window].line())
    top = max(float(mean.to_numpy().max()), 1e-6)
    axes.set_ylim(-0.6 * top, 1.15 * top)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_xscale("log")
    axes.set_xticks([1e-5, 1e-3, 1e-1])
    axes.minorticks_off()


def draw_learning_rate_cdg(material: Material) -> Figure:
    """Draw decrease against learning rate along the coordinate gradient, a panel a dimension."""
    frame = material.curves.query("estimator == 'cdg'")
    looks = _window_looks(frame["window"].unique())
    dimensions, states = sorted(frame["dimension"].unique()), _states(frame)
    with style():
        sheet = make_sheet(
            len(states),
            len(dimensions),
            panel_height=1.7,
            legend=_window_legend("eps", looks),
            mark=_mark(material),
        )
        for row, state in enumerate(states):
            for column, dimension in enumerate(dimensions):
                axes = sheet.axes[row, column]
                part = frame[(frame["dimension"] == dimension) & (frame["pretraining"] == state)]
                _draw_curves(axes, part, looks)
                axes.set_title(f"d = {dimension}" if row == 0 else "")
        _label_outer(sheet, "learning rate", "loss decrease")
        for axes, state in zip(sheet.axes[:, 0], states, strict=True):
            axes.set_ylabel(f"{_state(state)}\nloss decrease")
    return sheet.figure


def draw_learning_rate_nes(material: Material) -> Figure:
    """Draw decrease against learning rate along NES, a panel a dimension, arm and N."""
    frame = material.curves.query("pretraining == pretraining.min()")
    frame = frame[frame["estimator"].isin(["nes_plain", "nes_antithetic"])]
    looks = _window_looks(frame["window"].unique())
    dimensions = sorted(frame["dimension"].unique())
    rows = [
        (evaluations, estimator)
        for evaluations in sorted(frame["evaluations"].unique())
        for estimator in ("nes_plain", "nes_antithetic")
    ]
    with style():
        sheet = make_sheet(
            len(rows),
            len(dimensions),
            panel_height=1.4,
            legend=_window_legend("sigma", looks),
            mark=_mark(material),
        )
        for row, (evaluations, estimator) in enumerate(rows):
            for column, dimension in enumerate(dimensions):
                axes = sheet.axes[row, column]
                part = frame[(frame["estimator"] == estimator) & (frame["dimension"] == dimension)]
                _draw_curves(axes, part[part["evaluations"] == evaluations], looks)
                axes.set_title(f"d = {dimension}" if row == 0 else "")
        _label_outer(sheet, "learning rate", "loss decrease")
        for axes, (evaluations, estimator) in zip(sheet.axes[:, 0], rows, strict=True):
            axes.set_ylabel(f"{estimator.removeprefix('nes_')}, N = {evaluations:,}\nloss decrease")
    return sheet.figure


def _arms(material: Material) -> list[tuple[str, list[tuple[str, int | None]]]]:
    """Return the panels that estimators are spread over: NES by evaluations, straight-through."""
    frame = material.batches
    panels = []
    nes = frame[frame["estimator"].str.startswith(("nes", "spsa"))]
    for evaluations, part in nes.groupby("evaluations"):
        names = [name for name in LABELS if name in set(part["estimator"])]
        panels.append((f"NES, N = {evaluations:,}", [(name, evaluations) for name in names]))
    names = [n for n in LABELS if n.startswith("ste_") and n in set(frame["estimator"])]
    return [*panels, ("straight-through", [(name, None) for name in names])]


def _of(frame: pd.DataFrame, arm: tuple[str, int | None]) -> pd.DataFrame:
    part = frame[frame["estimator"] == arm[0]]
    return part if arm[1] is None else part[part["evaluations"] == arm[1]]


def _legend(arms: Sequence[str]) -> list[tuple[str, LineStyle]]:
    return [(LABELS[name], look(name)) for name in LABELS if name in arms]


def draw_dimension(material: Material) -> Figure:
    """Draw decrease against dimension with its standard deviation, a panel a family and state."""
    panels, states = _arms(material), _states(material.batches)
    dimensions = sorted(material.batches["dimension"].unique())
    with style():
        sheet = make_sheet(
            len(states),
            len(panels),
            panel_height=2.1,
            legend=_legend(material.batches["estimator"].unique()),
            mark=_mark(material),
            sharey="row",
        )
        for row, state in enumerate(states):
            frame = material.batches[material.batches["pretraining"] == state]
            for column, (title, arms) in enumerate(panels):
                axes = sheet.axes[row, column]
                drawn = [("cdg", None), *arms]
                for at, arm in enumerate(drawn):
                    found = (
                        _of(frame, arm).groupby("dimension")["decrease_hidden"].agg(["mean", "std"])
                    )
                    shift = 1 + 0.035 * (at - (len(drawn) - 1) / 2)
                    _with_spread(axes, found.index * shift, found["mean"], found["std"], arm[0])
                axes.axhline(0, color=GREY, linewidth=0.6)
                axes.set_xscale("log", base=2)
                axes.set_xticks(dimensions, [str(d) for d in dimensions])
                axes.minorticks_off()
                axes.set_title(title if row == 0 else "")
            sheet.axes[row, 0].set_ylabel(f"loss decrease, {_state(state).split(',')[0]}")
        for axes in sheet.axes[-1]:
            axes.set_xlabel("dimension d")
    return sheet.figure


def _with_spread(
    axes: Axes, x: np.ndarray, mean: pd.Series, spread: pd.Series, estimator: str
) -> None:
    """Draw a line of means with bars of one standard deviation."""
    drawn = look(estimator)
    axes.errorbar(
        x, mean, spread, **drawn.line(), marker=drawn.marker, markersize=3, elinewidth=0.6
    )


def draw_cosine(material: Material) -> Figure:
    """Draw the cosine to the coordinate gradient by layer, a column a dimension."""
    frame, states = material.batches, _states(material.batches)
    dimensions = sorted(frame["dimension"].unique())
    most = frame.loc[frame["estimator"] == "nes_antithetic", "evaluations"].max()
    arms = [arm for _, of_panel in _arms(material) for arm in of_panel if arm[1] in (None, most)]
    layers = [name for name in frame if name.startswith("cosine_layer_")]
    halves = [name for name in frame if name.startswith("reliability_layer_")]
    numbers = range(1, len(layers) + 1)
    dashed = LineStyle(REFERENCE.colour, (0, (4, 2)), None, 1.4)
    with style():
        sheet = make_sheet(
            len(states),
            len(dimensions),
            panel_height=1.9,
            legend=[("CDG, half to half", dashed), *_legend([name for name, _ in arms])],
            note=f"NES with {most:,} evaluations.",
            mark=_mark(material),
            sharey=True,
            sharex=True,
        )
        for row, state in enumerate(states):
            for column, dimension in enumerate(dimensions):
                axes = sheet.axes[row, column]
                part = frame.query("dimension == @dimension and pretraining == @state")
                for arm in arms:
                    drawn = look(arm[0])
                    mean = _of(part, arm)[layers].mean()
                    axes.plot(numbers, mean, **drawn.line(), marker=drawn.marker, markersize=3)
                axes.plot(numbers, part[halves].mean(), **dashed.line())
                axes.axhline(0, color=GREY, linewidth=0.6)
                axes.set_xticks(list(numbers))
                axes.set_title(f"d = {dimension}" if row == 0 else "")
            sheet.axes[row, 0].set_ylabel(f"cosine, {_state(state).split(',')[0]}")
        for axes in sheet.axes[-1]:
            axes.set_xlabel("layer")
    return sheet.figure


def operations(material: Material) -> pd.Series:
    """Return the floating-point operations of the estimate in each row of the batches."""
    frame = material.batches
    d = frame["dimension"].astype(float)
    samples = frame["dimension"].map(material.records.groupby("dimension")["samples"].first())
    each = np.where(frame["estimator"].str.startswith("ste"), 3 * forward(d), forward(d))
    total = each * frame["evaluations"]
    return pd.Series(np.where(frame["estimator"] == "cdg", factorised(d), total) * samples)


def _draw_costs(
    axes: Axes, frame: pd.DataFrame, cost: str, label: str, estimators: Sequence[str]
) -> None:
    for name in estimators:
        found = frame[frame["estimator"] == name].groupby("evaluations")
        found = found.agg(
            x=(cost, "mean"), mean=("decrease_hidden", "mean"), std=("decrease_hidden", "std")
        )
        _with_spread(axes, found["x"], found["mean"], found["std"], name)
    axes.set_xscale("log")
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_xlabel(label)


def _cost_sheet(material: Material, frame: pd.DataFrame, costs: dict[str, str]) -> Figure:
    dimensions = sorted(frame["dimension"].unique())
    estimators = [name for name in LABELS if name in set(frame["estimator"])]
    with style():
        sheet = make_sheet(
            len(costs),
            len(dimensions),
            panel_height=2.0,
            legend=_legend(estimators),
            mark=_mark(material),
            sharey=True,
        )
        for row, (cost, label) in enumerate(costs.items()):
            for column, dimension in enumerate(dimensions):
                axes = sheet.axes[row, column]
                part = frame[frame["dimension"] == dimension]
                _draw_costs(axes, part, cost, label, estimators)
                axes.set_title(f"d = {dimension}" if row == 0 else "")
            sheet.axes[row, 0].set_ylabel("loss decrease")
    return sheet.figure


def draw_cost(material: Material) -> Figure:
    """Draw decrease against evaluations of the loss and against floating-point operations."""
    frame = material.batches.assign(operations=operations(material)).query(
        "pretraining == pretraining.min()"
    )
    labels = {"evaluations": "evaluations", "operations": "operations"}
    return _cost_sheet(material, frame, labels)


def read_timing(path: str | Path) -> pd.DataFrame:
    """Return the seconds of each reported estimate of a run, with the run in each row."""
    record = read_record(Path(path).with_name("record.json"))
    run = {key: record["specification"][key] for key in ("dimension", "pretraining")}
    frame = pd.read_csv(path).drop(columns="seconds")
    frame = frame.rename(columns={"estimate_seconds": "seconds"})
    return frame[frame["batch"] > 0].assign(**run, seed=record["seed"])


def draw_seconds(material: Material, timings: pd.DataFrame) -> Figure:
    """Draw decrease against the seconds that each estimate took, raw networks."""
    keys = ["dimension", "pretraining", "seed", "batch", "estimator", "evaluations"]
    frame = material.batches.merge(timings, on=keys).query("pretraining == pretraining.min()")
    return _cost_sheet(material, frame, {"seconds": "seconds"})


def draw_window(material: Material) -> Figure:
    """Draw decrease against eps or sigma, raw and pre-trained, a column a dimension."""
    frame = material.windows[material.windows["window"] > 0]
    dimensions, states = sorted(frame["dimension"].unique()), _states(frame)
    most = frame.loc[frame["estimator"] == "nes_antithetic", "evaluations"].max()
    names = ("cdg", "nes_plain", "nes_baseline", "nes_antithetic")
    with style():
        sheet = make_sheet(
            len(states),
            len(dimensions),
            panel_height=1.9,
            legend=_legend(names),
            note=f"NES with {most:,} evaluations. Vertical axes end where wide windows go far "
            "below zero.",
            mark=_mark(material),
            sharex=True,
        )
        for row, state in enumerate(states):
            for column, dimension in enumerate(dimensions):
                axes = sheet.axes[row, column]
                part = frame.query("dimension == @dimension and pretraining == @state")
                top = 1e-6
                for name in names:
                    arm = (name, None if name == "cdg" else most)
                    mean = _of(part, arm).groupby("window")["decrease"].mean()
                    drawn = look(name)
                    axes.plot(mean.index, mean, **drawn.line(), marker=drawn.marker, markersize=3)
                    top = max(top, mean.max())
                low = max(axes.get_ylim()[0], -1.5 * top)
                axes.set_ylim(low, 1.2 * top)
                axes.axhline(0, color=GREY, linewidth=0.6)
                axes.set_xscale("log")
                axes.set_title(f"d = {dimension}" if row == 0 else "")
            sheet.axes[row, 0].set_ylabel(f"loss decrease, {_state(state).split(',')[0]}")
        for axes in sheet.axes[-1]:
            axes.set_xlabel("eps or sigma")
    return sheet.figure


_FIGURES: dict[str, Callable[[Material], Figure]] = {
    "learning_rate_cdg": draw_learning_rate_cdg,
    "learning_rate_nes": draw_learning_rate_nes,
    "dimension": draw_dimension,
    "cosine": draw_cosine,
    "cost": draw_cost,
    "window": draw_window,
}


def draw(name: str, material: Material) -> Figure:
    """Draw the figure called `name`; PerturbError with the closest name where there is none."""
    if name not in _FIGURES:
        raise PerturbError(f"Unknown figure '{name}'.{did_you_mean(name, _FIGURES)}")
    return _FIGURES[name](material)


def make(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Return the figure `settings["figure"]` of a chapter's toys (`Part.make`)."""
    return draw(settings["figure"], gather(settings["name"], settings["scale"], inputs["records"]))


def make_seconds(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Return the figure of the seconds that the estimates took; `inputs` has `timings`, too."""
    material = gather(settings["name"], settings["scale"], inputs["records"])
    return draw_seconds(material, pd.concat(map(read_timing, inputs["timings"])))
