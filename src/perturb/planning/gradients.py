"""How many batch gradients a run computes, from its method's name and the size of its data."""

from __future__ import annotations

from dataclasses import dataclass

from perturb.names import Method

ONE_A_STEP = ("sgd", "ugd")
TWO_A_STEP = ("asam", "gsam", "pugd", "sam", "samx")


@dataclass(frozen=True)
class Evaluations:
    """Gradient evaluations of one run. `exact`, or the most that its method can come to."""

    count: int
    exact: bool


def evaluations(method: Method, steps: int) -> Evaluations:
    """Return the gradient evaluations of a run of `steps` batches an epoch.

    One a step at w, and a second one at w + e: in every step for the rules `TWO_A_STEP`, in every
    k-th for LookSAM. Methods that decide as they train (AE-SAM; delta, var, accdrop, accrate) and
    rules that are not known here have an upper bound, two a step.
    """
    total = steps * method.epochs
    in_force, exact = total, True
    if method.timing is not None:
        exact = method.timing.kind == "at"
        start = int(method.timing.parameters["epoch"]) if exact else 0
        in_force = steps * (method.epochs - start)
    if method.rule in ONE_A_STEP:
        return Evaluations(total, True)
    if method.rule == "looksam":
        return Evaluations(total + -(-in_force // int(method.parameters["k"])), exact)
    return Evaluations(total + in_force, exact and method.rule in TWO_A_STEP)
