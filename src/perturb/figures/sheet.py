"""A figure's page: panels, one legend under them, and the note on what is not shown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

from perturb.figures.style import GREY, PAGE_WIDTH, WARNING_COLOUR, LineStyle

_LEGEND_ROW = 0.142  # inches
_NOTE_ROW = 0.13
_CHARACTER = 0.059  # mean width of a character at 7.5 pt
_HANDLE = 0.5
_MOST_TICKS = 5


@dataclass(frozen=True)
class Sheet:
    """A figure and its panels, [rows, columns]."""

    figure: Figure
    axes: np.ndarray


def make_sheet(
    rows: int,
    columns: int,
    *,
    panel_height: float,
    legend: Sequence[tuple[str, LineStyle]] = (),
    note: str = "",
    mark: str = "",
    **subplots: object,
) -> Sheet:
    """Return a page-wide figure of panels (`panel_height` inches each) with legend, note and mark.

    `mark` is written over the panels and in a line above them: for runs that are no result.
    `subplots` goes to `Figure.subplots`.
    """
    notes = textwrap.wrap(note, int(PAGE_WIDTH / (_CHARACTER * 0.93)))
    longest = max((len(label) for label, _ in legend), default=0)
    per_row = max(1, min(len(legend), int((PAGE_WIDTH - 0.2) / (_HANDLE + _CHARACTER * longest))))
    legend_height = _LEGEND_ROW * -(-len(legend) // per_row) + 0.05 if legend else 0.0
    note_height = _NOTE_ROW * len(notes) + 0.06 if notes else 0.0
    mark_height = 0.22 if mark else 0.0
    height = rows * panel_height + legend_height + note_height + mark_height
    figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
    bottom = (legend_height + note_height) / height
    figure.get_layout_engine().set(
        rect=(0, bottom, 1, 1 - bottom - mark_height / height), w_pad=0.05, h_pad=0.05
    )
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    if legend:
        handles = [
            Line2D(
                [],
                [],
                **entry.line(),
                marker=entry.marker,
                markersize=3.5,
                markerfacecolor=entry.face or entry.colour,
                label=label,
            )
            for label, entry in legend
        ]
        figure.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, note_height / height),
            ncols=per_row,
            frameon=False,
            borderaxespad=0.0,
            borderpad=0.1,
            handlelength=2.6,
            columnspacing=1.2,
            labelspacing=0.3,
        )
    if notes:
        figure.text(
            0.01, 0.03 / height, "\n".join(notes), fontsize=7, color=GREY, va="bottom", ha="left"
        )
    if mark:
        _mark(figure, mark, height)
    return Sheet(figure, axes)


def _mark(figure: Figure, mark: str, height: float) -> None:
    figure.text(
        0.01,
        1 - 0.05 / height,
        mark,
        fontsize=8,
        weight="bold",
        color=WARNING_COLOUR,
        va="top",
        ha="left",
    )
    watermark = "SMOKE RUN" if mark.startswith("Smoke") else "PARTIAL DATA"
    figure.text(
        0.5,
        0.55,
        watermark,
        fontsize=44,
        weight="bold",
        color=WARNING_COLOUR,
        alpha=0.13,
        rotation=25,
        va="center",
        ha="center",
        zorder=10,
    )


def make_logarithmic(axes: Axes) -> None:
    """Make the y axis of a panel logarithmic, once everything is drawn in it.

    A range of less than a factor of five reads better on the linear axis that it has, which stays
    too where nothing drawn is above 0: a loss of 0 has no logarithm. Only powers of ten are
    labelled where two or more are in view, else 2 and 5 as well.
    """
    low, high = axes.get_ylim()
    if (low > 0 and high / low < 5) or not _any_positive(axes):
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if np.floor(np.log10(high)) - np.ceil(np.log10(low)) >= 1:
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axes.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf)))


def _any_positive(axes: Axes) -> bool:
    """Return whether a panel without lines, or one of its lines, has a number above 0."""
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    return not lines or any((values > 0).any() for values in lines)


def mark_logarithmic(axis: Axis, numbers: Sequence[float]) -> None:
    """Make an axis logarithmic, with at most `_MOST_TICKS` labels over a range of positive numbers.

    1, 2 and 5 of each decade where they are few, else 1 and 3, else the powers of ten, and the ends
    where the range has none of these; written out, since a narrow panel has no place for powers
    beside each other.
    """
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = min(numbers) / 1.15, max(numbers) * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for subs in ((1, 2, 5), (1, 3), (1,)):
        every = [float(f"{sub}e{power}") for power in decades for sub in subs]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) <= _MOST_TICKS:
            break
    every_nth = max(1, -(-len(ticks) // _MOST_TICKS))
    ticks = ticks[::every_nth] or sorted({min(numbers), max(numbers)})
    axis.set_ticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axis.set_minor_formatter(NullFormatter())


def say_nothing_to_show(axes: Axes, text: str) -> None:
    """Write into an empty panel why it is empty."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=8, color=GREY
    )
    axes.set_xticks([])
    axes.set_yticks([])
