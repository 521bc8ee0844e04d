"""Every trial of a search as parallel coordinates: one HTML file, without network."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.io import to_html

from perturb.files import write_text
from perturb.search.parts import SMOKE, Material
from perturb.search.settings import Stage, Value
from perturb.search.steps import Step

_CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;"
    "color:#1a1a1a}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}.mark{color:#B03A00;"
    "font-weight:bold}.note{color:#555}"
)
# Nothing is loaded; plotly.js compiles its shaders' calls.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)
_TICKS = 7


def write(material: Material, path: str | Path) -> None:
    """Write the page of a search."""
    write_text(path, render(material))


def render(material: Material) -> str:
    """Return the page: the same text for the same trials."""
    search = material.search
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{html.escape(search.title)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(search.title)}: every trial</h1>",
        f"<p class=mark>{SMOKE}</p>" if search.scale == "smoke" else "",
        "<p class=note>A line is a trial. Drag along an axis to choose a range, drag the name of "
        "an axis to move it, double-click to choose all again. Colour is validation accuracy; "
        "infeasible trials end below the scale, at the cross.</p>",
    ]
    javascript = True
    for stage, step in material.stages():
        if not stage.parameters or len(step.measured) < 2:
            continue
        plot = to_html(
            figure(stage, step),
            config=_CONFIG,
            include_plotlyjs=javascript,
            full_html=False,
            div_id=f"stage_{stage.name}",
        )
        javascript = False
        after = f", after {stage.after}" if stage.after else ""
        parts.append(f"<h2>Stage {html.escape(stage.name + after)}</h2>{plot}")
    return "\n".join(filter(None, [*parts, "</html>"])) + "\n"


def figure(stage: Stage, step: Step) -> go.Figure:
    """Return the axes of a stage: one for each parameter, seeds, validation, test."""
    measured = step.measured
    values = [one.value for one in measured if one.value is not None]
    low, high = (100 * min(values), 100 * max(values)) if values else (0.0, 1.0)
    gap = max(high - low, 1.0)
    below = low - 0.15 * gap
    colours = [below if one.value is None else 100 * one.value for one in measured]
    axes = [_axis(p.name, [one.trial.values[p.name] for one in measured]) for p in stage.parameters]
    axes.append(_accuracy("validation accuracy (%)", colours, below, low, high))
    reported = [one.reported for one in measured if one.reported is not None]
    if reported:
        least, most = 100 * min(reported), 100 * max(reported)
        under = least - 0.15 * max(most - least, 1.0)
        shown = [under if one.reported is None else 100 * one.reported for one in measured]
        axes.append(_accuracy("test accuracy (%)", shown, under, least, most))
    trace = go.Parcoords(
        dimensions=axes,
        line={
            "color": colours,
            "colorscale": "Viridis",
            "cmin": low,
            "cmax": max(high, low + 1e-9),
            "showscale": True,
        },
        labelfont={"size": 13},
        tickfont={"size": 11},
    )
    layout = {
        "template": "none",
        "height": 420,
        "margin": {"l": 70, "r": 60, "t": 60, "b": 30},
        "font": {"family": "system-ui, sans-serif", "size": 12},
    }
    return go.Figure([trace], layout)


def _axis(name: str, values: Sequence[Value]) -> dict[str, Any]:
    """Return an axis: words evenly, numbers over a decade and more by their logarithm."""
    distinct = list(dict.fromkeys(values))
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in distinct)
    if not numeric:
        return {
            "label": name,
            "values": [distinct.index(value) for value in values],
            "tickvals": list(range(len(distinct))),
            "ticktext": [str(value) for value in distinct],
        }
    numbers = sorted(float(value) for value in distinct)
    logarithmic = numbers[0] > 0 and numbers[-1] / numbers[0] >= 10
    place = math.log10 if logarithmic else float
    every = max(1, math.ceil(len(numbers) / _TICKS))
    ticks = numbers[::every]
    return {
        "label": name,
        "values": [place(float(value)) for value in values],
        "tickvals": [place(number) for number in ticks],
        "ticktext": [f"{number:g}" for number in ticks],
    }


def _accuracy(
    label: str, values: Sequence[float], below: float, low: float, high: float
) -> dict[str, Any]:
    """Return an axis of accuracies, with a place for infeasible trials below the others."""
    infeasible = any(value == below for value in values)
    ticks = [low + (high - low) * at / 4 for at in range(5)] if high > low else [low]
    return {
        "label": label,
        "values": list(values),
        "range": [below if infeasible else low, high if high > low else low + 1],
        "tickvals": ([below] if infeasible else []) + ticks,
        "ticktext": (["✕"] if infeasible else []) + [f"{tick:.1f}" for tick in ticks],
    }
