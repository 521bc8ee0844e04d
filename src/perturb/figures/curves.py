"""Loss and accuracy over the epochs: each axis of the study against its reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturb import names
from perturb.figures.material import Material
from perturb.figures.sheet import make_logarithmic, make_sheet, say_nothing_to_show
from perturb.figures.style import REFERENCE, LineStyle, line_style

MEASURES = (("test_loss", "Test loss (nats)", 1.0), ("test_accuracy", "Test accuracy (%)", 100.0))
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


def draw_section(material: Material, section: str) -> Figure:
    """Draw loss and accuracy of a section's methods and the reference; below, the last third."""
    listed = [m for m in material.methods(section) if m != material.reference]
    own = {material.reference, *_own_references(material, listed)} - set(listed)
    own = sorted(own, key=lambda method: (method != material.reference, method))
    shown = material.finished([*own, *listed])
    looks = styles(material, shown)
    limits = {name: _limits(material, shown, name) for name, *_ in MEASURES}
    outside = [m for m in shown if any(m in off for _, _, off in limits.values())]
    notes = [material.note([*own, *listed])]
    if outside:
        notes.append(f"Outside a lower panel: {', '.join(outside)}")
    sheet = make_sheet(
        2,
        2,
        panel_height=2.15,
        legend=[(method, looks[method]) for method in shown],
        note=". ".join(filter(None, notes)),
        mark=material.mark,
    )
    strength = 0.1 if len(shown) <= 6 else 0.05
    for column, (name, label, factor) in enumerate(MEASURES):
        whole, detail = sheet.axes[:, column]
        for method in shown:
            curve = material.mean(method, name)
            draw_band(whole, _completed(curve), curve, looks[method], factor, strength)
            share = 100 * _completed(curve) / len(curve)
            draw_band(detail, share, curve, looks[method], factor, strength)
        title = name.replace("_", " ").capitalize()
        whole.set(ylabel=label, xlabel="Epochs completed", title=title)
        detail.set(ylabel=label, xlabel="Share of its epochs completed (%)")
        detail.set_title(f"{title}, last third")
        if not shown:
            say_nothing_to_show(whole, f"no finished run in section {section}")
            say_nothing_to_show(detail, "")
            continue
        low, high, _ = limits[name]
        detail.set(xlim=(100 * 2 / 3, 100), ylim=(factor * low, factor * high))
        whole.set_xlim(left=0)
        if name == "test_loss":
            make_logarithmic(whole)
        if section == "Timing" and name == "test_loss":
            _mark_switches(whole, material, looks)
    return sheet.figure


def _completed(curve: pd.DataFrame) -> np.ndarray:
    return curve.index.to_numpy() + 1


def _own_references(material: Material, methods: Sequence[str]) -> set[str]:
    frame = material.table.frame
    return set(frame.loc[frame["method"].isin(methods), "reference"])


def _limits(material: Material, shown: Sequence[str], name: str) -> tuple[float, float, list[str]]:
    """Return (low, high, methods outside) of the last third: robust to a method that collapsed.

    The reference is always inside.
    """
    ends = {}
    for method in shown:
        mean = material.mean(method, name)["mean"].to_numpy()
        ends[method] = mean[2 * len(mean) // 3 :]
    if not ends:
        return 0.0, 1.0, []
    finals = np.array([last[-1] for last in ends.values()])
    lower, middle, upper = np.quantile(finals, (0.25, 0.5, 0.75))
    floor = 0.05 if name == "test_accuracy" else 0.5 * abs(middle)
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


def _mark_switches(axes: Axes, material: Material, looks: dict[str, LineStyle]) -> None:
    """Mark on the upper edge where the seeds of each method began to perturb."""
    done = material.runs[material.runs["status"] == "ok"]
    timed = [method for method in looks if names.parse(method).timing is not None]
    for position, method in enumerate(timed):
        top = 1 - 0.05 * position
        for epoch in done.loc[done["method"] == method, "perturbing_from"].dropna():
            axes.axvline(epoch, top - 0.045, top, color=looks[method].colour, linewidth=1.6)


def draw_sgd_against_pugd(material: Material) -> Figure:
    """Draw SGD, SGD at twice the epochs and the reference over epochs and over gradients."""
    plan = material.plan
    wanted = [plan["sgd"], plan.get("sgd_double"), material.reference]
    wanted = [method for method in wanted if method]
    shown = material.finished(wanted)
    looks = {plan["sgd"]: line_style(0), plan.get("sgd_double"): line_style(1)}
    looks = looks | {material.reference: REFERENCE}
    labels = {
        plan["sgd"]: f"{plan['sgd']} (equal epochs)",
        plan.get("sgd_double"): f"{plan.get('sgd_double')} (equal gradient evaluations)",
    }
    sheet = make_sheet(
        2,
        2,
        panel_height=2.1,
        legend=[(labels.get(method, method), looks[method]) for method in shown],
        note=material.note(wanted),
        mark=material.mark,
        sharey="row",
    )
    many = material.curves["gradient_evaluations"].max() >= 10_000
    unit, unit_text = (1000, " (thousands)") if many else (1, "")
    for row, (name, label, factor) in enumerate(MEASURES):
        for method in shown:
            curve = material.mean(method, name)
            draw_band(sheet.axes[row, 0], _completed(curve), curve, looks[method], factor)
            cost = curve["gradient_evaluations"].to_numpy() / unit
            draw_band(sheet.axes[row, 1], cost, curve, looks[method], factor)
        sheet.axes[row, 0].set(ylabel=label, xlabel="Epochs completed")
        sheet.axes[row, 1].set(xlabel=f"Batch gradients computed{unit_text}")
        if name == "test_loss":
            make_logarithmic(sheet.axes[row, 0])
        else:
            _zoom_accuracy(sheet.axes[row, 0], material, shown)
    sheet.axes[0, 0].set_title("At equal epochs")
    sheet.axes[0, 1].set_title("At equal gradient evaluations")
    return sheet.figure


def _zoom_accuracy(axes: Axes, material: Material, shown: Sequence[str]) -> None:
    """Start the axis at what the slowest method had reached after a tenth of its epochs."""
    curves = [100 * material.mean(method, "test_accuracy")["mean"] for method in shown]
    if curves:
        bottom = min(curve.iloc[len(curve) // 10] for curve in curves)
        top = max(curve.max() for curve in curves)
        axes.set_ylim(bottom, top + 0.08 * max(top - bottom, 1.0))
