"""What a method is, once its name is read (`perturb.names`). Pure, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Schedule:
    """How a radius or a scale moves over the epochs: a shape between beta_max and beta_min."""

    shape: str
    maximum: float
    minimum: float = 0.0

    def value(self, epoch: float, epochs: int) -> float:
        """Return the value at epoch `t` of `T` (spec "Radius", "Scale").

        `cos: b + (B - b) cos(pi t / 2T)`, `sin` likewise with sine; `icos` and `isin` are their
        reciprocals; `const` is beta_max throughout.
        """
        if self.shape == "const":
            return self.maximum
        wave = math.cos if self.shape.endswith("cos") else math.sin
        alpha = self.minimum + (self.maximum - self.minimum) * wave(math.pi * epoch / (2 * epochs))
        return 1 / alpha if self.shape.startswith("i") else alpha


@dataclass(frozen=True)
class Timing:
    """When plain SGD gives way to the perturbed rule. `parameters` are the name's own."""

    kind: str
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """What a name asks for. `parameters` holds the update rule's, defaults filled in."""

    rule: str
    epochs: int
    parameters: Mapping[str, float] = field(default_factory=dict)
    radius: Schedule | None = None
    scale: Schedule | None = None
    timing: Timing | None = None
    model: str | None = None

    @property
    def axis(self) -> str:
        """Which part of the perturbation the method varies: the section of a study's table."""
        if self.timing:
            return "Timing"
        if self.radius and self.scale:
            return "Radius and scale"
        if self.radius:
            return "Radius"
        return "Scale" if self.scale else "Baselines"
