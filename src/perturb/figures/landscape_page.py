"""Planes as a page that turns in a browser, two side by side: one HTML file, without network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from perturb.figures.contours import Scale, make_scale
from perturb.files import write_text
from perturb.landscape.files import Plane
from perturb.landscape.words import mark_of, words

_NETWORK = ("network", "{}")
_DIRECTION_SEED = ("direction_seed", "direction seed {}")


def write(planes: Plane | Sequence[Plane], path: str | Path, scale: str = "") -> None:
    """Write the page of one plane, or of several to choose from; `render` says how."""
    write_text(path, render(planes, scale))


def render(planes: Plane | Sequence[Plane], scale: str = "") -> str:
    """Return the page: the same text for the same planes.

    All planes share one scale of heights and colours, so that two of them can be compared. The
    page of a chapter says where that is of `scale` smoke.
    """
    planes = [planes] if isinstance(planes, Plane) else list(planes)
    environment = Environment(
        loader=PackageLoader("perturb.figures", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    template = environment.get_template("landscape_page.html.j2")
    return template.render(
        title=_title(planes),
        mark=mark_of(planes, scale),
        labels=_labels(planes),
        details=[_details(words(plane.attributes)) for plane in planes],
        notes=_notes(planes),
        data=Markup(_as_json(planes)),
        plotly=Markup(get_plotlyjs()),
    )


def _title(planes: Sequence[Plane]) -> str:
    """Name the data set, the model and the method, as far as all planes share them."""
    known = [words(plane.attributes) for plane in planes]
    shared = [{one.get(name, "") for one in known} for name in ("dataset", "model", "method")]
    named = [next(iter(values)) for values in shared if len(values) == 1]
    return f"Loss landscape{'s' * (len(planes) > 1)}: {', '.join(filter(None, named))}"


def _labels(planes: Sequence[Plane]) -> list[str]:
    """Return what a reader chooses a plane by: method, network, seeds; its place without any."""
    found = []
    for position, plane in enumerate(planes, 1):
        known = words(plane.attributes)
        parts = [
            known.get("method", ""),
            *_told(known, _NETWORK, ("seed", "seed {}"), _DIRECTION_SEED),
        ]
        found.append(", ".join(filter(None, parts)) or f"plane {position}")
    return found


def _as_json(planes: Sequence[Plane]) -> str:
    """Return planes and scales for the page's script."""
    scales = {"Logarithmic": make_scale(planes, True), "Linear": make_scale(planes, False)}
    if not scales["Logarithmic"].logarithmic:  # no loss above 0
        del scales["Logarithmic"]
    values = {
        "scales": [
            {
                "name": name,
                "logarithmic": scale.logarithmic,
                "ends": [float(scale.levels[0]), float(scale.levels[-1])],
                **_height_axis(scale),
            }
            for name, scale in scales.items()
        ],
        "planes": [
            {
                "alpha": plane.alpha.tolist(),
                "beta": plane.beta.tolist(),
                "loss": _rounded(plane.loss),
                "accuracy": _rounded(plane.accuracy),
                "centre": plane.centre,
                "details": _details(words(plane.attributes)),
            }
            for plane in planes
        ],
    }
    return json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _rounded(values: np.ndarray) -> list[list[float | None]]:
    """Return rows of numbers to six digits, None where there is none."""
    return [[float(f"{v:.6g}") if np.isfinite(v) else None for v in row] for row in values]


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


def _details(known: dict[str, str]) -> str:
    """Return the line of what was computed."""
    return ", ".join(
        _told(
            known,
            _NETWORK,
            ("seed", "seed {}"),
            ("checkpoint", "checkpoint {}"),
            ("directions", "directions: {}"),
            _DIRECTION_SEED,
            ("normalisation", "{}-normalised"),
            ("images", "{} images"),
            ("device", "device {}"),
            ("precision", "{}"),
        )
    )


def _told(known: dict[str, str], *labels: tuple[str, str]) -> list[str]:
    return [text.format(known[name]) for name, text in labels if name in known]


def _notes(planes: Sequence[Plane]) -> list[str]:
    notes = ["Drag to turn, scroll to zoom; the pin stands at the checkpoint (α = β = 0)."]
    if len(planes) > 1:
        notes.append("All surfaces have the same heights and colours, and turn together.")
    for label, plane in zip(_labels(planes), planes, strict=True):
        if plane.masked:
            of = f" of {label}" if len(planes) > 1 else ""
            notes.append(
                f"{plane.masked:,} of {plane.loss.size:,} points{of} have no finite loss: the "
                "surface is left open there."
            )
    for logarithmic, name in ((True, "logarithmic"), (False, "linear")):
        note = make_scale(planes, logarithmic).note
        if note:
            notes.append(f"{note} ({name}).")
    return notes
