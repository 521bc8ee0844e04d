"""The variance of batch losses: over the epochs, and on test by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from perturb.figures.accuracy import method_axis, row_heights, section_colours
from perturb.figures.curves import styles
from perturb.figures.material import Material
from perturb.figures.sheet import make_logarithmic, make_sheet, say_nothing_to_show
from perturb.figures.style import REFERENCE_COLOUR

_COLUMNS = (("train", "Train"), ("validation", "Validation"))
_REACH = 5.0  # a bar longer than this many times the median is cut and says its value


def selected(material: Material) -> list[str]:
    """Return SGD, the reference and the first method with runs of each further section."""
    chosen = list(dict.fromkeys(filter(None, (material.plan.sgd, material.reference))))
    for section in dict.fromkeys(material.table.frame["section"]):
        finished = material.finished(material.methods(section))
        if not set(finished) & set(chosen):
            chosen.extend(finished[:1])
    return chosen


def draw_loss_variance(material: Material) -> Figure:
    """Draw the per-epoch variance of batch losses over the epoch's loss, train and validation."""
    methods = selected(material)
    shown = material.finished(methods)
    looks = styles(material, shown)
    on_test = material.plan.protocol == "from400"
    sheet = make_sheet(
        2,
        2,
        panel_height=2.0,
        legend=[(method, looks[method]) for method in shown],
        note=material.note(methods),
        mark=material.mark,
        sharex=True,
    )
    for column, (split, title) in enumerate(_COLUMNS):
        upper, lower = sheet.axes[:, column]
        for method in shown:
            for axes, name in ((upper, f"{split}_loss_variance"), (lower, f"{split}_loss")):
                mean = material.mean(method, name)["mean"]
                drawn = mean.where(mean > 0)
                look = looks[method]
                axes.plot(
                    mean.index + 1,
                    drawn,
                    **look.marked(len(mean)),
                )
        upper.set_title(f"{title} (the test split)" if split == "validation" and on_test else title)
        make_logarithmic(lower)
        if shown and not any(np.nanmax(line.get_ydata(), initial=0) > 0 for line in lower.lines):
            say_nothing_to_show(lower, "no loss above 0")
        if not shown or _any_variance(material, shown, split):
            make_logarithmic(upper)
        else:
            say_nothing_to_show(upper, "one batch per epoch: no variance")
        lower.set(xlabel="Epochs completed")
    sheet.axes[0, 0].set_ylabel("Variance of batch\nlosses (nats²)")
    sheet.axes[1, 0].set_ylabel("Mean loss (nats)")
    return sheet.figure


def _any_variance(material: Material, methods: Sequence[str], split: str) -> bool:
    chosen = material.curves[material.curves["method"].isin(methods)]
    return f"{split}_loss_variance" in chosen and bool((chosen[f"{split}_loss_variance"] > 0).any())


def draw_test_loss_variance(material: Material) -> Figure:
    """Draw one bar per method: the variance of its test batch losses after the last epoch."""
    frame = material.table.frame
    heights = row_heights(frame)
    sheet = make_sheet(
        1,
        1,
        panel_height=0.55 + 0.165 * max(heights.values(), default=1),
        note=material.note(material.finished(frame["method"])),
        mark=material.mark,
    )
    axes = sheet.axes[0, 0]
    colours = section_colours(frame)
    values = {method: _last(material, method) for method in frame["method"]}
    limit = _bar_limit(values)
    empty = {}
    for row in frame.itertuples():
        y, seeds = heights[row.Index], values[row.method]
        if not len(seeds):
            empty[row.Index] = row.status
            continue
        colour = REFERENCE_COLOUR if row.method == material.reference else colours[row.section]
        axes.barh(y, seeds.mean(), height=0.66, color=colour, alpha=0.5, linewidth=0)
        axes.plot(seeds, np.full(len(seeds), y), "o", color=colour, markersize=2.4)
        if seeds.mean() > limit:
            text = f"{seeds.mean():.2g} →"
            axes.text(0.99 * limit, y, text, ha="right", va="center", fontsize=7)
    reference = values[material.reference]
    if len(reference):
        axes.axvline(reference.mean(), color=REFERENCE_COLOUR, linewidth=0.8, zorder=1)
    method_axis(axes, frame, heights, empty)
    axes.set_xlim(0, limit)
    axes.set_xlabel("Variance of test batch losses after the last epoch (nats²)")
    if not any((seeds > 0).any() for seeds in values.values()):
        axes.set_xlabel("One test batch: the variance of test batch losses is 0")
    return sheet.figure


def _bar_limit(values: Mapping[str, np.ndarray]) -> float:
    """Return where the axis ends: past every bar but those far longer than most."""
    means = {method: seeds.mean() for method, seeds in values.items() if len(seeds)}
    if not means or max(means.values()) <= 0:
        return 1.0
    floor = _REACH * float(np.median(list(means.values())))
    kept = [seeds for method, seeds in values.items() if means.get(method, np.inf) <= floor]
    return 1.04 * float(np.concatenate(kept).max()) if kept else 1.04 * max(means.values())


def _last(material: Material, method: str) -> np.ndarray:
    """Return the test variance of the last epoch of each finished run of a method."""
    curves = material.curves
    if "test_loss_variance" not in curves:
        return np.empty(0)
    chosen = curves[(curves["method"] == method) & (curves["status"] == "ok")]
    return chosen.sort_values("epoch").groupby("seed")["test_loss_variance"].last().to_numpy()
