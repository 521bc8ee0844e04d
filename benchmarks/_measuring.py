"""What several benchmarks measure with: clocks, spreads, rates, a run's settings, the plain way."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perturb.data import DATASETS
from perturb.train.determinism import make_deterministic

DATA_ROOT = Path(__file__).resolve().parent.parent / "resources" / "data"
CIFAR10_FILES = (
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar.gz",
)


def cifar10() -> tuple[np.ndarray, np.ndarray, str]:
    """Return 50,000 images uint8 [N, 32, 32, 3], their labels, and what they are.

    CIFAR-10 where resources/data or the folder PERTURB_TEST_DATA has it, else random images of its
    shape.
    """
    for root in (DATA_ROOT, Path(os.environ.get("PERTURB_TEST_DATA", DATA_ROOT))):
        if any((root / name).exists() for name in CIFAR10_FILES):
            images = DATASETS["cifar10"].read(root, allow_partial=False)
            return images.train_images, images.train_labels, "CIFAR-10"
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (50_000, 32, 32, 3), dtype=np.uint8)
    what = "random images, for neither resources/data nor PERTURB_TEST_DATA has CIFAR-10"
    return images, generator.integers(0, 10, 50_000), what


def largest_resident_bytes() -> int:
    """Return the largest resident size that this process has had.

    Linux's own mark where there is one: getrusage's is inherited from who started the process.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def as_in_a_run(threads: int) -> Iterator[None]:
    """Have a run's threads and deterministic algorithms in this block, and what was before after.

    The next benchmark then finds PyTorch as it would alone.
    """
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    flags = [
        (torch.utils.deterministic, "fill_uninitialized_memory"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.backends.cudnn, "allow_tf32"),
    ]
    values = [getattr(*flag) for flag in flags]
    make_deterministic(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        for flag, value in zip(flags, values, strict=True):
            setattr(*flag, value)


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


def spread(values: Sequence[float]) -> float | None:
    """Return the interquartile range, the range of two or three values; one value has none."""
    if len(values) < 2:
        return None
    if len(values) < 4:
        return max(values) - min(values)
    first, _, third = statistics.quantiles(values, n=4)
    return third - first


class LoopedPUGD:
    """PUGD as it is usually written: Python loops over the parameters, one operation each."""

    def __init__(self, params: list[Tensor], lr: float = 0.1) -> None:
        self.params, self.lr = params, lr
        self.momentum = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        with torch.enable_grad():
            loss = closure()
        first = [p.grad.clone() for p in self.params]
        saved = [p.clone() for p in self.params]
        norm = torch.stack([(p.abs() * p.grad).norm() for p in self.params]).norm()
        for p in self.params:
            p.add_(p.abs() * p.grad / (norm + 1e-12))
        with torch.enable_grad():
            closure()
        for p, old in zip(self.params, saved, strict=True):
            p.copy_(old)
        summed = [p.grad + g for p, g in zip(self.params, first, strict=True)]
        norm = torch.stack([u.norm() for u in summed]).norm()
        for p, u, v in zip(self.params, summed, self.momentum, strict=True):
            v.mul_(0.9).add_(u / (norm + 1e-12) + 5e-4 * p)
            p.sub_(self.lr * v)
        return loss


class LoopedRule:
    """SAM or PUGD around an optimiser of torch, as it is usually written: loops over parameters."""

    def __init__(self, rule: str, optimizer: torch.optim.Optimizer, rho: float = 0.05) -> None:
        self.rule, self.optimizer, self.rho = rule, optimizer, rho
        self.params = [p for group in optimizer.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        with torch.enable_grad():
            loss = closure()
        pugd = self.rule == "pugd"
        first = [p.grad.clone() for p in self.params]
        saved = [p.clone() for p in self.params]
        ascent = [p.abs() * g if pugd else g for p, g in zip(self.params, first, strict=True)]
        norm = torch.stack([a.norm() for a in ascent]).norm()
        for p, a in zip(self.params, ascent, strict=True):
            p.add_(a * ((1.0 if pugd else self.rho) / (norm + 1e-12)))
        with torch.enable_grad():
            closure()
        for p, old in zip(self.params, saved, strict=True):
            p.copy_(old)
        if pugd:
            for p, g in zip(self.params, first, strict=True):
                p.grad.add_(g)
            norm = torch.stack([p.grad.norm() for p in self.params]).norm()
            for p in self.params:
                p.grad.div_(norm + 1e-12)
        self.optimizer.step()
        return loss
