"""A landscape's attributes in words: for titles, columns and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perturb.landscape.files import Plane

SMOKE = "Smoke run: shortened training, not a result of the study"


def words(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of a plane as text; those that are empty are left out."""
    return {
        name: f"{value:,}" if name == "images" else str(value)
        for name, value in attributes.items()
        if value not in (None, "")
    }


def name_of(attributes: Mapping[str, Any]) -> str:
    """Return whose landscape it is: the method's, of several networks which (`core_8, net1`)."""
    return ", ".join(filter(None, (attributes["method"], attributes.get("network", ""))))


def mark_of(planes: Iterable[Plane], scale: str = "") -> str:
    """Return what must stand on everything made from `planes`: smoke run, partial data; or ''.

    `scale` is that of their chapter: `smoke` also where its runs are none by themselves.
    """
    found = [words(plane.attributes) for plane in planes]
    smoke = scale == "smoke" or any("smoke" in known.get("scale", "") for known in found)
    marks = [SMOKE] if smoke else []
    partial = sorted({known.get("data", "whole") for known in found} - {"whole"})
    return ". ".join(marks + ([f"data {', '.join(partial)}"] if partial else []))


def masked_note(planes: Mapping[str, Plane]) -> str:
    """Say for each name how many points of its plane are not finite; '' where all are."""
    parts = [
        f"{name} {plane.masked:,} of {plane.loss.size:,}"
        for name, plane in planes.items()
        if plane.masked
    ]
    return f"Points without a finite loss, hatched: {', '.join(parts)}" if parts else ""
