"""Timing rules replayed on stored curves: does a file's trigger epoch follow from its losses?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perturb.audit.findings import Finding
from perturb.audit.reading import ResultFile

# What a rule looks at; `var` needs the norms of gradients, which no result file has.
NEEDS = {
    "at": (),
    "delta": ("train_loss", "test_loss"),
    "accdrop": ("test_accuracy",),
    "accrate": ("test_accuracy",),
}
NEVER = -1


def check_timings(files: Sequence[ResultFile]) -> list[Finding]:
    """Return a finding for every file whose trigger epoch its own curves do not give."""
    findings = []
    for file in files:
        replayed = replay(file)
        if replayed is None:
            continue
        stated = file.trigger_epoch
        if stated is None:
            if replayed == NEVER:
                text = f"by its own curves, {file.method.timing.kind} never triggers"
                findings.append(Finding(file.path, "never_triggered", text))
        elif not agrees(stated, replayed):
            findings.append(Finding(file.path, "trigger", _said(file, stated, replayed)))
    return findings


def replay(file: ResultFile) -> int | None:
    """Return the epoch at whose end the rule triggers by the file's curves; NEVER, or None.

    None where the file has no rule that can be replayed, or not every value that the rule reads.
    """
    timing = file.method.timing if file.method else None
    if timing is None or timing.kind not in NEEDS:
        return None
    if timing.kind == "at":
        return int(timing.parameters["epoch"]) - 1
    curves = {name: file.curve(name) for name in NEEDS[timing.kind]}
    if any(curve is None or not np.isfinite(curve).all() for curve in curves.values()):
        return None
    from perturb.optim.timing import Epoch, trigger  # its package waits for torch

    rule = trigger(timing)
    for index in range(len(file.curves)):
        train, test, accuracy = (
            float(curves[name][index]) if name in curves else 0.0
            for name in ("train_loss", "test_loss", "test_accuracy")
        )
        if rule.observe(Epoch(index, train, test, accuracy, ())):
            return index
    return NEVER


def agrees(stated: float, replayed: int) -> bool:
    """Return whether an epoch is the replayed one: it may be the one that ended, or the next."""
    if replayed == NEVER or stated < 0:
        return replayed == NEVER and stated < 0
    return stated in (replayed, replayed + 1)


def _said(file: ResultFile, stated: float, replayed: int) -> str:
    follows = "never triggers" if replayed == NEVER else f"triggers at the end of epoch {replayed}"
    says = "never came" if stated < 0 else f"came at epoch {stated:g}"
    kind = file.method.timing.kind
    return f"the file says that the switch {says}; by its own curves, {kind} {follows}"
