"""Method names and what they mean: `pugdr_isin_2_0.01_400` <-> `Method`. Pure, without torch.

A name is the notebook's own (`docs/method-names.md` lists them all). The last number is the
epochs; the one or two before it are beta_max and beta_min of a schedule, or the parameters that
the update rule's file declares.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from perturb import slugs
from perturb.errors import PerturbError, closest, did_you_mean
from perturb.limits import LARGEST_FACTOR, LARGEST_FLOAT
from perturb.methods import Method, Schedule, Timing
from perturb.models.described import PATTERN as DESCRIBED_MODEL
from perturb.models.registry import MODELS

__all__ = ["Method", "Schedule", "Timing", "format", "parse", "rules", "second_passes"]

SHAPES = ("cos", "sin", "icos", "isin", "const")
TIMINGS = ("at", "delta", "var", "accdrop", "accrate")
# The notebook writes a model before the method; a name with an underscore would be read as a part.
MODEL_PREFIXES = tuple(name for name in MODELS if "_" not in name)
ALIASES = {"org": "sgd"}
RULES_FOLDER = Path(__file__).parent / "optim" / "rules"
SECOND_PASSES = ("never", "every step", "every k-th step")

MAX_LENGTH = 200  # a run's folder is called so, and file systems end at 255 bytes
MAX_DIGITS = 9  # of epochs: float arithmetic counts them exactly
_RADII = ("rho", "radius", "eta")  # parameters, or their beginnings, that must not be negative
_FACTORS = (*_RADII, "alpha")

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_EXAMPLES = (
    "pugd_400",
    "pugdr_isin_2_0.01_400",
    "pugdr_const_0.5_400",
    "pugds_isin_3_0.8_400",
    "pugdrs_isin2_0.01_isin2_0.1_400",
    "pugdt_80_400",
    "pugdt_delta_100xi10mu3_t3",
    "pugdt_var_100init_t10gamma0.2_k10",
    "pugdt_accdrop_100",
    "pugdt_accrate_100v0.001_k5",
    "sgd_400",
    "ugd_400",
    "samx1_40",
    "sam_0.05_400",
    "samt_0.05_360_400",
    "asam_0.5_400",
    "gsam_0.05_0.01_400",
    "looksam_0.05_400",
    "aesam_0.05_400",
)


@lru_cache
def rules() -> dict[str, dict[str, float]]:
    """Return each update rule's name with its parameters and their defaults; an int is a count.

    They are the files of `optim/rules/` and the literal `PARAMETERS` in each, read as text, so
    that planning a workflow of thousands of runs never imports torch.
    """
    return _literals("PARAMETERS")


@lru_cache
def second_passes() -> dict[str, str]:
    """Return how often update rules compute a gradient at w + e: the literal `SECOND_PASS`.

    `never`, `every step`, or `every k-th step` with k a parameter of the rule. A rule that has no
    such literal, and so no entry, decides as it trains: at most every step.
    """
    found = _literals("SECOND_PASS")
    for rule, says in found.items():
        if says not in SECOND_PASSES:
            raise PerturbError(
                f"{RULES_FOLDER / rule}.py: SECOND_PASS '{says}' is not one of "
                f"{', '.join(SECOND_PASSES)}.{did_you_mean(says, SECOND_PASSES)}"
            )
    return found


@lru_cache
def _positional() -> dict[str, int]:
    """Return how many parameters of a rule stand as numbers of their own, the further ones glued.

    The literal `POSITIONAL` of its file; one for a rule that has none.
    """
    return _literals("POSITIONAL")


def _literals(name: str) -> dict[str, Any]:
    """Return the literal `name` of every rule's file that has one, by the rule's name."""
    found = {}
    for path in sorted(RULES_FOLDER.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if getattr(target, "id", None) == name and node.value:
                    found[path.stem] = ast.literal_eval(node.value)
    return found


def heads() -> tuple[str, ...]:
    """Return every first word that a method's name may have, without the digits glued to it."""
    timed = [f"{rule}t" for rule in (*rules(), *ALIASES)]
    models = [name.rstrip("0123456789") for name in MODEL_PREFIXES]
    words = [*rules(), *ALIASES, *timed, "pugdr", "pugds", "pugdrs", *models]
    return tuple(dict.fromkeys(words))


class _Unparsed(Exception):
    """A part of a name that fits nothing there."""


class _Parts:
    """The parts of a name between underscores, taken from the left."""

    def __init__(self, text: str) -> None:
        self.parts = text.split("_")
        self.at = 0

    def left(self) -> int:
        return len(self.parts) - self.at

    def peek(self) -> str:
        return self.parts[self.at] if self.left() else ""

    def take(self, pattern: str, expected: str) -> re.Match[str]:
        part = self.peek()
        match = re.fullmatch(pattern, part, re.ASCII)
        if not match:
            where = f"'{_short(part)}'" if self.left() else "its end"
            raise _Unparsed(f"{where} does not parse: expected {expected}")
        self.at += 1
        return match

    def number(self, expected: str) -> float:
        return _finite(self.take(_NUMBER, expected)[0])

    def epochs(self) -> int:
        epochs = _epochs(self.take(r"\d+", "the number of epochs")[0])
        if epochs < 1:
            raise _Unparsed("'0' does not parse: expected at least one epoch")
        if self.left():
            raise _Unparsed(f"'{self.peek()}' does not parse: the name ends with its epochs")
        return epochs


def _short(part: str) -> str:
    return part if len(part) <= 40 else f"{part[:20]}..."


def _finite(text: str) -> float:
    """Return a number; _Unparsed where it is beyond what a float can hold."""
    value = float(text)
    if not math.isfinite(value):
        raise _Unparsed(f"'{text}' does not fit: it is beyond the largest number, 1.8e308")
    return value


def _epochs(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Unparsed(f"'{text[:12]}...' does not fit: at most {MAX_DIGITS} digits of epochs")
    return int(text)


def _schedule(parts: _Parts) -> Schedule:
    match = parts.take(rf"({'|'.join(SHAPES)})({_NUMBER})?", f"a shape ({', '.join(SHAPES)})")
    shape, glued = match.groups()
    maximum = _finite(glued) if glued else parts.number("beta_max")
    minimum = 0.0 if shape == "const" else parts.number("beta_min")
    if min(minimum, maximum) < 0:
        negative = "beta_min" if minimum < 0 else "beta_max"
        raise _Unparsed(
            f"{negative} {min(minimum, maximum):g} does not fit: it must not be negative"
            + (f", for {shape} is a reciprocal" if shape.startswith("i") else "")
        )
    # The wave starts at beta_max and ends, one epoch after the last, at beta_min; isin's the other
    # way round. A reciprocal of 0 is infinite, so it must not be met in an epoch.
    first = maximum if shape == "icos" else minimum
    if shape in ("icos", "isin") and first == 0:
        zero = "beta_max" if shape == "icos" else "beta_min"
        raise _Unparsed(
            f"{zero} 0 does not fit: {shape} is a reciprocal, which would be infinite in epoch 0"
        )
    if shape in ("icos", "isin") and not math.isfinite(1 / first):
        raise _Unparsed(f"'{first:g}' does not fit: its reciprocal is beyond the largest number")
    return Schedule(shape, maximum, minimum)


def _timing(parts: _Parts) -> tuple[Timing, int]:
    kind = parts.peek()
    if kind == "delta":
        parts.at += 1
        match = parts.take(rf"(\d+)xi({_NUMBER})mu({_NUMBER})", "<epochs>xi<xi>mu<mu>")
        period = parts.take(r"t(\d+)", "t<period in epochs>")
        values = {"xi": _finite(match[2]), "mu": _finite(match[3]), "t": _finite(period[1])}
    elif kind == "var":
        parts.at += 1
        match = parts.take(r"(\d+)init", "<epochs>init")
        body = parts.take(rf"t({_NUMBER})gamma({_NUMBER})", "t<init_t>gamma<gamma>")
        window = parts.take(r"k(\d+)", "k<batches>")
        values = {"init_t": _finite(body[1]), "gamma": _finite(body[2]), "k": _finite(window[1])}
    elif kind == "accrate":
        parts.at += 1
        match = parts.take(rf"(\d+)v({_NUMBER})", "<epochs>v<relative change>")
        window = parts.take(r"k(\d+)", "k<epochs>")
        values = {"v": _finite(match[2]), "k": _finite(window[1])}
    elif kind == "accdrop":
        parts.at += 1
        epochs = parts.epochs()
        _check_triggers("accdrop", {}, epochs)
        return Timing("accdrop"), epochs
    else:
        return _timing_at(parts)
    if parts.left():
        raise _Unparsed(f"'{parts.peek()}' does not parse: the name ends before it")
    for name in values.keys() & {"xi", "t", "k", "init_t"}:
        _check_count(name, values[name])
    epochs = _epochs(match[1])
    if epochs < 1:
        raise _Unparsed("'0' does not parse: expected at least one epoch")
    _check_triggers(kind, values, epochs)
    return Timing(kind, values), epochs


def _check_triggers(kind: str, values: Mapping[str, float], epochs: int) -> None:
    """Refuse a rule that cannot trigger while an epoch is left to perturb (`optim.timing`)."""
    last = epochs - 2  # an epoch that ends, and after which one more comes
    if kind == "delta":
        if values["mu"] < 0:
            raise _Unparsed(f"mu {values['mu']:g} does not fit: it must not be negative")
        # Compared at e > xi where t divides e + 1: the first such epoch.
        first = (values["xi"] + 2 + values["t"] - 1) // values["t"] * values["t"] - 1
    elif kind == "var":
        first = max(values["k"], values["init_t"]) + 1
    else:
        first = values.get("k", 1)
    positive = {"var": "gamma", "accrate": "v"}.get(kind)
    if positive and values[positive] <= 0:
        raise _Unparsed(f"{positive} {values[positive]:g} does not fit: it would never trigger")
    if first > last:
        raise _Unparsed(
            f"'{kind}' does not fit: it could trigger after epoch {first:g} at the earliest, and "
            f"the last of {epochs} epochs is {epochs - 1}, so it never would"
        )


def _timing_at(parts: _Parts) -> tuple[Timing, int]:
    expected = "the epoch from which to perturb, or delta, var, accdrop, accrate"
    start = _epochs(parts.take(r"\d+", expected)[0])
    epochs = parts.epochs()
    if start >= epochs:
        if epochs == 1:
            raise _Unparsed(f"'{start}' does not fit: a timed method takes 2 epochs or more")
        raise _Unparsed(f"'{start}' does not fit: it lies after the last of {epochs} epochs")
    if start < 1:
        raise _Unparsed("'0' does not fit: from epoch 0 on it is the rule itself, without timing")
    return Timing("at", {"epoch": float(start)}), epochs


def _rule_parameters(parts: _Parts, rule: str, glued: str, reserved: int) -> dict[str, float]:
    """Read a rule's parameters in their declared order; `reserved` parts belong to what follows.

    A further parameter may be glued to a number by its name: `looksam_0.05k3alpha0.5_400`.
    """
    values = dict(rules()[rule])
    names = list(values)
    texts = [glued] if glued else []
    while parts.left() > reserved:
        texts.append(parts.take(r".+", "a parameter")[0])
    for position, text in enumerate(texts):
        match = re.fullmatch(rf"({_NUMBER})(.*)", text, re.ASCII)
        if not match or position >= len(names):
            known = ", ".join(names) or "none"
            raise _Unparsed(f"'{text}' does not parse: parameters of {rule} are {known}")
        values[names[position]] = _finite(match[1])
        keys = "|".join(sorted(names, key=len, reverse=True))
        pairs = re.findall(rf"({keys})({_NUMBER})", match[2], re.ASCII)
        if "".join(name + number for name, number in pairs) != match[2]:
            raise _Unparsed(
                f"'{match[2]}' does not parse: parameters of {rule} are {', '.join(names)}"
            )
        values |= {name: _finite(number) for name, number in pairs}
    for name, default in rules()[rule].items():
        if isinstance(default, int):
            _check_count(name, values[name])
        elif name.startswith(_RADII) and values[name] < 0:
            raise _Unparsed(f"{name} {values[name]:g} does not fit: it must not be negative")
    if not 0 <= values.get("decay", 0) <= 1:
        raise _Unparsed(f"decay {values['decay']:g} does not fit: it must lie from 0 to 1")
    if values.get("rho_min", 0) > values.get("rho_max", math.inf):
        raise _Unparsed(
            f"rho_min {values['rho_min']:g} does not fit: it is above rho_max {values['rho_max']:g}"
        )
    return values


def _check_count(name: str, value: float) -> None:
    if value < 1 or value != int(value):
        raise _Unparsed(f"{name} {value:g} does not fit: it must be a whole number from 1 up")


def _method(text: str) -> Method:
    parts = _Parts(text)
    model = None
    described = parts.left() > 1 and re.fullmatch(DESCRIBED_MODEL, parts.peek())
    if described or parts.peek() in MODEL_PREFIXES:
        model, parts.at = parts.peek(), 1
    head = parts.peek()
    pugd = re.fullmatch(r"pugd(r|s|rs|t)?", head)
    if pugd:
        parts.at += 1
        axis = pugd[1] or ""
        if axis == "t":
            fires, epochs = _timing(parts)
            return Method("pugd", epochs, timing=fires, model=model)
        radius = _schedule(parts) if "r" in axis else None
        scale = _schedule(parts) if "s" in axis else None
        return Method("pugd", parts.epochs(), radius=radius, scale=scale, model=model)
    known = sorted({*rules(), *ALIASES}, key=len, reverse=True)
    match = re.fullmatch(rf"({'|'.join(known)})(t?)({_NUMBER})?", head, re.ASCII)
    if not match:
        raise _Unparsed(
            f"'{_short(head)}' does not parse: expected an update rule ({', '.join(sorted(known))})"
        )
    parts.at += 1
    rule, timed, glued = ALIASES.get(match[1], match[1]), match[2], match[3] or ""
    parameters = _rule_parameters(parts, rule, glued, reserved=2 if timed else 1)
    timing, epochs = _timing_at(parts) if timed else (None, parts.epochs())
    return Method(rule, epochs, parameters, timing=timing, model=model)


def _check_numbers(method: Method) -> None:
    """Refuse a number that does not fit float32, in which weights are perturbed."""
    schedules = [schedule for schedule in (method.radius, method.scale) if schedule]
    numbers = [n for schedule in schedules for n in (schedule.maximum, schedule.minimum)]
    numbers += [*method.parameters.values(), *(method.timing or Timing("")).parameters.values()]
    for number in numbers:
        if not abs(number) <= LARGEST_FLOAT:
            raise _Unparsed(f"{number:g} does not fit: at most {LARGEST_FLOAT:.2g}, as of float32")
    for name, value in method.parameters.items():
        if name.startswith(_FACTORS) and not abs(value) <= LARGEST_FACTOR:
            raise _Unparsed(f"{name} {value:g} does not fit: at most {LARGEST_FACTOR:g}")
    for name, schedule in (("radius", method.radius), ("scale", method.scale)):
        if schedule:
            _check_values(name, schedule, method.epochs)


def _check_values(name: str, schedule: Schedule, epochs: int) -> None:
    """Refuse a schedule that is no usable number in its first or its last epoch."""
    for epoch, limit in ((0, LARGEST_FACTOR), (epochs - 1, LARGEST_FLOAT)):
        try:
            value = schedule.value(epoch, epochs)
        except ZeroDivisionError:  # its ends are too far apart for float arithmetic
            value = math.inf
        if not value <= limit:
            numbers = f"{schedule.shape} from {schedule.maximum:g} and {schedule.minimum:g}"
            raise _Unparsed(
                f"{numbers} does not fit: the {name} of epoch {epoch} is {value:g}, above {limit:g}"
            )


def _repair(text: str) -> str | None:
    """Return the valid name nearest to `text`: misspelt words mended, or else an example.

    Of as many epochs, where the text ends with them; None where none of so many is near.
    """
    text = slugs.as_drawn(text)
    words = {*MODEL_PREFIXES, *rules(), *ALIASES, *SHAPES, *TIMINGS}
    words |= {"pugdr", "pugds", "pugdrs", "pugdt", "samt"}
    mended = []
    for part in filter(None, text.replace("-", "_").split("_")):
        number = part.lstrip(ascii_lowercase)
        word = part.removesuffix(number)
        if word and number:  # a model such as resnet18, or else a word glued to its number
            prefix = closest(part, MODEL_PREFIXES)
            mended.append(prefix or (closest(word, words) or word) + number)
        else:
            mended.append(closest(word, words) or word if word else part)
    for candidate in (text, "_".join(mended)):
        if _is_valid(candidate):
            return candidate
    alike = [one for one in _EXAMPLES if one.partition("_")[0] == "".join(mended[:1])]
    example = closest("_".join(mended), alike or _EXAMPLES) or (alike or _EXAMPLES)[0]
    epochs = mended[-1] if len(mended) > 1 else ""
    if not re.fullmatch(rf"0*[1-9]\d{{,{MAX_DIGITS - 1}}}", epochs, re.ASCII):
        return example
    example = re.sub(r"_\d+(?=$|xi|init|v\d)", f"_{epochs}", example)
    return example if _is_valid(example) else None


def _is_valid(text: str) -> bool:
    try:
        _check_numbers(_method(text))
    except _Unparsed:
        return False
    return True


@lru_cache(maxsize=65536)
def parse(text: str) -> Method:
    """Parse a method's name.

    Raises PerturbError that says which part did not parse and shows the closest valid name.
    """
    shown = text if len(text) <= MAX_LENGTH else f"{text[:40]}..."
    try:
        for part in text.split("_"):
            if wrong := slugs.wrong_letter(part):
                raise _Unparsed(f"'{_short(part)}' does not parse: {wrong}")
        method = _method(text)
        _check_numbers(method)
        if len(text) > MAX_LENGTH:
            raise _Unparsed(f"its {len(text)} characters do not fit: a folder is called so")
        return method
    except _Unparsed as error:
        near = _repair(text[:MAX_LENGTH])
        offered = f" Closest valid name: '{near}'." if near else ""
        raise PerturbError(
            f"method '{shown}': {error}.{offered} docs/method-names.md lists them all."
        ) from None


def with_epochs(text: str, epochs: int) -> tuple[str, ...]:
    """Return what a name without its epochs may be in full: they stand last, or in its timing.

    `sam_0.05` is `sam_0.05_5`, `pugdt_accrate_v0.001_k2` is `pugdt_accrate_5v0.001_k2`.
    """
    timed = re.sub(r"_(delta|accrate|var)_(?=xi|v|init)", rf"_\g<1>_{epochs}", text, count=1)
    return (f"{text}_{epochs}",) if timed == text else (timed,)


def _number(value: float) -> str:
    text = f"{value:.12g}"
    return text if float(text) == value else repr(value)  # which always reads back


def _format_schedule(schedule: Schedule, glue: str) -> str:
    numbers = (
        [schedule.maximum] if schedule.shape == "const" else [schedule.maximum, schedule.minimum]
    )
    return schedule.shape + glue + "_".join(map(_number, numbers))


def _format_timing(timing: Timing, epochs: int) -> str:
    values = {name: _number(value) for name, value in timing.parameters.items()}
    match timing.kind:
        case "at":
            return f"{values['epoch']}_{epochs}"
        case "delta":
            return f"delta_{epochs}xi{values['xi']}mu{values['mu']}_t{values['t']}"
        case "var":
            return f"var_{epochs}init_t{values['init_t']}gamma{values['gamma']}_k{values['k']}"
        case "accrate":
            return f"accrate_{epochs}v{values['v']}_k{values['k']}"
    return f"accdrop_{epochs}"


def _format_parameters(method: Method) -> str:
    """Print a rule's parameters: the first and every one before a changed one; the rest glued."""
    defaults = rules()[method.rule]
    names = list(defaults)
    if not names:
        return ""
    positional = _positional().get(method.rule, 1)
    text = "_".join(_number(method.parameters[name]) for name in names[:positional])
    for name in names[positional:]:
        if method.parameters[name] != defaults[name]:
            text += name + _number(method.parameters[name])
    return ("" if method.rule == "samx" else "_") + text


def format(method: Method) -> str:
    """Return the one canonical spelling of a method's name; `parse` reads it back."""
    prefix = f"{method.model}_" if method.model else ""
    if method.rule != "pugd":
        head = method.rule + ("t" if method.timing else "") + _format_parameters(method)
        tail = _format_timing(method.timing, method.epochs) if method.timing else str(method.epochs)
        return f"{prefix}{head}_{tail}"
    if method.timing:
        return f"{prefix}pugdt_{_format_timing(method.timing, method.epochs)}"
    axes = ("r" if method.radius else "") + ("s" if method.scale else "")
    glue = "" if axes == "rs" else "_"
    schedules = [_format_schedule(s, glue) for s in (method.radius, method.scale) if s]
    return prefix + "_".join([f"pugd{axes}", *schedules, str(method.epochs)])
