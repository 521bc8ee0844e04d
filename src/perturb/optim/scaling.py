"""Steps of a closure that scales its loss for float16 (`torch.amp.GradScaler`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch


class Overflow(Exception):
    """A scaled gradient was not finite: the scale is too large for this batch."""


class Unscaler:
    """Divides the gradients of each pass of one step by the scaler's scale.

    A scaler divides an optimiser's gradients once between two updates, so each pass is shown to it
    as an optimiser of its own; its `update` then knows of an overflow in any of them. It knows them
    by their `id`, so they live until the optimiser's next step.

    Args:
        scaler: of the caller; None where nothing is scaled.
        optimizer: whose step it is.
        has_closure: whether the step has one; without it the caller may have divided already.
    """

    def __init__(self, scaler: Any, optimizer: torch.optim.Optimizer, has_closure: bool) -> None:
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.optimizer, self.has_closure = optimizer, has_closure
        self.passes: list[_Pass] = []

    def unscale(self) -> None:
        """Divide the gradients that are there; Overflow where one is not finite."""
        if self.scaler is None:
            return
        groups = self.optimizer.param_groups
        if self.has_closure:
            self.passes.append(_Pass(groups))
            self.scaler.unscale_(self.passes[-1])
        else:
            with suppress(RuntimeError):  # the caller has divided them, to clip them perhaps
                self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for g in groups for p in g["params"] if p.grad is not None]
        if not all(bool(g.isfinite().all()) for g in map(_values, gradients)):
            raise Overflow


class _Pass:
    """What a scaler asks of an optimiser."""

    def __init__(self, param_groups: Sequence[Mapping[str, Any]]) -> None:
        self.param_groups = param_groups


def _values(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient
