"""The figures of a chapter: those of every comparison, and the shapes of the schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perturb import names
from perturb.analysis.plan import Plan
from perturb.figures import catalogue
from perturb.figures.catalogue import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perturb.figures.material import Material

SCHEDULES = Entry(
    "Shapes of the schedules",
    "The four shapes of radius and scale over the table's epochs for beta_max 2 and beta_min "
    "0.01, on a logarithmic axis and scaled to the range from 0 to 1: cos and isin anneal, "
    "sin and icos heat.",
    "perturb.studies.rts.figures:draw_schedules",
)
_MAXIMUM, _MINIMUM = 2.0, 0.01


def figures(plan: Plan) -> dict[str, Entry]:
    """Return the figures that a chapter has anything for, in the report's order."""
    comparison = catalogue.comparison(plan)
    titles = {"Radius", "Scale", "Radius and scale"}
    first = {plan.measure.slug: comparison.pop(plan.measure.slug)}
    cost = {"sgd_against_pugd": replace(catalogue.COST["cost"], title="SGD against PUGD")}
    curves = {
        name: replace(entry, title=f"{entry.title} schedules") if entry.title in titles else entry
        for name, entry in comparison.items()
    }
    own = {"schedules": SCHEDULES}
    return {**first, **(cost if plan.sgd else {}), **own, **curves, **catalogue.VARIANCES}


def draw_schedules(material: Material) -> Figure:
    """Draw cos, sin, icos and isin for beta 2/0.01 over the epochs of the table's reference."""
    epochs = material.plan.epochs
    from perturb.figures.sheet import make_sheet
    from perturb.figures.style import line_style

    shapes = ("cos", "isin", "sin", "icos")
    looks = {shape: line_style(position) for position, shape in enumerate(shapes)}
    meaning = {"cos": "anneals", "isin": "anneals", "sin": "heats", "icos": "heats"}
    sheet = make_sheet(
        1,
        2,
        panel_height=2.4,
        legend=[(f"{shape} ({meaning[shape]})", looks[shape]) for shape in shapes],
        mark=material.mark,
    )
    epoch = np.arange(epochs)
    for shape in shapes:
        schedule = names.Schedule(shape, _MAXIMUM, _MINIMUM)
        values = np.array([schedule.value(float(t), epochs) for t in epoch])
        scaled = (values - values.min()) / np.ptp(values) if epochs > 1 else values
        for axes, drawn in zip(sheet.axes[0], (values, scaled), strict=True):
            axes.plot(
                epoch,
                drawn,
                **looks[shape].marked(epochs),
            )
    logarithmic, linear = sheet.axes[0]
    logarithmic.set(yscale="log", ylabel="Radius r or scale s", xlabel="Epoch t")
    logarithmic.set_title(f"Values for beta {_MAXIMUM:g}/{_MINIMUM:g}")
    linear.set(ylabel="Scaled to its range", xlabel="Epoch t")
    linear.set_title("Shapes alone")
    return sheet.figure
