"""What an optimiser is given, refused where it cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from perturb.errors import PerturbError
from perturb.methods import Method


def choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise PerturbError for a value that is none of the choices."""
    if value not in choices:
        raise PerturbError(f"optimiser: {name} is '{value}'; choose from {', '.join(choices)}.")


def group(method: Method, group: Mapping[str, Any]) -> None:
    """Raise PerturbError where a group sets a parameter of the rule that is one for all."""
    own = method.parameters
    for name in group.keys() & {*own, "rho", "radius", "scale"}:
        if name != "rho" or "rho" not in own:
            raise PerturbError(
                f"optimiser: a group sets {name}, which '{method.rule}' has once for all "
                "groups: it is in the method's name. Leave it out of the group; of the rules "
                "sam, asam, looksam and aesam a group may set its own rho."
            )
        value = group[name]
        if not isinstance(value, Real) or not 0 <= value < math.inf:
            raise PerturbError(
                f"optimiser: a group's rho is {value}; it must be finite and not negative."
            )


def no_second_schedule(groups: Sequence[Mapping[str, Any]], annealed: Sequence[float]) -> None:
    """Raise PerturbError where a learning rate is not `annealed`, what `set_epoch` made it."""
    for number, (group, ours) in enumerate(zip(groups, annealed, strict=False)):
        if group["lr"] != ours:
            raise PerturbError(
                f"optimiser: the learning rate of group {number} is {group['lr']:g}, but "
                f"set_epoch had made it {ours:g}: a scheduler, or a line of yours, sets it "
                "too, and one would undo the other. Build the optimiser with "
                "learning_rate_schedule='constant' to leave the rate to that, or do without "
                "it; the cosine starts from each group's 'peak_lr'."
            )


def without_epochs(method: Method) -> str:
    """Return what goes wrong where nobody calls `set_epoch`, in words; "" where nothing does."""
    if method.timing:
        return "this timed method stays its base optimiser alone"
    schedules = {"radius": method.radius, "scale": method.scale}
    moving = [name for name, one in schedules.items() if one and one.shape != "const"]
    verb = "leaves" if len(moving) == 1 else "leave"
    return f"its {' and '.join(moving)} never {verb} epoch 0" if moving else ""
