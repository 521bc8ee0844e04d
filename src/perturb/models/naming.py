"""Names that a described model may have (`perturb.models.described.PATTERN`). Without torch."""

from __future__ import annotations

import re

from perturb.models import libraries
from perturb.models.described import PATTERN


def may_be(name: str) -> bool:
    """Return whether a described model may be called so."""
    return bool(re.fullmatch(PATTERN, name)) and not libraries.split(name)[0]


def suggested(*words: str) -> str:
    """Return a name made of `words` that a described model may have: `my-cnn` for `my_cnn`."""
    parts: list[str] = []
    for part in re.findall(r"[a-z0-9.]+", "-".join(words).lower()):
        if part[0].isalpha():
            parts.append(part)
        elif parts:
            parts[-1] += part  # no word begins with a digit
    name = "-".join(parts)
    if len(parts) < 2 or libraries.split(name)[0]:
        name = f"own-{name or 'model'}"
    return name
