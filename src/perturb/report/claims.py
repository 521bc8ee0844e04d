"""How many of a chapter's claims come out, do not, or are open: a sentence for its words."""

from __future__ import annotations

from collections.abc import Iterable

YES, NO, OPEN = "comes out", "does not come out", "open"
_SEVERAL = {YES: "come out", NO: "do not come out"}


def counted(verdicts: Iterable[str], source: str, why_open: str = "") -> str:
    """Return a sentence that counts the verdicts on claims of `source`, each kind by itself.

    A claim that is open neither comes out nor fails to: `why_open` says why it is.
    """
    found = list(verdicts)
    kinds = [kind for kind in dict.fromkeys((YES, NO, OPEN, *found)) if kind in found]
    if kinds == [OPEN]:
        which = f"All {len(found)} claims" if len(found) > 1 else "The one claim"
        return f"{which} of {source} {'are' if len(found) > 1 else 'is'} open: {why_open}."
    parts = [_part(found.count(kind), kind, why_open) for kind in kinds]
    return f"Of {len(found)} claim{'' if len(found) == 1 else 's'} of {source}: {', '.join(parts)}."


def _part(number: int, kind: str, why_open: str) -> str:
    if kind == OPEN:
        return f"{number} {'is' if number == 1 else 'are'} open ({why_open})"
    return f"{number} {kind if number == 1 else _SEVERAL.get(kind, kind)}"
