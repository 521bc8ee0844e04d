"""Snakemake's messages that say too little, or nothing that a reader needs, said otherwise.

A filter of Snakemake's logger, so that its own output, its log and `perturb.jobs.display` agree.
Without Snakemake: a logger is found by its name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from perturb.errors import closest

LOGGER = "snakemake.logging"
# One for each of the configuration's own files, where the command line gives another.
_EXTENDED = re.compile(r"Config file .+ is extended by additional config specified via")
_NO_RULE = re.compile(r"(?s).*\bNo rule to produce (.+?) \(if you use input functions")


def mend(targets: Callable[[], Iterable[str]]) -> None:
    """Mend Snakemake's messages from now on.

    `targets` returns files that can be asked for, of which one is offered for what nothing makes.
    """

    def is_shown(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if _EXTENDED.match(text):
            return False
        if found := _NO_RULE.match(text):
            record.msg, record.args = no_rule(found[1], targets()), ()
        return True

    logger = logging.getLogger(LOGGER)
    for known in [one for one in logger.filters if getattr(one, "__module__", "") == __name__]:
        logger.removeFilter(known)
    logger.addFilter(is_shown)


def no_rule(asked: str, targets: Iterable[str]) -> str:
    """Return the message for a target that nothing makes."""
    offered = nearest(asked, list(targets))
    hint = f" Did you mean '{offered}'?" if offered else ""
    return (
        f"perturb: nothing makes '{asked}'.{hint} A target is a rule (`snakemake "
        "--list-target-rules`) or a file below the results folder; `python -m perturb list` has "
        "the names that its path is made of."
    )


def nearest(asked: str, targets: list[str]) -> str | None:
    """Return the target spelled most like `asked`, or the first that has such a part or stem."""
    if found := closest(asked, targets):
        return found
    word = PurePosixPath(asked).name
    parts = {part for target in targets for part in _parts(target)}
    near = closest(word, parts)
    return next((target for target in targets if near in _parts(target)), None) if near else None


def _parts(target: str) -> list[str]:
    path = PurePosixPath(target)
    return [*path.parts[:-1], path.name, path.stem]
