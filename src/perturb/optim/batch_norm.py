"""Batch-norm running statistics see each batch once, however many passes a step makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_pre_hook


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch-norms of a model."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def running_statistics_frozen(modules: Iterable[nn.Module] | None = None) -> Iterator[None]:
    """Leave every batch-norm's running mean, variance and count as they are in this block.

    Those among `modules`, or without them of whatever modules run in the block, so that an
    optimiser needs no reference to the model (a compiled one it needs: its modules are not
    called). A batch-norm in training mode whose `track_running_stats` is off normalises by its
    batch as before and updates nothing.
    """
    tracked: list[_BatchNorm] = []

    def freeze(module: nn.Module, _: Any = None) -> None:
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats:
            module.track_running_stats = False
            tracked.append(module)

    hook = None
    if modules is None:
        hook = register_module_forward_pre_hook(freeze)
    else:
        for module in modules:
            freeze(module)
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()
        for module in tracked:
            module.track_running_stats = True
