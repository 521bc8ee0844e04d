"""Words that messages share."""

from __future__ import annotations


def plural(count: int, one: str, several: str | None = None) -> str:
    """Return a count with its noun: `1 run`, `2 runs`."""
    return f"{count} {one if count == 1 else several or one + 's'}"
