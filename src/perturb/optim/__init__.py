"""Update rules that perturb the weights, usable alone as torch optimisers."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from perturb.names import parse
from perturb.optim.optimizer import PerturbedOptimizer
from perturb.optim.repulsion import Repulsion

__all__ = ["PerturbedOptimizer", "Repulsion", "build"]


def build(
    name: str,
    params: Iterable[Any],
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    *,
    base: str = "sgd",
    **options: Any,
) -> PerturbedOptimizer:
    """Return the optimiser that a method's name asks for.

    Args:
        name: e.g. `pugdr_isin_2_0.01_400`; raises PerturbError where it does not parse.
        params: of the model, or parameter groups.
        lr, momentum, weight_decay, base, options: see `PerturbedOptimizer`.

    Example:
        optimizer = build("sam_0.05_30", model.parameters())
        # or build("sam_0.05_30", model.parameters(), 1e-3, weight_decay=0.01, base="adamw")
        for epoch in range(30):
            optimizer.set_epoch(epoch)
            for batch in batches:
                optimizer.step(closure)
    """
    method = parse(name)
    rule = import_module(f"perturb.optim.rules.{method.rule}").Rule
    return rule(params, method, lr, momentum, weight_decay, base=base, **options)
