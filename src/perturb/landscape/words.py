"""A landscape's attributes in words: for titles, columns and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perturb.landscape.files import Plane

SMOKE = "Smoke run: shortened training, not a result of the study"
# A value may stand at the top or in a group: {"directions": {"seed": 0}} is "directions_seed".
_KEYS = {
    "data set": ("dataset",),
    "model": ("model",),
    "method": ("method",),
    "seed": ("seed",),
    "checkpoint": ("checkpoint_name", "checkpoint", "checkpoint_sha256"),
    "directions": ("directions", "directions_kind"),
    "direction seed": ("direction_seed", "directions_seed"),
    "normalisation": ("normalisation", "directions_normalisation"),
    "images": ("images", "subset_images", "images_number", "images_count"),
    "device": ("device",),
    "precision": ("precision",),
    "scale": ("scale",),
    "data": ("data",),
}


def words(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return what is known of a plane as text, by the keys of `_KEYS`; unknown ones are absent."""
    flat = _flat(attributes)
    found = {}
    for name, keys in _KEYS.items():
        values = [flat[key] for key in keys if flat.get(key) not in (None, "")]
        if values:
            value = values[0]
            count = isinstance(value, int) and name == "images"
            found[name] = f"{value:,}" if count else str(value)
    return found


def _flat(attributes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in attributes.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}_")
        else:
            found[f"{prefix}{key}"] = value
    return found


def mark_of(planes: Iterable[Plane]) -> str:
    """Return what must stand on everything made from `planes`: smoke run, partial data; or ''."""
    found = [words(plane.attributes) for plane in planes]
    marks = [SMOKE] if any("smoke" in known.get("scale", "") for known in found) else []
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
