"""How methods are called over data sets that train for different numbers of epochs."""

from __future__ import annotations

from dataclasses import replace

from perturb import names

NAMES = (
    "Names give every epoch in percent of the reference's: one that ends in _100 trains for as "
    "many epochs as the reference does there."
)


def relative(method: str, epochs: int) -> str:
    """Return a method's name with its epochs in percent of `epochs`, its reference's.

    `pugdt_20_100` for `pugdt_6_30` of 30 and `pugdt_80_400` of 400 alike; the name itself where
    that is no whole number.
    """
    parsed = names.parse(method)
    scaled = {"epochs": 100 * parsed.epochs / epochs}
    if parsed.timing and parsed.timing.kind == "at":
        scaled["start"] = 100 * parsed.timing.parameters["epoch"] / epochs
    if any(value % 1 for value in scaled.values()):
        return method
    timing = parsed.timing
    if timing and "start" in scaled:
        timing = replace(timing, parameters={"epoch": int(scaled["start"])})
    return names.format(replace(parsed, epochs=int(scaled["epochs"]), timing=timing))
