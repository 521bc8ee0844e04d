"""Batch-norm running statistics see each batch once, however many passes a step makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module is PyTorch's own batch-norm; one derived from it may do anything."""
    return type(module) in _KINDS


@contextmanager
def running_statistics_frozen(batch_norms: Iterable[nn.Module]) -> Iterator[None]:
    """Leave the running mean, variance and count of these batch-norms as they are in this block.

    One in training mode normalises by its batch, one in evaluation mode by its running
    statistics, as before.
    """
    tracked = [module for module in batch_norms if module.track_running_stats]
    try:
        for module in tracked:
            module.track_running_stats = False
        yield
    finally:
        for module in tracked:
            module.track_running_stats = True
