"""Performance profiles of single runs over data sets (Agarwal et al. 2021, figure 7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from perturb.analysis import aggregates, display, ranking
from perturb.analysis.tables import ComparisonTable
from perturb.figures.sheet import make_sheet
from perturb.figures.style import COLOURS, REFERENCE_COLOUR, LineStyle, style

METHODS = 6  # curves that can be told apart, beside the reference's


def draw(frame: pd.DataFrame, tables: Sequence[ComparisonTable]) -> Figure:
    """Draw the profiles of the best methods of a ranking, and of the reference in black.

    A run's score is its value less the mean of the reference's on that data set, in shown units of
    the measure. Bands are pointwise 95 % intervals.
    """
    plan = tables[0].plan
    measure, reference = plan.measure, ranking.reference_over(plan)
    values = aggregates.scores(tables, [ranking.names_over(table.plan) for table in tables])
    base, than = values.get(reference), reference
    if base is None:  # no finished run on some data set
        base, than = (
            [np.concatenate(of) for of in zip(*values.values(), strict=True)],
            "all methods",
        )
    best = [name for name in frame["method"] if name != reference and name in values][:METHODS]
    shown = [*best, *([reference] if reference in values else [])]
    looks = {
        name: LineStyle(REFERENCE_COLOUR if name == reference else COLOURS[i], "-", None, 1.0)
        for i, name in enumerate(shown)
    }
    relative = {
        name: [measure.factor * one for one in aggregates.relative_to(values[name], base)]
        for name in shown
    }
    points = aggregates.thresholds(list(relative.values()))
    mark = "; ".join(dict.fromkeys(filter(None, map(display.mark, tables))))
    with style():
        sheet = make_sheet(1, 1, panel_height=2.4, legend=list(looks.items()), mark=mark)
        axes = sheet.axes[0, 0]
        for name, look in looks.items():
            found = aggregates.profile(relative[name], points)
            axes.plot(points, found.share, color=look.colour)
            axes.fill_between(
                points, found.low, found.high, color=look.colour, alpha=0.12, linewidth=0
            )
        unit = f" ({measure.difference_unit})" if measure.difference_unit else ""
        better = "more" if measure.larger_is_better else "less"
        axes.set_xlabel(f"Last-epoch {measure.words}, {better} than the mean of {than}{unit}")
        axes.set_ylabel("Share of runs above")
        axes.set_ylim(-0.02, 1.02)
        return sheet.figure
