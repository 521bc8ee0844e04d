"""Learning wrong labels by heart: accuracy on given and on true labels, over the epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perturb import names
from perturb.analysis.plan import Plan
from perturb.data import variants
from perturb.figures.catalogue import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perturb.figures.material import Material

_PANELS = {
    "train_accuracy": "Train images, given labels",
    "train_true_accuracy": "Train images, true labels",
    "test_accuracy": "Test images",
}
_MOST = 8  # lines that a panel can carry
FIGURE = Entry(
    "Learning wrong labels by heart",
    "Accuracy on the train images by their given labels, of which {percent:g} % are wrong (left), "
    "by their true ones (middle), and on the test images, whose labels are true (right): {{mean}}"
    "{{band}}. A method that learns wrong labels by heart rises above the line on the left, "
    "{right:g} %, and falls in the middle.",
    "perturb.studies.rts.memorising:draw",
)


def figures(plan: Plan) -> dict[str, Entry]:
    """Return the figure of a plan whose data set has label noise; none without."""
    noise = variants.parse(plan.dataset).noise
    if noise is None:
        return {}
    percent = 100 * noise.rate
    caption = FIGURE.text.format(percent=percent, right=100 - percent)
    return {"wrong_labels": Entry(FIGURE.title, caption, FIGURE.draw)}


def chosen(plan: Plan) -> list[str]:
    """Return what is drawn: SGD, the reference, the first method of each further rule and model."""
    rules: dict[tuple[str, str], str] = {}
    for row in sorted(plan.rows, key=lambda row: row.method not in (plan.sgd, plan.reference)):
        rules.setdefault((row.model, names.parse(row.method).rule), row.method)
    return list(rules.values())[:_MOST]


def draw(material: Material) -> Figure:
    """Draw the three accuracies of the methods that are chosen."""
    from perturb.figures.curves import draw_band, styles
    from perturb.figures.sheet import make_sheet, say_nothing_to_show

    wanted = chosen(material.plan)
    shown = material.finished(wanted)
    looks = styles(material, shown)
    sheet = make_sheet(
        1,
        len(_PANELS),
        panel_height=2.6,
        legend=[(method, looks[method]) for method in shown],
        note=material.note(wanted),
        mark=material.mark,
        sharey=True,
    )
    noise = variants.parse(material.plan.dataset).noise
    for axes, (column, title) in zip(sheet.axes[0], _PANELS.items(), strict=True):
        for method in shown:
            curve = material.mean(method, column)
            draw_band(axes, curve.index.to_numpy() + 1, curve, looks[method], 100.0, 0.05)
        axes.set(title=title, xlabel="Epochs completed")
        if not shown:
            say_nothing_to_show(axes, "no finished run")
    sheet.axes[0, 0].set_ylabel("Accuracy (%)")
    if noise is not None:
        share = 100 * (1 - noise.rate)
        sheet.axes[0, 0].axhline(share, color="#000000", linewidth=0.8, linestyle=":")
    return sheet.figure
