"""Learning rates, and other strengths, that fall and restart. Pure; time in epochs, from 0."""

from __future__ import annotations

import math


def fixed(value: float, time: float, period: float) -> float:
    """Return `value`."""
    return value


def step(value: float, time: float, period: float, every: float = 0.0) -> float:
    """Return value * 0.1^k after k periods, restarting every `every` epochs where it is not 0."""
    since = time % every if every else time
    return value * 0.1 ** int(since // period)


def cosine(value: float, time: float, period: float) -> float:
    """Return SGDR's rate, `value/2 (1 + cos(pi t/T0))` with warm restarts every T0 = `period`.

    Loshchilov & Hutter 2017, equation 5, with eta_min 0 and T_mult 1.
    """
    return value / 2 * (1 + math.cos(math.pi * (time % period) / period))


def triangle(value: float, time: float, period: float, lowest: float) -> float:
    """Return FGE's cyclical rate: `lowest` at a cycle's ends, `value` in its middle, linear.

    Garipov et al. 2018, section 4, half a cycle later, so that members are collected at its end.
    """
    t = time % period / period
    return lowest + (value - lowest) * (2 * t if t <= 0.5 else 2 - 2 * t)
