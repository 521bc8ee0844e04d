"""What a plan may be told: the config's `plan`, `target`, `budget` and `gpus`, with durations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perturb.errors import PerturbError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Settings:
    """The config's part on planning; `config/schema.yaml` says what each means.

    `budget` and `wall_time` are seconds; `noise_floor` and `resolve` are in the unit in which a
    chapter's measure shows differences: percentage points for accuracies.
    """

    target: str = ""
    budget: float | None = None
    gpus: int = 1
    device: str = ""
    keep: str = "every"
    resolve: float = 0.4
    intervals: str = "paired"
    noise_floor: float = 0.23
    minimum_seeds: int = 3
    maximum_seeds: int = 10
    priorities: Mapping[str, float] = field(default_factory=dict)
    wall_time: float = 86400.0
    solver_seconds: float = 60.0
    calibration_steps: int = 3
    device_power_watts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Read a checked configuration's values; PerturbError where a duration is none."""
        given = dict(values.get("plan", {}))
        for key in ("target", "budget", "gpus"):
            if key in values:
                given[key] = values[key]
        for key, where in (("budget", "budget"), ("wall_time", "plan.wall_time")):
            if key in given:
                given[key] = seconds(given[key], where)
        settings = cls(**given)
        if settings.maximum_seeds < settings.minimum_seeds:
            raise PerturbError(
                f"config, plan: maximum_seeds {settings.maximum_seeds} is below minimum_seeds "
                f"{settings.minimum_seeds}. Raise the one or lower the other."
            )
        return settings


def seconds(value: str | float, where: str = "duration") -> float:
    """Return a duration in seconds: a number of them, or `90m`, `24h`, `1d12h`, `45s`."""
    text = str(value).strip().lower().replace(" ", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or "".join(map("".join, parts)) != text:
        try:
            total = float(text)
        except ValueError:
            total = -1.0
    if not (0 < total < math.inf):
        raise PerturbError(
            f"config, {where}: '{value}' is no length of time above 0. "
            "Write seconds, or a number with its unit: 90m, 24h, 2d, 1d12h."
        )
    return total


def duration(value: float) -> str:
    """Write seconds for a reader: `45 s`, `12.5 min`, `3.2 h`, `4.1 d`."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if value < most * size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 86400:,.1f} d"


def byte_size(value: float) -> str:
    """Write bytes for a reader, in powers of 1000."""
    for unit, size in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if value < 1000 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e12:.3g} TB"
