"""The figures of a study: names, titles and captions. Pure, so that planning stays fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CURVES = (
    "Test loss and test accuracy of the methods of section {section} against {reference}: mean "
    "over seeds, band of one standard deviation. The lower panels show the last third of "
    "each method's own epochs."
)


@dataclass(frozen=True)
class Entry:
    """A figure's words. `section` is the section of the table that it draws, where it draws one."""

    title: str
    text: str
    section: str | None = None

    def caption(self, plan: Mapping[str, Any]) -> str:
        """Return the figure's caption for the table of `plan`, in plain text."""
        text = self.text.format(
            section=self.section,
            normalisation=(plan.get("landscape") or {}).get("normalisation"),
            reference=plan["reference"],
            sgd=plan.get("sgd") or "SGD",
            sgd_double=plan.get("sgd_double") or "SGD at twice the epochs",
            selected="validation" if plan["protocol"] == "holdout" else "test",
            validation=""
            if plan["protocol"] == "holdout"
            else " In this protocol the test split plays validation.",
        )
        smoke = "Smoke run, not a result of the study. " if plan["scale"] == "smoke" else ""
        return f"{smoke}{text} Data: {plan['dataset']}, {plan['model']}."


CATALOGUE: dict[str, Entry] = {
    "accuracy": Entry(
        "Accuracy by method",
        "Test accuracy of the last epoch by method: mean over seeds with its 95 % t interval, "
        "single seeds as small points, best epoch (selected on {selected}) as hollow diamonds; the "
        "line is {reference}. Arrows stand for means left of the axis; intervals may leave it.",
    ),
    "sgd_against_pugd": Entry(
        "SGD against PUGD",
        "{sgd}, {sgd_double} and {reference} over epochs and over batch gradients computed: at "
        "equal epochs {reference} computes twice the gradients of {sgd}; {sgd_double} spends as "
        "many. Mean over seeds, band of one standard deviation.",
    ),
    "schedules": Entry(
        "Shapes of the schedules",
        "The four shapes of radius and scale over the table's epochs for beta_max 2 and beta_min "
        "0.01, on a logarithmic axis and scaled to the range from 0 to 1: cos and isin anneal, "
        "sin and icos heat.",
    ),
    "curves_baselines": Entry("Baselines", _CURVES, "Baselines"),
    "curves_radius": Entry("Radius schedules", _CURVES, "Radius"),
    "curves_scale": Entry("Scale schedules", _CURVES, "Scale"),
    "curves_radius_and_scale": Entry("Radius and scale schedules", _CURVES, "Radius and scale"),
    "curves_timing": Entry(
        "Timing",
        _CURVES + " Ticks in the first panel mark the epochs from which a seed perturbs.",
        "Timing",
    ),
    "loss_variance": Entry(
        "Variance of batch losses",
        "Per-epoch variance of the batch losses (upper panels) beside the epoch's mean loss (lower "
        "panels), for SGD, {reference} and the first method of each section: mean over seeds."
        "{validation}",
    ),
    "test_loss_variance": Entry(
        "Variance of test batch losses",
        "Variance of the test batch losses after the last epoch by method: mean over seeds as "
        "bars, single seeds as points; the line is {reference}. A bar that is cut says its value.",
    ),
}

_PLANE = (
    "Loss around the last checkpoint of each method in the plane of two random, "
    "{normalisation}-normalised directions, the same for all (first direction seed); the star is "
    "the checkpoint, hatched points have no finite loss."
)
LANDSCAPES: dict[str, Entry] = {
    "landscape_contours_linear": Entry(
        "Loss landscapes, linear", _PLANE + " One linear colour scale for all panels."
    ),
    "landscape_contours_log": Entry(
        "Loss landscapes, logarithmic", _PLANE + " One logarithmic colour scale for all panels."
    ),
    "landscape_surfaces": Entry(
        "Loss landscapes as surfaces",
        _PLANE.replace("hatched points have", "the surface is left open where there is")
        + " Height and colour are logarithmic and shared.",
    ),
    "landscape_cuts": Entry(
        "Cuts through the loss landscapes",
        "Loss and accuracy along both directions through the last checkpoint of each method: mean "
        "over direction seeds, band from the smallest to the largest. {reference} is black.",
    ),
    "landscape_trajectories": Entry(
        "Trajectories of training",
        "The path of each method's checkpoints in the plane of the first two principal components "
        "of (checkpoint - final weights), with the share of variance that each explains; below, "
        "the loss at each checkpoint beside the loss at its projection in the plane.",
    ),
}

AUDIT: dict[str, Entry] = {
    "claims": Entry(
        "Claims",
        "Difference of each method to its baseline in the last epoch with its 95 % interval under "
        "the noise floor; hollow diamonds: the difference of their best epochs, as is claimed. "
        "Colour and marker are the verdict's; arrows stand for differences outside the axis.",
    ),
    "best_against_last": Entry(
        "Best against last",
        "Best of all epochs, chosen on test, against the last epoch. How far a file lies below the "
        "line is what choosing its epoch on test adds: to the right, in points, of healthy files.",
    ),
    "names_against_curves": Entry(
        "Names against curves",
        "Training loss against the radius that the name gives, at every end of the curves where "
        "the loss rises with the radius. A file whose name puts it off that order moves to where "
        "its loss belongs: the radius of the schedule that was run.",
    ),
    "suspicious_curves": Entry(
        "Suspicious curves",
        "Files whose curve contradicts the name, whose learning rate climbs again, or that end in "
        "collapse, beside the baseline that they are compared with.",
    ),
    "comparisons": Entry(
        "All other comparisons", "As the claims, for the methods that are no headline."
    ),
}


def names_for(plan: Mapping[str, Any]) -> list[str]:
    """Return the figures that the table of `plan` has anything for, in the report's order."""
    sections = {row["section"] for row in plan["rows"] if row["method"] != plan["reference"]}
    found = [
        name
        for name, entry in CATALOGUE.items()
        if entry.section is None or entry.section in sections
    ]
    found = found if plan.get("sgd") else [name for name in found if name != "sgd_against_pugd"]
    return found + (list(LANDSCAPES) if plan.get("landscape") else [])
