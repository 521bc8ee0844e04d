"""The measure by method, with intervals: the table as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturb.analysis.display import known
from perturb.figures.curves import axis_label
from perturb.figures.material import Material
from perturb.figures.sheet import make_sheet
from perturb.figures.style import COLOURS, GREY, REFERENCE_COLOUR, LineStyle

_ROW = 0.165  # inches a method
_REACH = 3.0  # values further off the middle half than this many times its width leave the axis


def row_heights(frame: pd.DataFrame) -> dict[int, float]:
    """Return the y of each row of a table, from the top (0): sections one line apart."""
    heights, y, section = {}, -1.4, None
    for row in frame.itertuples():
        y += 2.4 if row.section != section else 1.0
        heights[row.Index], section = y, row.section
    return heights


def section_colours(frame: pd.DataFrame) -> dict[str, str]:
    """Return a colour for each section, none of them pale."""
    colours = [COLOURS[index] for index in (0, 1, 2, 6, 3, 4, 5)]
    sections = list(dict.fromkeys(frame["section"]))
    return {name: colours[index % len(colours)] for index, name in enumerate(sections)}


def method_axis(
    axes: Axes, frame: pd.DataFrame, heights: Mapping[int, float], empty: Mapping[int, str]
) -> None:
    """Put the methods on the y axis under their sections; rows in `empty` say why they are."""
    axes.set_yticks(list(heights.values()), list(frame["method"]))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(heights.values(), default=1) + 0.8, -0.6)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    transform = axes.get_yaxis_transform()
    for section, rows in frame.groupby("section", sort=False):
        top = heights[rows.index[0]] - 1.0
        axes.text(
            -0.01,
            top,
            section,
            transform=transform,
            ha="right",
            va="center",
            weight="bold",
            fontsize=7.5,
        )
    for index, text in empty.items():
        axes.text(
            0.01,
            heights[index],
            text,
            transform=transform,
            va="center",
            fontsize=7,
            style="italic",
            color=GREY,
        )


def draw_by_method(material: Material) -> Figure:
    """Draw the last-epoch measure of every row: mean, interval, seeds, and the best epoch's."""
    frame, plan = material.table.frame, material.plan
    heights = row_heights(frame)
    selected = "validation" if plan.protocol == "holdout" else "test"
    best = (f"best epoch (selected on {selected})", LineStyle(GREY, "none", "D", 1.0, face="white"))
    several = [
        ("last epoch: mean and 95 % interval", LineStyle(GREY, "-", "o", 1.1)),
        ("single seeds", LineStyle("#B0B0B0", "none", ".", 1.0)),
    ]
    one = [("last epoch, one seed", LineStyle(GREY, "none", "o", 1.0))]
    sheet = make_sheet(
        1,
        1,
        panel_height=0.55 + _ROW * max(heights.values(), default=1),
        legend=[
            *(several if (frame["seeds_asked"] > 1).any() else one),
            *([best] if plan.protocol else []),
        ],
        note=material.note(material.finished(frame["method"])),
        mark=material.mark,
    )
    axes = sheet.axes[0, 0]
    colours = section_colours(frame)
    low, high = _limits(material)
    empty = {}
    for row in frame.to_dict("index").items():
        index, values = row
        if not known(values[f"{plan.last}_mean"]):
            empty[index] = values["status"]
            continue
        chosen = values["method"] == material.reference
        colour = REFERENCE_COLOUR if chosen else colours[values["section"]]
        _draw_row(axes, material, values, heights[index], colour, (low, high))
    reference = frame.loc[frame["method"] == material.reference, f"{plan.last}_mean"]
    if len(reference) and known(reference.iloc[0]):
        axes.axvline(
            plan.measure.factor * reference.iloc[0], color=REFERENCE_COLOUR, linewidth=0.8, zorder=1
        )
    method_axis(axes, frame, heights, empty)
    axes.set_xlim(low, high)
    axes.set_xlabel(axis_label(plan.measure))
    return sheet.figure


def _draw_row(
    axes: Axes,
    material: Material,
    values: Mapping[str, float],
    y: float,
    colour: str,
    limits: tuple[float, float],
) -> None:
    plan, runs = material.plan, material.runs
    factor = plan.measure.factor
    mean = factor * values[f"{plan.last}_mean"]
    done = runs[(runs["method"] == values["method"]) & (runs["status"] == "ok")]
    seeds = factor * done[f"last_{plan.measure.name}"].to_numpy(dtype=float)
    if not limits[0] <= mean <= limits[1]:
        _point_outside(axes, mean, y, colour, limits)
        return
    ends = [factor * values[f"{plan.last}_ci95_{end}"] for end in ("low", "high")]
    if known(ends[0]):
        axes.plot(ends, [y, y], "-", color=colour, linewidth=1.1, solid_capstyle="butt")
    spread = np.linspace(-0.25, 0.25, len(seeds)) if len(seeds) > 1 else np.zeros(len(seeds))
    axes.plot(seeds, y + spread, "o", color=colour, alpha=0.5, markersize=2.2, markeredgewidth=0)
    if plan.protocol:
        best = factor * values[f"{plan.best}_mean"]
        face = {"markerfacecolor": "white", "markeredgecolor": colour, "mew": 0.8}
        axes.plot(best, y, "D", markersize=3.6, **face)
    axes.plot(mean, y, "o", color=colour, markersize=4.2)


def _point_outside(
    axes: Axes, mean: float, y: float, colour: str, limits: tuple[float, float]
) -> None:
    """Draw an arrow at the end of the axis towards a mean that lies beyond it."""
    left = mean < limits[0]
    axes.annotate(
        f"{mean:.1f}",
        (limits[0] if left else limits[1], y),
        xytext=(14 if left else -14, 0),
        textcoords="offset points",
        arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.0},
        ha="left" if left else "right",
        va="center",
        fontsize=7,
        color=colour,
    )


def _limits(material: Material) -> tuple[float, float]:
    """Return the x axis in shown units: all of the middle, but not methods that collapsed."""
    frame, plan = material.table.frame, material.plan
    measure = plan.measure
    last, best = f"{plan.last}_mean", f"{plan.best}_mean"
    means = measure.factor * frame[last].dropna().to_numpy()
    if not len(means):
        return 0.0, 100.0
    lower, upper = np.quantile(means, (0.25, 0.75))
    least = 0.5 if measure.unit == "%" else 0.05 * abs(float(np.median(means)))
    reach = _REACH * max(upper - lower, least)
    shown = measure.factor * frame[last]
    kept = frame[shown >= lower - reach if measure.larger_is_better else shown <= upper + reach]
    sure = kept[kept["seeds_finished"] > 2]
    drawn = [sure[[last, f"{plan.last}_ci95_low", f"{plan.last}_ci95_high"]].to_numpy().ravel()]
    drawn += [kept[best]] if plan.protocol else []
    runs = material.runs[material.runs["method"].isin(kept["method"])]
    drawn = np.concatenate([*drawn, runs[f"last_{measure.name}"]]).astype(float)
    low, high = measure.factor * np.nanmin(drawn), measure.factor * np.nanmax(drawn)
    margin = 0.04 * max(high - low, least)
    if measure.unit != "%":
        return low - margin, high + margin
    return max(low - margin, 0.0), min(high, 100.0) + margin
