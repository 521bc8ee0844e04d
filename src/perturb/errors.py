"""The one exception that a user's mistake raises, and the help that its message carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PerturbError(Exception):
    """Something a user can mend. The message says what is wrong, where, and what to do."""


# Share of the letters that two words have in common, in order, to be taken for one: at 0.5,
# `partial_data` was offered for `learning_rat`.
NEAR = 0.6
MOST = 20  # names that one message lists


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate spelled most like `name`, or None where none comes near."""
    matches = difflib.get_close_matches(str(name), [str(c) for c in candidates], n=1, cutoff=NEAR)
    return matches[0] if matches else None


def similarity(one: str, other: str) -> float:
    """Return the share of the letters that two words have in common, in order, from 0 to 1."""
    return difflib.SequenceMatcher(None, other, one).ratio()


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest candidate, or else the list of them.

    `name` itself, which is what is wrong, is none of them; nothing where there is no other.
    """
    candidates = [text for text in map(str, candidates) if text != str(name)]
    match = closest(name, candidates)
    if match or not candidates:
        return f" Did you mean '{match}'?" if match else ""
    more = f" and {len(candidates) - MOST} more" if len(candidates) > MOST else ""
    return f" Choose from: {', '.join(candidates[:MOST])}{more}."
