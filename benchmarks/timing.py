"""Seconds of a piece of work, and what the machine can do at best."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def timed(way: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that `way` takes, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    way()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Return the best rate of a square matrix product, FLOPs a second."""
    best = 0.0
    for size in (512, 1024, 2048) if device.type == "cpu" else (4096, 8192):
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        for _ in range(5):
            seconds = timed(lambda a=a, b=b: a @ b, device)
            best = max(best, 2 * size**3 / seconds)
    return best


def copy_rate(device: torch.device) -> float:
    """Return the best rate of reading and writing memory, bytes a second."""
    source = torch.empty(2**26, device=device)
    target = torch.empty_like(source)
    return max(
        2 * 4 * source.numel() / timed(lambda: target.copy_(source), device) for _ in range(5)
    )
