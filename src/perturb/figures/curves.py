"""Loss and measure over the epochs: each section of a table against its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturb.figures.catalogue import methods_of_cost
from perturb.figures.material import Material
from perturb.figures.sheet import make_logarithmic, make_sheet, say_nothing_to_show
from perturb.figures.style import REFERENCE, LineStyle, line_style
from perturb.study import Measure

LOSS = Measure(name="test_loss", words="test loss", unit="nats", factor=1.0, larger_is_better=False)
_ROBUST = 4.0  # a method further from the others than this many times their spread is off the zoom


def styles(material: Material, methods: Sequence[str]) -> dict[str, LineStyle]:
    """Return the style of each method: the reference's own, the others' by their order."""
    others = [method for method in methods if method != material.reference]
    found = {method: line_style(position) for position, method in enumerate(others)}
    return {m: found.get(m, REFERENCE) for m in methods}


def draw_band(
    axes: Axes,
    x: np.ndarray,
    curve: pd.DataFrame,
    look: LineStyle,
    factor: float = 1.0,
    strength: float = 0.1,
) -> None:
    """Draw a mean over seeds with a band of one standard deviation; `factor` scales both.

    `strength` is the opacity of a band that is not the reference's.
    """
    mean, sd = factor * curve["mean"].to_numpy(), factor * curve["sd"].to_numpy()
    chosen = look is REFERENCE
    alpha = 0.15 if chosen else strength
    axes.fill_between(x, mean - sd, mean + sd, color=look.colour, alpha=alpha, lw=0)
    axes.plot(x, mean, **look.marked(len(x)), zorder=3 if chosen else 2)


def series(material: Material) -> list[Measure]:
    """Return what is drawn over the epochs: the test loss, where it is not the measure, and it."""
    measure = material.plan.measure
    return [LOSS, measure] if measure.name != LOSS.name else [measure]


def axis_label(measure: Measure) -> str:
    """Return the measure with its unit, as an axis is called."""
    unit = f" ({measure.unit})" if measure.unit else ""
    return f"{title(measure)}{unit}"


def title(measure: Measure) -> str:
    """Return the measure's words with a capital."""
    return measure.words[:1].upper() + measure.words[1:]


def draw_section(material: Material, section: str) -> Figure:
    """Draw loss and measure of a section's methods and the reference; below, the last third."""
    listed = [m for m in material.methods(section) if m != material.reference]
    own = {material.reference, *_own_references(material, listed)} - set(listed)
    own = sorted(own, key=lambda method: (method != material.reference, method))
    shown = material.finished([*own, *listed])
    looks = styles(material, shown)
    drawn = series(material)
    limits = {measure: _limits(material, shown, measure) for measure in drawn}
    outside = [m for m in shown if any(m in off for _, _, off in limits.values())]
    notes = [material.note([*own, *listed])]
    if outside:
        notes.append(f"Outside a lower panel: {', '.join(outside)}")
    sheet = make_sheet(
        2,
        len(drawn),
        panel_height=2.15,
        legend=[(method, looks[method]) for method in shown],
        note=". ".join(filter(None, notes)),
        mark=material.mark,
    )
    strength = 0.1 if len(shown) <= 6 else 0.05
    for column, measure in enumerate(drawn):
        whole, detail = sheet.axes[:, column]
        for method in shown:
            curve = material.mean(method, measure.name)
            draw_band(whole, _completed(curve), curve, looks[method], measure.factor, strength)
            share = 100 * _completed(curve) / max(len(curve), 1)
            draw_band(detail, share, curve, looks[method], measure.factor, strength)
        label = axis_label(measure)
        whole.set(ylabel=label, xlabel="Epochs completed", title=title(measure))
        detail.set(ylabel=label, xlabel="Share of its epochs completed (%)")
        detail.set_title(f"{title(measure)}, last third")
        low, high, _ = limits[measure]
        if not shown or high == low:
            what = f"{measure.words} by epoch" if shown else "finished run"
            say_nothing_to_show(whole, f"no {what} in section {section}")
            say_nothing_to_show(detail, "")
            continue
        detail.set(xlim=(100 * 2 / 3, 100), ylim=(measure.factor * low, measure.factor * high))
        whole.set_xlim(left=0)
        if measure.name == LOSS.name:
            make_logarithmic(whole)
    _mark_switches(
        sheet.axes[0, 0], material, [method for method in shown if method in listed], looks
    )
    return sheet.figure


def _completed(curve: pd.DataFrame) -> np.ndarray:
    return curve.index.to_numpy() + 1


def _own_references(material: Material, methods: Sequence[str]) -> set[str]:
    frame = material.table.frame
    return set(frame.loc[frame["method"].isin(methods), "reference"])


def _limits(
    material: Material, shown: Sequence[str], measure: Measure
) -> tuple[float, float, list[str]]:
    """Return (low, high, methods outside) of the last third: robust to a method that collapsed.

    The reference is always inside. No height where no method has the series.
    """
    ends = {}
    for method in shown:
        mean = material.mean(method, measure.name)["mean"].to_numpy()
        if len(mean):
            ends[method] = mean[2 * len(mean) // 3 :]
    if not ends:
        return 0.0, 0.0, []
    finals = np.array([last[-1] for last in ends.values()])
    lower, middle, upper = np.quantile(finals, (0.25, 0.5, 0.75))
    floor = 5 / measure.factor if measure.unit == "%" else 0.5 * abs(middle)
    reach = max(_ROBUST * (upper - lower), floor)
    inside = [
        method
        for method, last in ends.items()
        if abs(last[-1] - middle) <= reach or method == material.reference
    ]
    low, high = np.quantile(np.concatenate([ends[m] for m in inside]), (0.02, 0.98))
    needed = np.array([ends[m][-1] for m in inside])
    if material.reference in ends:
        needed = np.concatenate([needed, ends[material.reference]])
    low, high = min(low, needed.min()), max(high, needed.max())
    margin = 0.1 * max(high - low, 1e-6)
    return low - margin, high + margin, [m for m in ends if m not in inside]


def _mark_switches(
    axes: Axes, material: Material, methods: Sequence[str], looks: Mapping[str, LineStyle]
) -> None:
    """Mark on the upper edge where the seeds of each method began to perturb, where they did."""
    timed = {row.method for row in material.plan.rows if row.timed}
    done = material.runs[material.runs["status"] == "ok"]
    for position, method in enumerate(method for method in methods if method in timed):
        top = 1 - 0.05 * position
        for epoch in done.loc[done["method"] == method, "perturbing_from"].dropna():
            axes.axvline(epoch, top - 0.045, top, color=looks[method].colour, linewidth=1.6)


def draw_cost(material: Material) -> Figure:
    """Draw SGD, SGD at twice the epochs and the reference over epochs and over gradients."""
    plan, drawn = material.plan, series(material)
    wanted = methods_of_cost(plan)
    shown = material.finished(wanted)
    looks = {plan.sgd: line_style(0), plan.sgd_double: line_style(1)}
    looks = looks | {material.reference: REFERENCE}
    labels = {plan.sgd_double: f"{plan.sgd_double} (twice the epochs)"}
    sheet = make_sheet(
        len(drawn),
        2,
        panel_height=2.1,
        legend=[(labels.get(method, method), looks[method]) for method in shown],
        note=material.note(wanted),
        mark=material.mark,
        sharey="row",
    )
    many = material.curves["gradient_evaluations"].max() >= 10_000
    unit, unit_text = (1000, " (thousands)") if many else (1, "")
    for row, measure in enumerate(drawn):
        for method in shown:
            curve = material.mean(method, measure.name)
            draw_band(sheet.axes[row, 0], _completed(curve), curve, looks[method], measure.factor)
            cost = curve["gradient_evaluations"].to_numpy() / unit
            draw_band(sheet.axes[row, 1], cost, curve, looks[method], measure.factor)
        sheet.axes[row, 0].set(ylabel=axis_label(measure), xlabel="Epochs completed")
        sheet.axes[row, 1].set(xlabel=f"Batch gradients computed{unit_text}")
        if measure.name == LOSS.name:
            make_logarithmic(sheet.axes[row, 0])
        else:
            _zoom(sheet.axes[row, 0], material, shown)
    sheet.axes[0, 0].set_title("Over epochs")
    sheet.axes[0, 1].set_title("Over batch gradients")
    return sheet.figure


def _zoom(axes: Axes, material: Material, shown: Sequence[str]) -> None:
    """Leave the climb of the first tenth of each method's epochs below the axis, all else in it."""
    measure = material.plan.measure
    curves = [measure.factor * material.mean(m, measure.name)["mean"] for m in shown]
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return
    later = pd.concat([curve.iloc[len(curve) // 10 :] for curve in curves])
    if measure.larger_is_better:
        bottom, top = later.min(), max(curve.max() for curve in curves)
    else:
        bottom, top = min(curve.min() for curve in curves), later.max()
    margin = 0.08 * max(top - bottom, 0.01 * measure.factor)
    axes.set_ylim(bottom - margin, top + margin)
