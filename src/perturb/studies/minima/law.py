"""The law of the distance that repulsion reaches, and how long it takes to leave. Pure.

Where the cross-entropy is flat, weight decay lambda and repulsion balance at
`theta = theta_c (1 - x)`, `x = 1/(1 - g)`, `g = (2 s w / lambda) e^(-w D)` for checkpoints that are
all at distance D (C, their number, cancels). For tanh `sech^2(w D)` stands for `e^(-w D)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from perturb.errors import PerturbError


def slope(scaled: float, kernel: str) -> float:
    """Return -k'(D)/w at `scaled` = w D: `e^-x`, or `sech^2 x`."""
    if kernel == "rbf":
        return math.exp(-scaled)
    small = math.exp(-2 * scaled)
    return 4 * small / (1 + small) ** 2


def pole(strength: float, width: float, decay: float, kernel: str = "rbf") -> float | None:
    """Return the distance at which repulsion alone holds weight decay, g = 1; None where none.

    There is none where 2 s w <= lambda: repulsion is weaker than weight decay everywhere.
    """
    ratio = 2 * strength * width / decay if decay else math.inf
    if ratio <= 1 or math.isinf(ratio):
        return None
    return (math.log(ratio) if kernel == "rbf" else math.acosh(math.sqrt(ratio))) / width


def distance(
    base: float, strength: float, width: float, decay: float, kernel: str = "rbf"
) -> float | None:
    """Return D of the law, `D = (D_base/2)(x^2 + x)`; None where it says nothing.

    Args:
        base: D_base, squared distance that the plain run drifts over the same epochs.
        strength, width, decay, kernel: s, w, lambda and k.

    It says nothing without weight decay, and where 2 s w <= lambda.
    """
    return _solve(lambda x: base / 2 * (x * x + x), strength, width, decay, kernel)


def distance_without_loss(
    squared_norm: float, strength: float, width: float, decay: float, kernel: str = "rbf"
) -> float | None:
    """Return D without any cross-entropy, one checkpoint: `D (1 - g)^2 = norm(theta_c)^2`, exact.

    Of the balances it is the one that a run reaches from theta_c, through the origin.
    """
    return _solve(lambda x: squared_norm * x * x, strength, width, decay, kernel)


def simple_distance(
    base: float, strength: float, width: float, decay: float, kernel: str = "rbf"
) -> float | None:
    """Return the rougher `D_base + pole`: twice the mean error on the thesis's points."""
    found = pole(strength, width, decay, kernel)
    return None if found is None else base + found


def strength_for(
    target: float, base: float, width: float, decay: float, kernel: str = "rbf"
) -> float:
    """Return the strength that reaches a target distance by the law.

    Raises PerturbError where none does: the plain run drifts as far by itself, or the push that
    is needed there is beyond what numbers can hold.
    """
    if decay <= 0:
        raise PerturbError(
            f"target distance {target:g}: without weight decay nothing holds repulsion, so no "
            "strength ends there. Set a weight decay above 0."
        )
    if target <= base:
        raise PerturbError(
            f"target distance {target:g}: no strength reaches it, for the plain run drifts to "
            f"{base:g} by itself and repulsion only adds to that. Ask for more than {base:g}."
        )
    x = (math.sqrt(1 + 8 * target / base) - 1) / 2 if base else math.inf
    g = 1 - 1 / x
    push = slope(width * target, kernel)
    found = g * decay / (2 * width * push) if push else math.inf
    if not found < 1e12:
        raise PerturbError(
            f"target distance {target:g}: no strength reaches it at width {width:g}, whose kernel "
            f"has died out there (width * distance = {width * target:.3g}). Take a smaller width."
        )
    return found


def escape_steps(
    strength: float, width: float, decay: float, learning_rate: float, momentum: float
) -> float | None:
    """Return the steps in which the distance's logarithm grows by 1 near theta_c; None for never.

    `(1 - mu) / (lr (2 s w - lambda))`, of the norm of theta - theta_c: the gradient is zero at
    theta_c itself, and grows with the distance.
    """
    rate = learning_rate * (2 * strength * width - decay)
    return (1 - momentum) / rate if rate > 0 else None


def _solve(
    of_x: Callable[[float], float], strength: float, width: float, decay: float, kernel: str
) -> float | None:
    """Return D = of_x(1/(1 - g(D))), beyond the pole, where g < 1: there is exactly one."""
    from scipy.optimize import brentq

    start = pole(strength, width, decay, kernel)
    if start is None:
        return None

    def off(d: float) -> float:
        g = 2 * strength * width / decay * slope(width * d, kernel)
        return d - of_x(1 / (1 - g)) if g < 1 else -math.inf

    low, high = start * (1 + 1e-12) + 1e-12, 2 * start + 1.0
    while off(high) < 0:
        high *= 2
    while off(low) == -math.inf:
        low = start + 2 * (low - start)
    return float(brentq(off, low, high, xtol=1e-10, rtol=1e-14))
