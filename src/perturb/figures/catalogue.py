"""The figures of a study: names, titles and captions. Pure, so that planning stays fast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from perturb.analysis.plan import Plan

_CURVES = (
    "{series} of the methods of section {section} against {reference}: {mean}{band}. The "
    "lower panels show the last third of each method's own epochs."
)
_SWITCHES = " Ticks in the first panel mark the epochs from which a seed perturbs."
PROFILES = (
    "Performance profiles of single runs over data sets (Agarwal et al. 2021): the share of a "
    "method's runs above each score, mean over data sets; a score is the run's value less the mean "
    "of the reference's on that data set. The six methods of best mean rank, and the reference in "
    "black; bands are pointwise 95 % intervals of a bootstrap stratified by data set."
)
RANKING = (
    "Methods by their mean rank over data sets (best on top); small marks are the ranks on "
    "each. Bars on the right join methods that the test does not tell apart, where it found "
    "any difference."
)


@dataclass(frozen=True)
class Entry:
    """A figure's words, and who draws it.

    `draw` is "module:function", called with a `perturb.figures.material.Material`, and with
    `section=` where the figure is of a section of the table.
    """

    title: str
    text: str
    draw: str = ""
    section: str = ""

    def drawn(self) -> dict[str, str]:
        """Return what `perturb.figures.parts:draw` must know of the figure."""
        return {"draw": self.draw} | ({"section": self.section} if self.section else {})

    def caption(self, plan: Plan) -> str:
        """Return the figure's caption for the table of `plan`, in plain text."""
        text = self.text.format(
            section=self.section,
            series=f"Test loss and {plan.measure.words}",
            measure=plan.measure.words,
            Measure=plan.measure.words[:1].upper() + plan.measure.words[1:],
            normalisation=plan.normalisation,
            reference=plan.reference,
            costs=listing(methods_of_cost(plan)),
            chosen=listing(dict.fromkeys(filter(None, (plan.sgd, plan.reference)))),
            further=_further(plan),
            mean="mean over seeds" if _seeds(plan) > 1 else "one seed",
            band=", band of one standard deviation" if _seeds(plan) > 1 else "",
            interval=" with its 95 % t interval" if _seeds(plan) > 1 else "",
            small=", single seeds as small points" if _seeds(plan) > 1 else "",
            points=", single seeds as points" if _seeds(plan) > 1 else "",
            best=_BEST.format("validation" if plan.protocol == "holdout" else "test")
            if plan.protocol
            else "",
            validation=""
            if plan.protocol != "from400"
            else " In this protocol the test split plays validation.",
        )
        smoke = "Smoke run, not a result of the study. " if plan.scale == "smoke" else ""
        return f"{smoke}{text} Data: {plan.dataset}, {plan.models}."


def _seeds(plan: Plan) -> int:
    """Return the largest number of seeds that a method of the plan has."""
    return max((len(row.seeds) for row in plan.rows), default=0)


def listing(items: Iterable[str]) -> str:
    """Join items as `a, b and c`."""
    items = list(items)
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def _further(plan: Plan) -> str:
    """Say which methods the variance is drawn of beside SGD and the reference, where any is."""
    chosen = {plan.sgd, plan.reference}
    sections = {row.section for row in plan.rows}
    more = sections - {row.section for row in plan.rows if row.method in chosen}
    return " and the first finished method of each further section" if more else ""


def methods_of_cost(plan: Plan) -> list[str]:
    """Return what is drawn over epochs and over gradients: SGD, the reference, each once."""
    wanted = (plan.sgd, plan.sgd_double, plan.reference)
    return list(dict.fromkeys(method for method in wanted if method))


_BEST = ", best epoch (selected on {}) as hollow diamonds"
BY_METHOD = Entry(
    "",
    "{Measure} of the last epoch by method: {mean}{interval}{small}{best}; "
    "the line is {reference}, where it finished. Arrows stand for means outside the "
    "axis; intervals may leave it.",
    "perturb.figures.accuracy:draw_by_method",
)
# Figures that a study may list beside those of every comparison.
COST: dict[str, Entry] = {
    "cost": Entry(
        "At equal epochs and at equal cost",
        "{costs} over epochs (left) and over the batch gradients that they computed (right): "
        "{mean}{band}.",
        "perturb.figures.curves:draw_cost",
    ),
}
VARIANCES: dict[str, Entry] = {
    "loss_variance": Entry(
        "Variance of batch losses",
        "Per-epoch variance of the batch losses (upper panels) beside the epoch's mean loss (lower "
        "panels), for {chosen}{further}: {mean}."
        "{validation}",
        "perturb.figures.variance:draw_loss_variance",
    ),
    "test_loss_variance": Entry(
        "Variance of test batch losses",
        "Variance of the test batch losses after the last epoch by method: {mean} as "
        "bars{points}; the line is {reference}, where it finished. A bar that is "
        "cut says its value.",
        "perturb.figures.variance:draw_test_loss_variance",
    ),
}


def comparison(plan: Plan) -> dict[str, Entry]:
    """Return the figures that every comparison has: the measure by method, curves by section."""
    short = plan.measure.short
    by_method = replace(BY_METHOD, title=f"{short[:1].upper()}{short[1:]} by method")
    return {plan.measure.slug: by_method} | curves(plan)


def curves(plan: Plan) -> dict[str, Entry]:
    """Return the figures of a plan's sections, but for those that only have the reference."""
    found = {}
    for section in dict.fromkeys(row.section for row in plan.listed()):
        listed = [row for row in plan.rows if row.section == section]
        if all(row.method == plan.reference for row in listed):
            continue
        text = _CURVES + (_SWITCHES if any(row.timed for row in listed) else "")
        name = f"curves_{section.lower().replace(' ', '_')}"
        found[name] = Entry(section, text, "perturb.figures.curves:draw_section", section)
    return found


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
        "Loss and accuracy along both directions through the last checkpoint of each method; of "
        "several direction seeds their mean, and a band from the smallest to the largest. "
        "{reference} is black.",
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
        "line is what choosing its epoch on test adds: to the right, in points, of healthy files. "
        "A file that was started again is healthy where its last complete attempt is.",
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
