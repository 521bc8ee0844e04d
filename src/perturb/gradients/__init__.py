"""Estimates of the gradient of a discrete network: coordinate differences, evolution, STE.

    cdg(model, loss, eps)                         one weight at a time, exactly
    nes(model, loss, sigma, samples, kind=...)    natural evolution strategies, and SPSA

`loss` maps the model to its mean loss. The estimates come by the names of its parameters. Both are
imported when they are asked for: Snakemake reads this package's settings without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perturb.gradients.coordinate import cdg
    from perturb.gradients.evolution import nes

__all__ = ["cdg", "nes"]
_MODULES = {"cdg": "coordinate", "nes": "evolution"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
