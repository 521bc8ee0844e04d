"""Pictures of a plan: seeds and intervals by method, what a budget buys, when each run goes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perturb.figures.accuracy import method_axis, row_heights, section_colours
from perturb.figures.sheet import make_sheet
from perturb.figures.style import (
    COLOURS,
    GREY,
    REFERENCE_COLOUR,
    WARNING_COLOUR,
    LineStyle,
    style,
)
from perturb.planning.budget import Plan

_ROW = 0.165  # inches a method
_HOUR = 3600.0


def _frame(plan: Plan) -> pd.DataFrame:
    """Return a row a candidate: section, method, seeds finished and to do, half-width."""
    several = len(plan.spreads) > 1
    rows = []
    for candidate, seeds in plan.chosen:
        done = sum(seed in candidate.finished for seed in seeds)
        rows.append(
            {
                "section": f"{candidate.dataset}: {candidate.section}"
                if several
                else candidate.section,
                "method": candidate.method,
                "name": candidate.name,
                "done": done,
                "todo": len(seeds) - done,
                "half_width": plan.allocation.half_widths.get(candidate.name, np.nan),
            }
        )
    return pd.DataFrame(rows).sort_values("section", kind="stable", key=_rank(rows)).reset_index()


def _rank(rows: list[dict]) -> object:
    """Return a sort key that keeps sections in the order in which they first come."""
    order = list(dict.fromkeys(row["section"] for row in rows))
    return lambda sections: sections.map(order.index)


def draw_seeds(plan: Plan) -> Figure:
    """Draw each method's seeds, finished and to do, and the interval that they give."""
    frame = _frame(plan)
    heights = row_heights(frame)
    with style():
        sheet = make_sheet(
            1,
            2,
            panel_height=0.55 + _ROW * max(heights.values()),
            legend=[
                ("finished", LineStyle(GREY, "-", None, 5)),
                ("to do", LineStyle(COLOURS[0], "-", None, 5)),
                (
                    "95 % interval of the difference to the reference",
                    LineStyle(REFERENCE_COLOUR, "-", "o", 1.1),
                ),
            ],
            width_ratios=(1, 1.3),
        )
        seeds, widths = sheet.axes[0]
        y = [heights[index] for index in frame.index]
        seeds.barh(y, frame["done"], height=0.62, color=GREY)
        seeds.barh(y, frame["todo"], left=frame["done"], height=0.62, color=COLOURS[0])
        empty = {i: "not run" for i in frame.index[frame["done"] + frame["todo"] == 0]}
        method_axis(seeds, frame, heights, empty)
        seeds.xaxis.set_major_locator(MaxNLocator(integer=True))
        seeds.set_xlabel("Seeds")
        method_axis(widths, frame, heights, {})
        widths.set_yticklabels([])
        for text in list(widths.texts):
            text.remove()
        half = frame["half_width"].to_numpy()
        widths.errorbar(
            np.zeros(len(frame)),
            y,
            xerr=half,
            fmt="o",
            color=REFERENCE_COLOUR,
            markersize=2.8,
            elinewidth=1.1,
            capsize=2,
        ) if np.isfinite(half).any() else None
        widths.set_xlabel("Interval around a difference (points)")
    return sheet.figure


def draw_budget(plan: Plan) -> Figure:
    """Draw what budgets buy, this one marked: the widest half-width, or methods resolved."""
    choose = plan.settings.keep == "resolved"
    budget = plan.settings.budget * plan.settings.gpus / _HOUR
    points = np.array(plan.points)
    with style():
        sheet = make_sheet(
            1,
            1,
            panel_height=2.6,
            legend=[
                ("best that a budget buys", LineStyle(COLOURS[0], "-", "o", 1.2)),
                ("this plan", LineStyle(WARNING_COLOUR, "none", "D", 1.2)),
                ("budget", LineStyle(GREY, (0, (4, 1.5)), None, 1.0)),
            ],
        )
        axes = sheet.axes[0, 0]
        axes.step(points[:, 0] / _HOUR, points[:, 1], where="post", color=COLOURS[0])
        axes.plot(points[:, 0] / _HOUR, points[:, 1], "o", color=COLOURS[0], markersize=3)
        kept = {c.name: plan.settings.priorities.get(c.method, 1.0) for c in plan.candidates}
        value = sum(kept[name] for name in plan.allocation.half_widths)
        chosen = value if choose else plan.allocation.widest
        axes.plot(plan.allocation.cost / _HOUR, chosen, "D", color=WARNING_COLOUR, markersize=5)
        axes.axvline(budget, color=GREY, linestyle=(0, (4, 1.5)), linewidth=1.0)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"Device time (hours of one {plan.device})")
        axes.set_ylabel(
            f"Methods that resolve {plan.settings.resolve:g} points"
            if choose
            else "Widest half-width (points)"
        )
    return sheet.figure


def draw_schedule(plan: Plan) -> Figure:
    """Draw which GPU makes which run when, with the limits of the jobs and the lower bound."""
    packing = plan.packing
    sections = section_colours(_frame(plan))
    several = len(plan.spreads) > 1
    section_of = {
        f"{c.dataset}/{c.model}/{c.method}": f"{c.dataset}: {c.section}" if several else c.section
        for c in plan.candidates
    }
    with style():
        sheet = make_sheet(
            1,
            1,
            panel_height=0.7 + 0.3 * plan.settings.gpus,
            legend=[
                *((name, LineStyle(colour, "-", None, 5)) for name, colour in sections.items()),
                ("a job's start", LineStyle(REFERENCE_COLOUR, "-", None, 1.2)),
                ("lower bound", LineStyle(WARNING_COLOUR, (0, (4, 1.5)), None, 1.2)),
            ],
        )
        axes = sheet.axes[0, 0]
        for p in packing.parts:
            colour = sections[section_of[p.run.rpartition("/")[0]]]
            span = [(p.start / _HOUR, (p.end - p.start) / _HOUR)]
            axes.broken_barh(
                span, (p.gpu - 0.36, 0.72), color=colour, edgecolor="white", linewidth=0.3
            )
        starts = {p.job: (p.gpu, p.start) for p in reversed(packing.parts)}
        for gpu, start in starts.values():
            axes.plot(
                [start / _HOUR] * 2, [gpu - 0.46, gpu + 0.46], color=REFERENCE_COLOUR, linewidth=1.2
            )
        axes.axvline(packing.lower_bound / _HOUR, color=WARNING_COLOUR, linestyle=(0, (4, 1.5)))
        axes.set_yticks(range(plan.settings.gpus), [f"GPU {g}" for g in range(plan.settings.gpus)])
        axes.set_ylim(plan.settings.gpus - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(left=0)
        axes.set_xlabel("Hours from the start")
    return sheet.figure


FIGURES = {"seeds": draw_seeds, "budget": draw_budget, "schedule": draw_schedule}
