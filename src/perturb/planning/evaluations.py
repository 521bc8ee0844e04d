"""How many batch gradients a run computes, from its method's name and the size of its data."""

from __future__ import annotations

from dataclasses import dataclass

from perturb import names
from perturb.names import Method


@dataclass(frozen=True)
class Evaluations:
    """Gradient evaluations of one run. `exact`, or the most that its method can come to."""

    count: int
    exact: bool


def evaluations(method: Method, steps: int) -> Evaluations:
    """Return the gradient evaluations of a run of `steps` batches an epoch.

    One a step at w, and a second one at w + e as often as the rule's file says (`SECOND_PASS`).
    Methods that decide as they train (rules that do not say; delta, var, accdrop, accrate) have an
    upper bound, two a step.
    """
    total = steps * method.epochs
    in_force, exact = total, True
    if method.timing is not None:
        exact = method.timing.kind == "at"
        start = int(method.timing.parameters["epoch"]) if exact else 0
        in_force = steps * (method.epochs - start)
    match names.second_passes().get(method.rule):
        case "never":
            return Evaluations(total, True)
        case "every k-th step":
            return Evaluations(total + -(-in_force // int(method.parameters["k"])), exact)
        case "every step":
            return Evaluations(total + in_force, exact)
        case _:
            return Evaluations(total + in_force, False)
