"""A fine-tuning step of ViT-B at 32x32, batch 32, against a plain loop of timm and torch's SGD.

In time, each way in turn with the plain one; and in memory, as copies of the weights beside them
and their gradients, each way in a process of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks._measuring import largest_resident_bytes, spread, timed
from perturb import models, optim

NAME, BATCH, THREADS, REPEATS = "vit", 32, 2, 7
SECONDS = 300  # the whole, on two cores
QUICK = {"repeats": 2, "memory": False}
SETTINGS = {"lr": 0.001, "momentum": 0.9, "weight_decay": 5e-4}
PLAIN = "plain timm loop, torch's SGD"
WAYS = {
    "SGD step": ("sgd_200", False, "at most 1.05"),
    "SGD step, lean": ("sgd_200", True, "at most 1.05"),
    "PUGD step": ("pugd_200", False, "at most 2.1"),
    "PUGD step, lean": ("pugd_200", True, "at most 2.1"),
}
Step = Callable[[], object]


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return models.build(NAME, 10, 32).to(device()).train()


def closure_of(model: nn.Module, batch: int) -> Callable[[], Tensor]:
    inputs = torch.randn(batch, 3, 32, 32, device=device())
    labels = torch.randint(0, 10, (batch,), device=device())

    def closure() -> Tensor:
        model.zero_grad()
        loss = cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    return closure


def plain(batch: int, steps: bool = True) -> Step:
    """timm's network and torch's optimiser; without `steps` forward and backward alone."""
    torch.manual_seed(0)
    made = timm.create_model("vit_base_patch16_224", img_size=32, patch_size=8, num_classes=10)
    model = made.to(device()).train()
    closure = closure_of(model, batch)
    optimizer = torch.optim.SGD(model.parameters(), **SETTINGS) if steps else None

    def step() -> None:
        closure()
        if optimizer is not None:
            optimizer.step()

    return step


def ours(method: str, lean: bool, batch: int) -> Step:
    model = network()
    optimizer = optim.build(method, model.parameters(), **SETTINGS, model=model, lean=lean)
    closure = closure_of(model, batch)
    return lambda: optimizer.advance(closure)


def peak(method: str | None, lean: bool) -> int:
    """Return the bytes that steps of a way need at most, in this process; None is no optimiser."""
    torch.set_num_threads(THREADS)
    step = plain(1, steps=False) if method is None else ours(method, lean, 1)
    for _ in range(3):
        step()
    if device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    return largest_resident_bytes()


def copies() -> dict[str, float]:
    """Return how many vectors of the weights' size each way needs beside weights and gradients."""
    found = {}
    for what, (method, lean, _) in {"": (None, False, ""), **WAYS}.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found[what] = process.submit(peak, method, lean).result()
    with torch.device("meta"):
        size = sum(p.numel() for p in models.build(NAME, 10, 32).parameters()) * 4
    return {what: (value - found[""]) / size for what, value in found.items() if what}


def run(repeats: int = REPEATS, memory: bool = True) -> list[dict]:
    """Return two rows per way: its time as a ratio of the plain loop's, and its copies.

    Without `memory` there are no copies, whose processes take most of the time.
    """
    torch.set_num_threads(THREADS)
    base = plain(BATCH)
    rows = []
    for what, (method, lean, expected) in WAYS.items():
        way = ours(method, lean, BATCH)
        seconds: list[tuple[float, float]] = []
        for repeat in range(repeats + 1):
            pair = timed(base, device()), timed(way, device())
            if repeat:  # the first is a warm-up
                seconds.append(pair)
        del way
        ratios = [own / theirs for theirs, own in seconds]
        rows.append(
            {
                "what": f"ViT-B/8 at 32x32, batch {BATCH}, {device().type}: {what}",
                "value": 1000 * statistics.median(own for _, own in seconds),
                "unit": "ms",
                "ratio": statistics.median(ratios),
                "spread": spread(ratios),
                "repeats": repeats,
                "against": PLAIN,
                "expected": expected,
            }
        )
    for what, count in (copies() if memory else {}).items():
        bound = "at most 3, and a layer's gradient" if "lean" in what else ""
        rows.append(
            {
                "what": f"ViT-B/8, memory beside weights and gradients: {what}",
                "value": count,
                "unit": "copies of the weights",
                "expected": bound,
            }
        )
    return [{"benchmark": "finetuning"} | row for row in rows]
