"""From bytes to text, and from a cell of text to a number: nothing is guessed silently."""

from __future__ import annotations

import codecs
import math
import re
from typing import Any

Cell = float | str | None  # a number, text that is none, or nothing

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PLAIN = re.compile(rf"({_NUMBER})\s*(%?)")
_COMMA = re.compile(r"([-+]?\d*,\d+(?:[eE][-+]?\d+)?)\s*(%?)")
# What str() makes of a framework's scalar: tensor(0.91, device='cuda:0'), np.float64(0.91), [0.91].
_WRAPPED = re.compile(rf"(?:[\w.]+\(|\[)\s*({_NUMBER}|nan|inf|-inf)\s*(?:,.*)?[\])]")
_BLANK = {"", "none", "null", "na", "n/a", "-", "--", "<na>"}
_SPECIAL = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "1.#inf": math.inf}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Unreadable(Exception):
    """A file without the curves that were asked for; `kind` is that of its finding."""

    def __init__(self, text: str, kind: str = "unreadable") -> None:
        super().__init__(text)
        self.kind = kind


def decode(content: bytes) -> str:
    """Return a file's text: by its byte-order mark, else UTF-8, UTF-16 or Windows' Latin letters.

    Raises Unreadable where it is no text. Line ends become Unix ones.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        encoding = _unmarked(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not text: {error}") from None
    if "\0" in text:
        raise Unreadable(f"is not text: a zero byte at character {text.index(chr(0))}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unmarked(content: bytes) -> str:
    """Return the encoding of bytes without a mark."""
    if b"\0" in content[:200]:  # every other byte of Latin letters in UTF-16 is zero
        odd, even = content[1:200:2].count(0), content[0:200:2].count(0)
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def to_cell(value: Any, comma: bool = False) -> tuple[Cell, bool]:
    """Return what a cell or a JSON value holds, and whether it bears a percent sign.

    `comma` reads 0,9136 as a number. Numbers that a framework has wrapped are unwrapped; booleans
    and everything else that is no number are text.
    """
    if value is None:
        return None, False
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return repr(value), False
    if isinstance(value, int | float):
        return _float(value), False
    text = value.strip().strip("\"'").strip()
    lower = text.lower()
    if lower in _BLANK:
        return None, False
    if lower.lstrip("+-") in _SPECIAL:
        sign = -1.0 if lower.startswith("-") else 1.0
        return sign * _SPECIAL[lower.lstrip("+-")], False
    match = _PLAIN.fullmatch(text)
    if match is None and comma and (match := _COMMA.fullmatch(text)):
        return float(match[1].replace(",", ".")), bool(match[2])
    if match is None and (match := _WRAPPED.fullmatch(text)):
        return float(match[1]), False
    return (float(match[1]), bool(match[2])) if match else (text, False)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of JSON may be of any length
        return math.inf if value > 0 else -math.inf
