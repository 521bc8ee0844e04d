"""Which base optimisers there are, their options, and checks of these. Pure, without torch."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any

from perturb.errors import PerturbError, did_you_mean

FOLDER = Path(__file__).parent / "optim" / "bases"


@lru_cache
def options() -> dict[str, dict[str, Any]]:
    """Return each base's name with its options and their defaults.

    They are the files of `optim/bases/` and the literal `OPTIONS` in each, read as text.
    """
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OPTIONS":
                found[path.stem] = ast.literal_eval(node.value)
    return found


def options_of(base: str) -> dict[str, Any]:
    """Return the options of one base and their defaults; PerturbError where there is none."""
    if base not in options():
        raise PerturbError(f"optimiser: there is no base '{base}'.{did_you_mean(base, options())}")
    return options()[base]


def complete(base: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of `base`: the given value, or else its default.

    `given` may hold another base's options at their defaults or off, so that a caller may always
    pass all of them. PerturbError where it holds another value, or a name that no base knows.
    """
    own = options_of(base)
    known = {name for of_one in options().values() for name in of_one}
    for name in given:
        if name not in known:
            raise PerturbError(
                f"optimiser: there is no option '{name}'.{did_you_mean(name, sorted(known))}"
            )
    check_belongs(base, given)
    return {name: given.get(name, default) for name, default in own.items()}


def check_belongs(base: str, given: Mapping[str, Any]) -> None:
    """Raise PerturbError where `given` sets an option that only other bases have."""
    for name, value in given.items():
        owners = [other for other, of_one in options().items() if name in of_one]
        if not owners or base in owners or not value:
            continue
        value = tuple(value) if isinstance(value, list) else value
        if value != options()[owners[0]][name]:
            raise PerturbError(
                f"optimiser: {name} is {value}, but the base '{base}' has no {name}. "
                f"Leave it out, or take the base {' or '.join(owners)}."
            )


def check(base: str, settings: Mapping[str, Any]) -> None:
    """Raise PerturbError where a value is out of range: lr, weight_decay or an option of `base`."""
    for name, like in {"lr": 0.0, "weight_decay": 0.0, **options_of(base)}.items():
        value = settings[name]
        if isinstance(like, bool):
            fits, must = isinstance(value, bool), "be true or false"
        elif isinstance(like, tuple):
            fits = isinstance(value, tuple | list) and len(value) == len(like)
            fits = fits and all(isinstance(v, Real) and 0 <= v < 1 for v in value)
            must = f"be {len(like)} numbers of at least 0 and less than 1"
        else:
            fits = isinstance(value, Real) and 0 <= value < math.inf
            must = "be finite and not negative"
        if not fits:
            raise PerturbError(f"optimiser: {name} is {value}; it must {must}.")
    if settings.get("nesterov") and not settings["momentum"]:
        raise PerturbError(
            "optimiser: nesterov is true and momentum is 0; Nesterov's step looks ahead along the "
            "momentum. Set a momentum above 0, or nesterov to false."
        )
