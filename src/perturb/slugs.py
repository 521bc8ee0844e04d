"""Names of runs as `key-value` slugs: `repel_strength-10_width-1e-3_every-150_600`. Pure.

`<head>(_<key>-<value>)*(_<epochs>)`: keys are fields of a study's settings, in their order; what
has its default value is left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perturb.errors import PerturbError, did_you_mean

NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"

# Cyrillic and Greek letters that are drawn as Latin ones.
_DRAWN_ALIKE = str.maketrans("асеорхуіѕԁмтгαορνυ", "aceopxyisdmtraopvu")


def wrong_letter(text: str) -> str:
    """Say which character of a name is none of those that names are made of, "" where all are.

    That is a space, and what may only look like one of them.
    """
    for character in text:
        if character.isspace():
            return "a name has no spaces"
        if not character.isascii():
            called = unicodedata.name(character, "no character with a name")
            return f"'{character}' is {called} (U+{ord(character):04X}), whatever it looks like"
    return ""


def as_drawn(text: str) -> str:
    """Return a name in small ASCII letters, with what looks like one of them replaced by it."""
    same = unicodedata.normalize("NFKC", text).lower().translate(_DRAWN_ALIKE)
    return "".join(same.split())


def number(value: float) -> str:
    """Return the shortest text that reads back to exactly `value`: `0.05`, `2e-4`, `1e6`.

    Of two equally short ones the one without an exponent; counts below a million stay as they are
    (`2000`). PerturbError for infinity and NaN.
    """
    if value != value or value in (float("inf"), float("-inf")):
        raise PerturbError(f"a run's name cannot hold the number {value}: give a finite one.")
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    text = repr(float(value)).removesuffix(".0")
    digits, _, power = text.partition("e")
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    whole, _, fraction = digits.partition(".")
    exponent = int(power or 0) - len(fraction)
    mantissa = (whole + fraction).lstrip("0")
    stripped = mantissa.rstrip("0")
    exponent += len(mantissa) - len(stripped)
    shifted = f"{sign}{stripped}e{exponent}"
    plain = f"{value:.17f}".rstrip("0").rstrip(".") if power else text
    candidates = [c for c in (plain, text, shifted) if re.fullmatch(NUMBER, c)]
    candidates = [c for c in candidates if float(c) == value]
    return min(candidates, key=lambda c: (len(c), "e" in c))


def value_text(value: bool | float | str) -> str:
    """Return a setting's value as it stands in a name; PerturbError for text that cannot."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(value)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.]*", value) or re.fullmatch(NUMBER, value):
        raise PerturbError(
            f"'{value}' cannot stand in a run's name: lower-case letters, digits and points only."
        )
    return value


def format(
    head: str, values: Mapping[str, Any], defaults: Mapping[str, Any], epochs: int | None = None
) -> str:
    """Return the one spelling of a run's name; `parse` reads it back.

    Args:
        head: its first word.
        values: the settings that a name may hold.
        defaults: the same keys in the order of the name; a setting that has no default is None.
        epochs: stands last, where runs have epochs.
    """
    parts = [
        f"{key}-{value_text(values[key])}"
        for key, default in defaults.items()
        if values[key] != default
    ]
    return "_".join([head, *parts, *([] if epochs is None else [str(epochs)])])


def parse(
    text: str, head: str, defaults: Mapping[str, Any], *, has_epochs: bool = True
) -> tuple[dict[str, Any], int | None]:
    """Return the settings and the epochs of a name, whatever the spelling of its numbers.

    A value is of the type of its default, a number where that is None. Raises PerturbError that
    says which part does not parse, and shows the pattern.
    """
    if wrong := wrong_letter(text):
        raise PerturbError(f"'{text}' does not parse: {wrong}.")
    parts = text.split("_")
    if parts[0] != head:
        raise PerturbError(f"'{text}' does not parse: its first word is not '{head}'.")
    pattern = "_".join([head, *(f"{key}-<{key}>" for key in defaults)])
    pattern += "_<epochs>" if has_epochs else ""
    del parts[0]
    epochs = None
    if has_epochs:
        if not parts or not re.fullmatch(r"[1-9][0-9]*", parts[-1], re.ASCII):
            raise PerturbError(
                f"'{text}' does not parse: it ends with the number of epochs, {pattern}."
            )
        epochs = int(parts.pop())
    found: dict[str, Any] = {}
    for part in parts:
        key, separator, value = part.partition("-")
        if not separator or key not in defaults:
            raise PerturbError(
                f"'{text}' does not parse: '{part}' is no setting of {head}; expected {pattern}."
                f"{did_you_mean(key, defaults)}"
            )
        if key in found:
            raise PerturbError(f"'{text}' does not parse: {key} stands twice.")
        found[key] = _value(text, key, value, defaults[key])
    missing = [key for key, default in defaults.items() if default is None and key not in found]
    if missing:
        raise PerturbError(f"'{text}' does not parse: {missing[0]} is missing; expected {pattern}.")
    return {key: found.get(key, default) for key, default in defaults.items()}, epochs


def _value(text: str, key: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value in ("true", "false"):
            return value == "true"
        raise PerturbError(f"'{text}' does not parse: {key} is true or false, not '{value}'.")
    if isinstance(default, str):
        return value
    if not re.fullmatch(NUMBER, value, re.ASCII) or float(value) in (float("inf"), -float("inf")):
        raise PerturbError(f"'{text}' does not parse: {key} is a finite number, not '{value}'.")
    found = float(value)
    if isinstance(default, int):
        if found != int(found):
            raise PerturbError(f"'{text}' does not parse: {key} is a whole number, not '{value}'.")
        return int(found)
    return found


@dataclass(frozen=True)
class Slug:
    """What a run's name says: its settings in the grammar's order, and its epochs if it has any."""

    head: str
    values: Mapping[str, Any]
    epochs: int | None


@dataclass(frozen=True)
class Grammar:
    """The names of one kind of run: their first word, their settings with defaults, their epochs.

    A setting whose default is None has to be given, and is a number.
    """

    head: str
    defaults: Mapping[str, Any]
    has_epochs: bool = True

    def parse(self, text: str) -> Slug:
        """Return what a name says; PerturbError where it does not parse."""
        return Slug(self.head, *parse(text, self.head, self.defaults, has_epochs=self.has_epochs))

    def format(self, slug: Slug) -> str:
        """Return the one spelling of a name; `parse` reads it back."""
        return format(self.head, slug.values, self.defaults, slug.epochs)
