"""What a run of this study is: any method's name below training settings of its own. Pure.

`tuned_lr-0.02_sam_0.05_30`: the method `sam_0.05_30` at learning rate 0.02. What a name leaves out
is the data set's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perturb import names, slugs
from perturb.errors import PerturbError, did_you_mean
from perturb.methods import Method
from perturb.train.settings import TrainSettings

NAME = "tune"
HEAD = "tuned"
# Keys of a name, in its order, and the setting that each is.
KEYS: Mapping[str, str] = {
    "lr": "learning_rate",
    "decay": "weight_decay",
    "momentum": "momentum",
    "eps": "eps",
    "batch": "batch_size",
    "base": "base",
}


class TuneSpecification(TrainSettings, frozen=True, kw_only=True):
    """A classifier's settings, and two of the update rules' own (`perturb.optim`)."""

    study: str = NAME
    schedule_clock: str = "epoch"
    bn_second_pass: bool = False


@dataclass(frozen=True)
class Tuned:
    """A method and the settings that its run's name gives, by key."""

    method: Method
    settings: Mapping[str, float | str]


def parse(text: str) -> Tuned:
    """Return what a run's name says; PerturbError where it does not parse."""
    parts = text.split("_")
    if parts.pop(0) != HEAD:
        raise PerturbError(f"'{text}' does not parse: its first word is not '{HEAD}'.")
    found: dict[str, float | str] = {}
    while parts and "-" in parts[0] and parts[0][0].isalpha():
        key, _, value = parts.pop(0).partition("-")
        if key not in KEYS:
            raise PerturbError(
                f"'{text}' does not parse: {key} is none of {', '.join(KEYS)}."
                f"{did_you_mean(key, KEYS)}"
            )
        if key in found:
            raise PerturbError(f"'{text}' does not parse: {key} stands twice.")
        found[key] = value if key == "base" else _number(text, key, value)
    if not parts:
        raise PerturbError(f"'{text}' does not parse: it ends with a method, such as sgd_30.")
    method = names.parse("_".join(parts))
    return Tuned(method, {key: found[key] for key in KEYS if key in found})


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
        slugs.number(number)
    except (ValueError, PerturbError):
        raise PerturbError(
            f"'{text}' does not parse: {key} is a finite number, not '{value}'."
        ) from None
    if key == "batch":
        if number < 1 or number % 1:
            raise PerturbError(f"'{text}' does not fit: batch is a whole number from 1.")
        return int(number)
    return number


def format(tuned: Tuned) -> str:
    """Return the one spelling of a run's name; `parse` reads it back."""
    settings = [f"{key}-{slugs.value_text(value)}" for key, value in tuned.settings.items()]
    return "_".join([HEAD, *settings, names.format(tuned.method)])


def set_by_name(tuned: Tuned) -> dict[str, Any]:
    """Return the fields of the specification that a name sets."""
    return {KEYS[key]: value for key, value in tuned.settings.items()}
