"""One plane as a page that turns in a browser: one HTML file, without network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.io import to_html

from perturb.figures.contours import Scale, make_scale
from perturb.files import write_text
from perturb.landscape.files import Plane
from perturb.landscape.words import mark_of, words

# Plotly's page would otherwise offer to send the plane to its makers' server.
_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["resetCameraLastSave3d"],
}
_EYE = {"x": 1.253, "y": -1.494, "z": 1.05}  # 1.95 from the axis at -50 degrees


def write(plane: Plane, path: str | Path) -> None:
    """Write the page of `plane`."""
    write_text(path, render(plane))


def render(plane: Plane) -> str:
    """Return the page of `plane`: the same text for the same plane."""
    environment = Environment(
        loader=PackageLoader("perturb.figures", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    known = words(plane.attributes)
    head = [known.get(name, "") for name in ("dataset", "model", "method")]
    title = f"Loss landscape: {', '.join(filter(None, head))}"
    plot = to_html(
        figure(plane),
        config=_CONFIG,
        include_plotlyjs=True,
        full_html=False,
        div_id="landscape",
    )
    template = environment.get_template("landscape_page.html.j2")
    return template.render(
        title=title,
        mark=mark_of([plane]),
        details=_details(known),
        notes=_notes(plane),
        plot=Markup(plot),  # plotly escapes what is in it
    )


def figure(plane: Plane) -> go.Figure:
    """Return the surface of a plane with heights logarithmic or, by a button, linear."""
    scales = {"Logarithmic": make_scale([plane], True), "Linear": make_scale([plane], False)}
    if not scales["Logarithmic"].logarithmic:  # no loss above 0
        del scales["Logarithmic"]
    traces, axes = [], {}
    for name, scale in scales.items():
        traces += _traces(plane, scale, visible=not traces)
        axes[name] = _height_axis(scale)
    buttons = [
        {
            "label": f"{name} loss",
            "method": "update",
            "args": [
                {"visible": [index // 2 == number for index in range(len(traces))]},
                {f"scene.zaxis.{key}": value for key, value in axes[name].items()},
            ],
        }
        for number, name in enumerate(scales)
    ]
    layout = {
        "template": "none",
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "updatemenus": [
            {"type": "buttons", "direction": "right", "x": 0.01, "y": 0.99, "xanchor": "left",
             "yanchor": "top", "buttons": buttons, "showactive": True}
        ],
        "scene": {
            "xaxis": {"title": {"text": "Direction 1, α"}} | _ground_axis(plane.alpha),
            "yaxis": {"title": {"text": "Direction 2, β"}} | _ground_axis(plane.beta),
            "zaxis": {"title": {"text": "Loss (nats)"}} | next(iter(axes.values())),
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 0.75},
            "camera": {"eye": _EYE},
        },
    }  # fmt: skip
    return go.Figure(traces, layout)


def _heights(loss: np.ndarray, scale: Scale) -> np.ndarray:
    """Return loss cut to the scale, as a power of ten where it is logarithmic; else NaN."""
    cut = np.clip(loss, scale.levels[0], scale.levels[-1])
    with np.errstate(invalid="ignore"):
        heights = np.log10(cut) if scale.logarithmic else cut
    return np.where(np.isfinite(loss), heights, np.nan)


def _height_axis(scale: Scale) -> dict[str, Any]:
    ends = _heights(scale.levels[[0, -1]], scale)
    return {
        "tickvals": [float(height) for height in _heights(scale.levels, scale)],
        "ticktext": [f"{level:g}" for level in scale.levels],
        "range": [float(ends[0] - 0.04 * np.ptp(ends)), float(ends[1])],
    }


def _ground_axis(values: np.ndarray) -> dict[str, Any]:
    margin = 0.03 * float(np.ptp(values))
    return {"range": [float(values[0] - margin), float(values[-1] + margin)], "nticks": 6}


def _traces(plane: Plane, scale: Scale, visible: bool) -> list[go.Surface | go.Scatter3d]:
    """Return the surface and the pin at the checkpoint."""
    heights, axis = _heights(plane.loss, scale), _height_axis(scale)
    said = [
        [f"loss {loss:.4g} nats<br>accuracy {100 * accuracy:.1f} %" for loss, accuracy in rows]
        for rows in (zip(*row, strict=True) for row in zip(plane.loss, plane.accuracy, strict=True))
    ]
    ticks = {key: axis[key] for key in ("tickvals", "ticktext")}
    surface = go.Surface(
        x=plane.alpha,
        y=plane.beta,
        z=heights,
        customdata=np.array(said, dtype=object).T,  # plotly.js looks it up by [column][row]
        hovertemplate="α %{x:.3f}, β %{y:.3f}<br>%{customdata}<extra></extra>",
        colorscale="Viridis",
        cmin=axis["tickvals"][0],
        cmax=axis["tickvals"][-1],
        colorbar={"title": {"text": "Loss (nats)"}, "len": 0.75, "thickness": 16} | ticks,
        contours={"z": {"show": False, "highlight": True}},
        lighting={"ambient": 0.85, "diffuse": 0.3, "specular": 0.03, "roughness": 0.9},
        connectgaps=False,
        visible=visible,
    )
    return [surface, _pin(plane, heights, axis["tickvals"][-1], visible)]


def _pin(plane: Plane, heights: np.ndarray, top: float, visible: bool) -> go.Scatter3d:
    """Return a line from the checkpoint to the top, seen from anywhere above the surface."""
    foot = heights[plane.centre] if plane.centre else np.nan
    ends = [float(foot), top] if np.isfinite(foot) else []
    return go.Scatter3d(
        x=[0.0 for _ in ends],
        y=[0.0 for _ in ends],
        z=ends,
        mode="lines+markers+text",
        text=["", "checkpoint"],
        textposition="top center",
        textfont={"color": "#B03A00"},
        line={"color": "#B03A00", "width": 5},
        marker={"size": [6, 0], "color": "#B03A00", "symbol": "diamond"},
        hoverinfo="skip",
        showlegend=False,
        visible=visible,
    )


def _details(known: dict[str, str]) -> str:
    """Return the line of what was computed."""
    labels = (
        ("seed", "seed {}"),
        ("checkpoint", "checkpoint {}"),
        ("directions", "directions: {}"),
        ("direction_seed", "direction seed {}"),
        ("normalisation", "{}-normalised"),
        ("images", "{} images"),
        ("device", "device {}"),
        ("precision", "{}"),
    )
    return ", ".join(text.format(known[name]) for name, text in labels if name in known)


def _notes(plane: Plane) -> list[str]:
    notes = ["Drag to turn, scroll to zoom; the pin stands at the checkpoint (α = β = 0)."]
    if plane.masked:
        notes.append(
            f"{plane.masked:,} of {plane.loss.size:,} points have no finite loss: the surface is "
            "left open there."
        )
    for logarithmic, name in ((True, "logarithmic"), (False, "linear")):
        note = make_scale([plane], logarithmic).note
        if note:
            notes.append(f"{note} ({name}).")
    return notes
