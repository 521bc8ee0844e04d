"""The one exception that a user's mistake raises, and the help that its message carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PerturbError(Exception):
    """Something a user can mend. The message says what is wrong, where, and what to do."""


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate spelled most like `name`, or None where none comes near."""
    matches = difflib.get_close_matches(str(name), [str(c) for c in candidates], n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest candidate, or else the list of all of them.

    `name` itself, which is what is wrong, is none of them; nothing where there is no other.
    """
    candidates = [text for text in map(str, candidates) if text != str(name)]
    match = closest(name, candidates)
    if match or not candidates:
        return f" Did you mean '{match}'?" if match else ""
    return f" Choose from: {', '.join(candidates)}."
