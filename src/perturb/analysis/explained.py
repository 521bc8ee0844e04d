"""A method's name in words, as a page explains it where it stands; schedules as small pictures."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache

from perturb import names
from perturb.errors import PerturbError
from perturb.methods import Method, Schedule, Timing
from perturb.names import RULES_FOLDER

# Of the picture of a schedule, in its user units.
WIDTH, HEIGHT = 48, 14
_POINTS = 24
_TIMINGS = {
    "at": "{rule} from epoch {epoch:g} on",
    "delta": "{rule} once validation and training loss lie further apart than {mu:g} times their "
    "mean distance over epochs 0 to {last:g}, checked every {t:g} epochs",
    "var": "{rule} once the variance of the last {k:g} batches' gradient norms falls below "
    "{gamma:g} times the variance up to epoch {init_t:g}",
    "accdrop": "{rule} once the validation accuracy falls below that of the epoch before",
    "accrate": "{rule} once the validation accuracy changes by less than {v:g}, relatively, over "
    "{k:g} epochs",
}


@dataclass(frozen=True)
class Drawn:
    """A schedule over a method's epochs: of what, in words, and as points of a small picture."""

    name: str
    words: str
    points: str


@dataclass(frozen=True)
class Explained:
    """A method: its rule, settings and timing as sentences, and its schedules drawn."""

    sentences: tuple[str, ...]
    schedules: tuple[Drawn, ...] = ()

    @property
    def text(self) -> str:
        """Return all of it as one line."""
        return " ".join((*self.sentences, *(f"{one.words}." for one in self.schedules)))


@cache
def explain(name: str, base: str = "SGD") -> Explained | None:
    """Return what a method's name says; None for a name that is not of the grammar.

    `base` is the optimiser that takes the steps, as prose has it; "" where it is not known.
    """
    try:
        method = names.parse(name)
    except PerturbError:
        return None
    sentences = _rule(method.rule, base)
    if method.parameters:
        listed = ", ".join(f"{key} {value:g}" for key, value in method.parameters.items())
        sentences.append(f"{listed[:1].upper()}{listed[1:]}.")
    if method.timing:
        first = f"Plain {base}" if base else "The plain gradient"
        sentences.append(f"{first} first, {_timing(method, method.timing)}.")
    sentences.append(f"{method.epochs} epoch{'' if method.epochs == 1 else 's'}.")
    schedules = [
        _drawn(axis, schedule, method.epochs)
        for axis, schedule in (("radius", method.radius), ("scale", method.scale))
        if schedule
    ]
    return Explained(tuple(sentences), tuple(schedules))


def _rule(rule: str, base: str) -> list[str]:
    """Return what a rule is, and which optimiser takes its steps where that is not SGD."""
    if base == "SGD":
        return [_summary(rule)]
    if rule == "sgd":  # whose summary speaks of plain SGD
        return [f"The gradient itself, taken by {base or 'the base optimiser'}."]
    return [_summary(rule), *([f"Its steps are taken by {base}."] if base else [])]


@cache
def _summary(rule: str) -> str:
    """Return the first line of an update rule's file: whoever adds one explains it there."""
    text = (RULES_FOLDER / f"{rule}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or rule).partition("\n")[0]


def _timing(method: Method, timing: Timing) -> str:
    values = dict(timing.parameters)
    values["last"] = values.get("xi", 1) - 1
    return _TIMINGS[timing.kind].format(rule=method.rule.upper(), **values)


def _drawn(axis: str, schedule: Schedule, epochs: int) -> Drawn:
    """Return a schedule from its first epoch to its last; a straight line where it is constant."""
    last = max(epochs - 1, 1)
    values = [
        schedule.value(last * point / (_POINTS - 1), epochs) if epochs > 1 else schedule.value(0, 1)
        for point in range(_POINTS)
    ]
    low, high = min(values), max(values)
    reach = (high - low) or 1.0
    points = [
        f"{1 + (WIDTH - 2) * place / (_POINTS - 1):.4g},"
        f"{(HEIGHT / 2 if high == low else HEIGHT - 1 - (HEIGHT - 2) * (v - low) / reach):.4g}"
        for place, v in enumerate(values)
    ]
    if high == low:
        words = f"{axis.capitalize()} {values[0]:.3g} throughout"
    else:
        words = f"{axis.capitalize()} from {values[0]:.3g} to {values[-1]:.3g} ({schedule.shape})"
    return Drawn(axis, words, " ".join(points))
