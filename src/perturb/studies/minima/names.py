"""Names of the study's runs. Pure.

`repel_strength-10_width-1e-3_every-150_600` is a run from initial weights;
`clone_at-20_strength-10_start-true_20_of_repel_40` branches the run `repel_40` after its epoch 20,
without `at` after its last; `wgd_members-5_20` is an ensemble trained together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from perturb import slugs, studies
from perturb.errors import PerturbError, did_you_mean

OF = "_of_"
HEADS = ("repel", "clone", "wgd")
# What a name may set, in its order, with what stands where it does not.
SETTINGS: Mapping[str, Any] = {
    "strength": 0.0,
    "width": 1e-3,
    "kernel": "rbf",
    "every": 0,
    "keep": "all",
    "most": 0,
    "start": False,
    "off": 0,
    "lr": 0.01,
    "decay": 1e-3,
    "momentum": 0.9,
    "schedule": "fixed",
    "period": 0,
    "anneal": "fixed",
    "boost": False,
    "normalised": False,
    "displace": 0.0,
    "trace": 0,
}
OF_WGD = ("lr", "decay", "momentum", "schedule", "period")
GRAMMAR: Mapping[str, Mapping[str, Any]] = {
    "repel": SETTINGS,
    "clone": {"at": 0, **SETTINGS},
    "wgd": {"members": None, **{key: SETTINGS[key] for key in OF_WGD}},
}
CHOICES = {
    "kernel": ("rbf", "tanh"),
    "keep": ("all", "merge", "mean", "last"),
    "schedule": ("fixed", "step", "cosine", "triangle"),
    "anneal": ("fixed", "step", "cosine"),
}
_ABOVE_0 = ("width", "lr")


@dataclass(frozen=True)
class Name:
    """What a name says: its settings with the defaults filled in, its epochs, its parent's name.

    `parent` is "" where the run begins from initial weights.
    """

    head: str
    values: Mapping[str, Any]
    epochs: int
    parent: str = ""

    def plain(self) -> Name:
        """Return the same run without repulsion: what it is compared with."""
        without = {key: SETTINGS[key] for key in ("strength", "width", "kernel", "anneal")}
        without |= {"boost": False, "off": 0}
        if self.values["schedule"] == "fixed":
            without["period"] = 0
        return replace(self, values={**self.values, **without})


@lru_cache(maxsize=65536)
def parse(method: str) -> Name:
    """Return what a name says; PerturbError where it does not parse or its settings do not fit."""
    own, separator, parent = method.partition(OF)
    head = own.partition("_")[0]
    if head not in GRAMMAR:
        raise PerturbError(
            f"'{method}' does not parse: it begins with none of {', '.join(HEADS)}."
            f"{did_you_mean(head, HEADS)}"
        )
    if (head == "clone") != bool(separator):
        raise PerturbError(
            f"'{method}' does not parse: a clone, and no other, says what it is a clone of: "
            "clone_..._<epochs>_of_<method>."
        )
    values, epochs = slugs.parse(own, head, GRAMMAR[head])
    if parent:
        parent = studies.canonical(parent)
        studies.of_method(parent).parse(parent)
    found = Name(head, {**SETTINGS, **values}, int(epochs or 0), parent)
    _check(method, found)
    return found


def format(name: Name) -> str:
    """Return the one spelling of a name; `parse` reads it back."""
    own = slugs.format(name.head, name.values, GRAMMAR[name.head], name.epochs)
    return own + (OF + name.parent if name.parent else "")


def _check(method: str, name: Name) -> None:
    values = name.values

    def refuse(reason: str) -> None:
        raise PerturbError(f"'{method}' does not fit: {reason}")

    for key, choices in CHOICES.items():
        if values[key] not in choices:
            refuse(f"{key} is {', '.join(choices)}.{did_you_mean(values[key], choices)}")
    for key, value in values.items():
        if isinstance(value, float | int) and (value < 0 or (key in _ABOVE_0 and value == 0)):
            refuse(
                f"{key} is {value:g}; it must be {'above 0' if key in _ABOVE_0 else '0 or more'}."
            )
    if name.head == "wgd" and not (values["members"] >= 2 and values["members"] % 1 == 0):
        refuse("members is a whole number of 2 or more.")
    scheduled = {values["schedule"], values["anneal"]} - {"fixed"}
    if bool(scheduled) != bool(values["period"]):
        refuse(
            "a schedule or anneal that is not fixed needs a period in epochs, and no other does."
        )
    pushes = values["strength"] > 0
    if pushes and not (values["every"] or values["start"]):
        refuse("nothing would push: say when weights are stored, every-<epochs> or start-true.")
    if values["every"] >= name.epochs and not values["start"] and pushes:
        refuse(f"nothing would push: the first weights are stored after epoch {values['every']}.")
    if (values["boost"] or values["off"] or values["anneal"] != "fixed") and not pushes:
        refuse("boost, off and anneal need a strength.")
    if values["displace"] and name.head != "clone":
        refuse("displace is of clones.")


def number_stored(values: Mapping[str, Any], epochs: int) -> int:
    """Return how many checkpoints push at the end of a run: whose distances it records."""
    stored = int(values["start"]) + ((epochs - 1) // values["every"] if values["every"] else 0)
    if values["most"]:
        stored = min(stored, values["most"])
    return stored if values["keep"] == "all" else min(stored, 1)
