"""Method names and what they mean: `pugdr_isin_2_0.01_400` <-> `Method`. Pure, without torch.

A name is the notebook's own (`docs/method-names.md` lists them all). The last number is the
epochs; the one or two before it are beta_max and beta_min of a schedule, or the parameters that
the update rule's file declares.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from perturb.errors import PerturbError, closest

SHAPES = ("cos", "sin", "icos", "isin", "const")
TIMINGS = ("at", "delta", "var", "accdrop", "accrate")
MODEL_PREFIXES = ("upanet16", "resnet18", "cnn", "vit", "deit")
ALIASES = {"org": "sgd"}
# How many parameters of a rule stand as numbers of their own (else one); further ones are glued.
POSITIONAL = {"gsam": 2}
RULES_FOLDER = Path(__file__).parent / "optim" / "rules"

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


@dataclass(frozen=True)
class Schedule:
    """How a radius or a scale moves over the epochs: a shape between beta_max and beta_min."""

    shape: str
    maximum: float
    minimum: float = 0.0

    def value(self, epoch: float, epochs: int) -> float:
        """Return the value at epoch `t` of `T` (spec "Radius", "Scale").

        `cos: b + (B - b) cos(pi t / 2T)`, `sin` likewise with sine; `icos` and `isin` are their
        reciprocals; `const` is beta_max throughout.
        """
        if self.shape == "const":
            return self.maximum
        wave = math.cos if self.shape.endswith("cos") else math.sin
        alpha = self.minimum + (self.maximum - self.minimum) * wave(math.pi * epoch / (2 * epochs))
        return 1 / alpha if self.shape.startswith("i") else alpha


@dataclass(frozen=True)
class Timing:
    """When plain SGD gives way to the perturbed rule. `parameters` are the name's own."""

    kind: str
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """What a name asks for. `parameters` holds the update rule's, defaults filled in."""

    rule: str
    epochs: int
    parameters: Mapping[str, float] = field(default_factory=dict)
    radius: Schedule | None = None
    scale: Schedule | None = None
    timing: Timing | None = None
    model: str | None = None

    @property
    def axis(self) -> str:
        """Which part of the perturbation the method varies: the section of a study's table."""
        if self.timing:
            return "Timing"
        if self.radius and self.scale:
            return "Radius and scale"
        if self.radius:
            return "Radius"
        return "Scale" if self.scale else "Baselines"


@lru_cache
def rules() -> dict[str, dict[str, float]]:
    """Return each update rule's name with its parameters and their defaults; an int is a count.

    They are the files of `optim/rules/` and the literal `PARAMETERS` in each, read as text, so
    that planning a workflow of thousands of runs never imports torch.
    """
    found = {}
    for path in sorted(RULES_FOLDER.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if getattr(target, "id", None) == "PARAMETERS" and node.value:
                    found[path.stem] = ast.literal_eval(node.value)
    return found


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
        match = re.fullmatch(pattern, part)
        if not match:
            where = f"'{part}'" if self.left() else "its end"
            raise _Unparsed(f"{where} does not parse: expected {expected}")
        self.at += 1
        return match

    def number(self, expected: str) -> float:
        return float(self.take(_NUMBER, expected)[0])

    def epochs(self) -> int:
        epochs = int(self.take(r"\d+", "the number of epochs")[0])
        if epochs < 1:
            raise _Unparsed("'0' does not parse: expected at least one epoch")
        if self.left():
            raise _Unparsed(f"'{self.peek()}' does not parse: the name ends with its epochs")
        return epochs


def _schedule(parts: _Parts) -> Schedule:
    match = parts.take(rf"({'|'.join(SHAPES)})({_NUMBER})?", f"a shape ({', '.join(SHAPES)})")
    shape, glued = match.groups()
    maximum = float(glued) if glued else parts.number("beta_max")
    minimum = 0.0 if shape == "const" else parts.number("beta_min")
    if shape in ("icos", "isin") and min(minimum, maximum) <= 0:
        raise _Unparsed(
            f"beta {maximum:g}/{minimum:g} does not fit: {shape} is a reciprocal, "
            "so both must be above 0"
        )
    return Schedule(shape, maximum, minimum)


def _timing(parts: _Parts) -> tuple[Timing, int]:
    kind = parts.peek()
    if kind == "delta":
        parts.at += 1
        match = parts.take(rf"(\d+)xi({_NUMBER})mu({_NUMBER})", "<epochs>xi<xi>mu<mu>")
        period = parts.take(r"t(\d+)", "t<period in epochs>")
        values = {"xi": float(match[2]), "mu": float(match[3]), "t": float(period[1])}
    elif kind == "var":
        parts.at += 1
        match = parts.take(r"(\d+)init", "<epochs>init")
        body = parts.take(rf"t({_NUMBER})gamma({_NUMBER})", "t<init_t>gamma<gamma>")
        window = parts.take(r"k(\d+)", "k<batches>")
        values = {"init_t": float(body[1]), "gamma": float(body[2]), "k": float(window[1])}
    elif kind == "accrate":
        parts.at += 1
        match = parts.take(rf"(\d+)v({_NUMBER})", "<epochs>v<relative change>")
        window = parts.take(r"k(\d+)", "k<epochs>")
        values = {"v": float(match[2]), "k": float(window[1])}
    elif kind == "accdrop":
        parts.at += 1
        return Timing("accdrop"), parts.epochs()
    else:
        return _timing_at(parts)
    if parts.left():
        raise _Unparsed(f"'{parts.peek()}' does not parse: the name ends before it")
    for name in values.keys() & {"xi", "t", "k", "init_t"}:
        _check_count(name, values[name])
    return Timing(kind, values), int(match[1])


def _timing_at(parts: _Parts) -> tuple[Timing, int]:
    expected = "the epoch from which to perturb, or delta, var, accdrop, accrate"
    start = int(parts.take(r"\d+", expected)[0])
    epochs = parts.epochs()
    if start > epochs:
        raise _Unparsed(f"'{start}' does not fit: it lies after the last of {epochs} epochs")
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
        match = re.fullmatch(rf"({_NUMBER})(.*)", text)
        if not match or position >= len(names):
            known = ", ".join(names) or "none"
            raise _Unparsed(f"'{text}' does not parse: parameters of {rule} are {known}")
        values[names[position]] = float(match[1])
        keys = "|".join(sorted(names, key=len, reverse=True))
        pairs = re.findall(rf"({keys})({_NUMBER})", match[2])
        if "".join(name + number for name, number in pairs) != match[2]:
            raise _Unparsed(
                f"'{match[2]}' does not parse: parameters of {rule} are {', '.join(names)}"
            )
        values |= {name: float(number) for name, number in pairs}
    for name, default in rules()[rule].items():
        if isinstance(default, int):
            _check_count(name, values[name])
        elif name == names[0] and values[name] < 0:
            raise _Unparsed(f"{name} {values[name]:g} does not fit: it must not be negative")
    return values


def _check_count(name: str, value: float) -> None:
    if value < 1 or value != int(value):
        raise _Unparsed(f"{name} {value:g} does not fit: it must be a whole number from 1 up")


def _method(text: str) -> Method:
    parts = _Parts(text)
    model = None
    if parts.peek() in MODEL_PREFIXES:
        model, parts.at = parts.peek(), 1
    head = parts.peek()
    pugd = re.fullmatch(r"pugd(r|s|rs|t)?", head)
    if pugd:
        parts.at += 1
        axis = pugd[1] or ""
        if axis == "t":
            timing, epochs = _timing(parts)
            return Method("pugd", epochs, timing=timing, model=model)
        radius = _schedule(parts) if "r" in axis else None
        scale = _schedule(parts) if "s" in axis else None
        return Method("pugd", parts.epochs(), radius=radius, scale=scale, model=model)
    known = sorted({*rules(), *ALIASES}, key=len, reverse=True)
    match = re.fullmatch(rf"({'|'.join(known)})(t?)({_NUMBER})?", head)
    if not match:
        raise _Unparsed(
            f"'{head}' does not parse: expected an update rule ({', '.join(sorted(known))})"
        )
    parts.at += 1
    rule, timed, glued = ALIASES.get(match[1], match[1]), match[2], match[3] or ""
    parameters = _rule_parameters(parts, rule, glued, reserved=2 if timed else 1)
    timing, epochs = _timing_at(parts) if timed else (None, parts.epochs())
    return Method(rule, epochs, parameters, timing=timing, model=model)


def _repair(text: str) -> str:
    """Return the valid name nearest to `text`: misspelt words mended, or else an example."""
    words = {*MODEL_PREFIXES, *rules(), *ALIASES, *SHAPES, *TIMINGS}
    words |= {"pugdr", "pugds", "pugdrs", "pugdt", "samt"}
    mended = []
    for part in text.lower().replace("-", "_").split("_"):
        word, number = re.fullmatch(r"([a-z]*)(.*)", part).groups()
        if word and number:  # a model such as resnet18, or else a word glued to its number
            prefix = closest(part, MODEL_PREFIXES)
            mended.append(prefix or (closest(word, words) or word) + number)
        else:
            mended.append(closest(word, words) or word if word else part)
    for candidate in (text.lower(), "_".join(mended)):
        try:
            _method(candidate)
        except _Unparsed:
            continue
        return candidate
    return closest("_".join(mended), _EXAMPLES) or _EXAMPLES[0]


@lru_cache(maxsize=65536)
def parse(text: str) -> Method:
    """Parse a method's name.

    Raises PerturbError that says which part did not parse and shows the closest valid name.
    """
    try:
        return _method(text)
    except _Unparsed as error:
        raise PerturbError(
            f"method '{text}': {error}. Closest valid name: '{_repair(text)}'. "
            "docs/method-names.md lists them all."
        ) from None


def _number(value: float) -> str:
    return f"{value:.12g}"


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
    positional = POSITIONAL.get(method.rule, 1)
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


def format_slug(head: str, settings: Mapping[str, float | str]) -> str:
    """Return the name of a run of another study: `toy_dimension-8_pretraining-2000`.

    `head` and keys are lower-case words, values numbers or words; `parse_slug` reads it back.
    """
    parts = [f"{key}-{v if isinstance(v, str) else _number(v)}" for key, v in settings.items()]
    return "_".join([head, *parts])


def parse_slug(slug: str, head: str, keys: Sequence[str]) -> dict[str, float | str]:
    """Return the settings of a name that `format_slug` printed with that head and those keys.

    Raises PerturbError that shows the pattern where it is another.
    """
    parts = slug.split("_")
    pairs = [part.partition("-")[::2] for part in parts[1:]]
    if parts[0] != head or [key for key, _ in pairs] != list(keys):
        pattern = "_".join([head, *(f"{key}-<{key}>" for key in keys)])
        raise PerturbError(f"'{slug}' does not parse: expected {pattern}.")
    return {key: float(v) if re.fullmatch(_NUMBER, v) else v for key, v in pairs}
