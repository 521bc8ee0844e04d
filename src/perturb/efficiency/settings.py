"""What an efficiency table measures. Pure, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

PREFIX = "efficiency_"


class Efficiency(msgspec.Struct, frozen=True, kw_only=True):
    """Which passes of a model are measured.

    Args:
        model: a name of `perturb.models`.
        device: `auto`, `cpu` or `cuda`.
        image_size, channels, classes: of its input and output; 0 for the model's own size:
            224 where it takes that, and what it is made for where it is small.
        batch_sizes, precisions, threads: each combination is a row.
        seconds: of timed steps a row.
        memory_mb: of the process, on a CPU; 0 for what the machine has.
    """

    model: str
    device: str = "auto"
    image_size: int = 224
    channels: int = 3
    classes: int = 7
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    precisions: tuple[str, ...] = ("float32",)
    threads: tuple[int, ...] = (1,)
    seconds: float = 2.0
    memory_mb: int = 0

    @classmethod
    def of(cls, model: str, values: Mapping[str, Any]) -> Self:
        """Return the settings of a model: those of the configuration, its own over them."""
        own = values.get("models", {}).get(model, {})
        shared = {key: value for key, value in values.items() if key != "models"}
        return msgspec.convert({**shared, **own, "model": model}, cls)
