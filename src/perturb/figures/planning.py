"""Pictures of a plan: seeds and intervals by method, what a budget buys, when each run goes."""

from __future__ import annotations

from itertools import groupby

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
from perturb.planning.settings import duration

_ROW = 0.165  # inches of one method
_MOST_STARTS = 25  # of jobs on one GPU that are still told apart


def _unit(seconds: float) -> tuple[float, str]:
    """Return the unit of an axis that reaches to `seconds`, and its name."""
    if seconds < 2 * 3600:
        return 60.0, "minutes"
    return (3600.0, "hours") if seconds < 7 * 86400 else (86400.0, "days")


def _frame(plan: Plan) -> pd.DataFrame:
    """Return one row per candidate: section, method, seeds finished and to do, half-width."""
    several = len(plan.spreads) > 1
    rows = []
    for candidate, seeds in plan.chosen:
        done = sum(seed in candidate.finished for seed in seeds)
        rows.append(
            {
                "section": f"{candidate.chapter}: {candidate.section}"
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
    """Draw each method's seeds, finished and to do, and how wide an interval they give."""
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
                ("difference to the reference", LineStyle(REFERENCE_COLOUR, "-", "o", 1.1)),
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
        widths.hlines(y, 0, frame["half_width"], color=REFERENCE_COLOUR, linewidth=1.1)
        widths.plot(frame["half_width"], y, "o", color=REFERENCE_COLOUR, markersize=3.2)
        widths.set_xlim(left=0)
        widths.set_xlabel(f"Half-width of the 95 % interval ({plan.unit})")
    return sheet.figure


def draw_budget(plan: Plan) -> Figure:
    """Draw what budgets buy, this one marked: the widest half-width, or methods resolved."""
    choose = plan.settings.keep == "resolved"
    besides = sum(task.seconds for task in plan.fixed)
    budget = plan.settings.budget * plan.settings.gpus - besides
    points = np.array(plan.points)
    unit, name = _unit(max(budget, points[:, 0].max()))
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
        axes.step(points[:, 0] / unit, points[:, 1], where="post", color=COLOURS[0])
        axes.plot(points[:, 0] / unit, points[:, 1], "o", color=COLOURS[0], markersize=3)
        kept = {c.name: plan.settings.priorities.get(c.method, 1.0) for c in plan.candidates}
        value = sum(kept[name] for name in plan.allocation.half_widths)
        chosen = value if choose else plan.allocation.widest
        axes.plot(plan.allocation.cost / unit, chosen, "D", color=WARNING_COLOUR, markersize=5)
        axes.axvline(budget / unit, color=GREY, linestyle=(0, (4, 1.5)), linewidth=1.0)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"Device time ({name} of one {plan.device})")
        axes.set_ylabel(
            f"Methods that resolve {plan.settings.resolve:g} {plan.unit}"
            if choose
            else f"Widest half-width ({plan.unit})"
        )
    return sheet.figure


def draw_schedule(plan: Plan) -> Figure:
    """Draw which GPU makes which run when, where jobs begin, and the lower bound."""
    packing, gpus = plan.packing, plan.settings.gpus
    unit, name = _unit(packing.makespan)
    frame = _frame(plan)
    colours = section_colours(frame)
    sections = dict(zip(frame["name"], frame["section"], strict=True))
    section_of = {str(c.run(seed)): sections[c.name] for c, seeds in plan.chosen for seed in seeds}
    used = {section: colours[section] for section in dict.fromkeys(sections.values())}
    if plan.fixed:
        section_of |= {task.name: "seeds not chosen" for task in plan.fixed}
        colours = used = used | {"seeds not chosen": GREY}
    legend = [(section, LineStyle(colour, "-", None, 5)) for section, colour in used.items()]
    starts = {p.job: (p.start / unit, p.gpu) for p in reversed(packing.parts)}
    show_starts = len(starts) <= _MOST_STARTS * gpus
    if show_starts:
        legend.append(("a job begins", LineStyle(REFERENCE_COLOUR, "-", None, 1.2)))
    legend.append(("lower bound", LineStyle(WARNING_COLOUR, (0, (4, 1.5)), None, 1.2)))
    limit = duration(plan.settings.wall_time)
    with style():
        sheet = make_sheet(
            1,
            1,
            panel_height=0.7 + 0.3 * gpus,
            legend=legend,
            note=f"{packing.jobs} jobs of at most {limit} on {gpus} x {plan.device}.",
        )
        axes = sheet.axes[0, 0]
        for run, parts in groupby(packing.parts, key=lambda part: part.run):
            parts = list(parts)
            axes.barh(
                parts[0].gpu,
                (parts[-1].end - parts[0].start) / unit,
                left=parts[0].start / unit,
                height=0.72,
                color=colours[section_of[run]],
                edgecolor="white",
                linewidth=0.4,
            )
        for start, gpu in starts.values() if show_starts else ():
            axes.plot([start] * 2, [gpu - 0.46, gpu + 0.46], color=REFERENCE_COLOUR, linewidth=1.2)
        bound = packing.lower_bound / unit
        axes.axvline(bound, color=WARNING_COLOUR, linestyle=(0, (4, 1.5)))
        axes.set_yticks(range(gpus), [f"GPU {gpu}" for gpu in range(gpus)])
        axes.set_ylim(gpus - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{name.capitalize()} from the start")
    return sheet.figure


FIGURES = {"seeds": draw_seeds, "budget": draw_budget, "schedule": draw_schedule}
