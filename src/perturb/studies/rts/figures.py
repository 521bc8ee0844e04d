"""The figures of a chapter: those of every comparison, and the shapes of the schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perturb import names
from perturb.analysis.plan import Plan
from perturb.figures import catalogue
from perturb.figures.catalogue import Entry
from perturb.studies.rts import memorising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perturb.figures.material import Material

SCHEDULES = Entry(
    "Schedules of radius and scale",
    "Radius r and scale s over the epochs, of every schedule that a method of the table has, by "
    "its shape, beta_max/beta_min and epochs; logarithmic, so that a value of 0 is left out.",
    "perturb.studies.rts.figures:draw_schedules",
)
_AXES = {"radius": "Radius r", "scale": "Scale s"}


def figures(plan: Plan) -> dict[str, Entry]:
    """Return the figures that a chapter has anything for, in the report's order."""
    comparison = catalogue.comparison(plan)
    titles = {"Radius", "Scale", "Radius and scale"}
    first = {plan.measure.slug: comparison.pop(plan.measure.slug)}
    cost = {}
    if plan.sgd and len(catalogue.methods_of_cost(plan)) > 1:
        of_pugd = names.parse(plan.reference).rule == "pugd"
        # By the methods' names: the base optimiser of both may be another than SGD.
        title = f"{plan.sgd} against {plan.reference}"
        title = f"{plan.sgd} at twice the epochs" if plan.sgd == plan.reference else title
        name = "sgd_against_pugd" if of_pugd else "cost"
        cost = {name: replace(catalogue.COST["cost"], title=title)}
    curves = {
        name: replace(entry, title=f"{entry.title} schedules") if entry.title in titles else entry
        for name, entry in comparison.items()
    }
    own = {"schedules": SCHEDULES} if any(schedules(plan).values()) else {}
    noise = memorising.figures(plan)
    return {**first, **noise, **cost, **own, **curves, **catalogue.VARIANCES}


def schedules(plan: Plan) -> dict[str, dict[str, tuple[names.Schedule, int]]]:
    """Return the schedules that the plan's methods have, of radius and scale, by how they are told.

    Each with its epochs, which are told where they are not the reference's.
    """
    found: dict[str, dict[str, tuple[names.Schedule, int]]] = {axis: {} for axis in _AXES}
    for row in plan.listed():
        method = names.parse(row.method)
        for axis, schedule in (("radius", method.radius), ("scale", method.scale)):
            if schedule is not None:
                betas = f"{schedule.maximum:g}"
                betas += "" if schedule.shape == "const" else f"/{schedule.minimum:g}"
                epochs = "" if method.epochs == plan.epochs else f", {method.epochs} epochs"
                found[axis][f"{schedule.shape} {betas}{epochs}"] = (schedule, method.epochs)
    return found


def draw_schedules(material: Material) -> Figure:
    """Draw every schedule of the table's methods: those of the radius, those of the scale."""
    from perturb.figures.sheet import make_sheet
    from perturb.figures.style import line_style

    drawn = {axis: found for axis, found in schedules(material.plan).items() if found}
    told = list(dict.fromkeys(name for found in drawn.values() for name in found))
    looks = {name: line_style(position) for position, name in enumerate(told)}
    sheet = make_sheet(
        1,
        len(drawn),
        panel_height=2.4,
        legend=[(name, looks[name]) for name in told],
        mark=material.mark,
    )
    for axes, (axis, found) in zip(sheet.axes[0], drawn.items(), strict=True):
        for name, (schedule, epochs) in found.items():
            values = np.array([schedule.value(float(t), epochs) for t in range(epochs)])
            shown = np.where(values > 0, values, np.nan)
            axes.plot(np.arange(epochs), shown, **looks[name].marked(epochs))
        axes.set(yscale="log", ylabel=_AXES[axis], xlabel="Epoch t", title=_AXES[axis])
    return sheet.figure
