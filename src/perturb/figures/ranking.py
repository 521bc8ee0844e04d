"""Methods by their mean rank over data sets: the critical-difference diagram, on its side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturb.analysis import display, ranking
from perturb.analysis.plan import Plan
from perturb.analysis.tables import ComparisonTable
from perturb.figures.sheet import Sheet, make_sheet, say_nothing_to_show
from perturb.figures.style import COLOURS, GREY, REFERENCE_COLOUR, LineStyle, style

_ROW = 0.165  # inches a method
_MARKERS = "osD^vP*X"


def draw(frame: pd.DataFrame, tables: Sequence[ComparisonTable]) -> Figure:
    """Draw the ranking that `analysis.ranking` made of `tables`, the best method on top.

    Small points are the ranks on each data set. Where the test found differences, a bar joins
    methods that are not told apart (Demsar 2006, figure 1). The reference is drawn in black.
    """
    plan = tables[0].plan
    if frame.empty:
        with style():
            sheet = make_sheet(1, 1, panel_height=1.0)
            say_nothing_to_show(sheet.axes[0, 0], "no method finished on every data set")
            return sheet.figure
    marks = dict.fromkeys(filter(None, map(display.mark, tables)))
    with style():
        return _draw(frame, plan, "; ".join(marks)).figure


def _draw(frame: pd.DataFrame, plan: Plan, mark: str) -> Sheet:
    reference = ranking.reference_over(plan)
    datasets = [name.removeprefix("rank_") for name in frame if name.startswith("rank_")]
    styles = {
        name: LineStyle(COLOURS[i % len(COLOURS)], "none", _MARKERS[i % len(_MARKERS)], 1.0)
        for i, name in enumerate(datasets)
    }
    distance = float(frame["critical_difference"].iloc[0])
    joined = display.known(distance)
    legend = [("mean rank", LineStyle(GREY, "none", "|", 1.0)), *styles.items()]
    sheet = make_sheet(
        1,
        1,
        panel_height=0.6 + (0.35 if joined else 0.0) + _ROW * len(frame),
        legend=legend,
        note=frame["test"].iloc[0],
        mark=mark,
    )
    axes = sheet.axes[0, 0]
    heights = np.arange(len(frame))
    offsets = np.linspace(-0.2, 0.2, len(datasets))  # ranks that coincide stay in view
    for offset, (name, look) in zip(offsets, styles.items(), strict=True):
        axes.plot(
            frame[f"rank_{name}"],
            heights + offset,
            look.marker,
            color=look.colour,
            markersize=3.4,
            alpha=0.75,
            markeredgewidth=0,
        )
    means = frame["mean_rank"].to_numpy()
    colours = [REFERENCE_COLOUR if name == reference else GREY for name in frame["method"]]
    axes.scatter(means, heights, marker="|", s=70, c=colours, linewidths=2.2, zorder=3)
    axes.set_yticks(heights, list(frame["method"]))
    for label in axes.get_yticklabels():
        label.set_weight("bold" if label.get_text() == reference else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(frame) - 0.4, -0.6)
    axes.set_xticks([tick for tick in axes.get_xticks() if 1 <= tick <= len(frame)])
    axes.set_xlabel(f"Rank of the last-epoch {plan.measure.words} (1 is best)")
    if joined:
        _join(axes, means, distance)
    return sheet


def _join(axes: Axes, means: np.ndarray, distance: float) -> None:
    """Join the methods that are not told apart, right of the axis, and show the distance above."""
    found = ranking.groups(means, distance)
    right = axes.get_xlim()[1]
    step = 0.018 * (right - axes.get_xlim()[0])
    for position, (first, last) in enumerate(found):
        x = right + step * (position + 1)
        axes.plot([x, x], [first - 0.25, last + 0.25], color=REFERENCE_COLOUR, linewidth=2.4)
    axes.set_xlim(axes.get_xlim()[0], right + step * (len(found) + 2))
    axes.set_ylim(axes.get_ylim()[0], -2.4)
    ends = [means[0], means[0] + distance]
    axes.plot(ends, [-1.3, -1.3], color=REFERENCE_COLOUR, linewidth=1.0, marker="|", markersize=5)
    axes.annotate(
        f"critical difference {distance:.2f}",
        (means[0], -1.3),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=7,
    )
