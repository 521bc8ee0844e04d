"""What decides a landscape, from the configuration. Pure, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

# Which settings each kind of job depends on; Snakemake compares these, and the store.
USED_BY: Mapping[str, tuple[str, ...]] = {
    "plane": ("normalisation", "ignore", "span", "points", "images", "batch_norm", "precision"),
    "trajectory": ("ignore", "points", "images", "precision"),
    "curvature": ("curvature_images", "sharpness_radii", "adaptive_radii", "direction_seeds"),
}


class LandscapeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a landscape, beside the run that it is of.

    `images` of the train split, or "full"; `span` is the largest alpha and beta; `points` a side.
    """

    direction_seeds: tuple[int, ...] = (0, 1, 2)
    normalisation: str = "filter"
    ignore: str = "biasbn"
    span: float = 1.0
    points: int = 51
    images: int | str = 2000
    batch_norm: str = "stored"
    precision: str = "float32"
    flat_margin: float = 0.1
    curvature_images: int | str = 2000
    sharpness_radii: tuple[float, ...] = (0.05, 0.1, 0.2)
    adaptive_radii: tuple[float, ...] = (0.5, 1.0, 2.0)

    def to_json(self, *names: str) -> str:
        """Return the settings called `names` as JSON: those that one job depends on."""
        return json.dumps({name: getattr(self, name) for name in names}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> LandscapeSettings:
        """Read what `to_json` wrote; the settings that it left out are at their defaults."""
        return msgspec.convert(json.loads(text), cls)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> LandscapeSettings:
        """Return the settings that a configuration's `landscape` section holds."""
        own = {key: value for key, value in values.items() if key in cls.__struct_fields__}
        return msgspec.convert(own, cls)
