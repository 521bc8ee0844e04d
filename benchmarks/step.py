"""One PUGD step against twice a plain forward and backward, and against per-parameter loops."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks._measuring import LoopedPUGD, spread
from perturb import models, optim

CASES = (
    # model, image size, channels, batch, threads (as the studies train), repeats, expected ratio
    ("cnn", 8, 1, 100, 1, 300, "at most 1.15"),
    ("cnn", 8, 1, 100, 2, 300, ""),
    ("resnet18", 32, 3, 100, 2, 12, "at most 1.05"),
)


def measure(
    model_name: str, size: int, channels: int, batch: int, threads: int, repeats: int
) -> dict[str, list[float]]:
    """Return seconds of each way, a list each, the ways taken in turn within one run."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, channels, size, size, generator=generator)
    labels = torch.randint(0, 10, (batch,), generator=generator)

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return models.build(model_name, 10, size, channels).train()

    def closure_of(model: nn.Module) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            model.zero_grad()
            loss = cross_entropy(model(inputs), labels)
            loss.backward()
            return loss

        return closure

    plain, ours, in_run, looped = fresh(), fresh(), fresh(), fresh()
    optimizer = optim.build("pugd_100", ours.parameters(), model=ours)
    of_run = optim.build("pugd_100", in_run.parameters(), model=in_run)
    loops = LoopedPUGD(list(looped.parameters()))
    plain_closure, our_closure, run_closure, looped_closure = map(
        closure_of, (plain, ours, in_run, looped)
    )

    def twice() -> None:
        plain_closure()
        plain_closure()

    ways = {
        "twice forward and backward": twice,
        "perturb": lambda: optimizer.step(our_closure),
        "perturb, as a run steps": lambda: of_run.advance(run_closure),
        "per-parameter loops": lambda: loops.step(looped_closure),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repeat:  # the first is a warm-up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def run() -> list[dict]:
    """Return a row a measure: a PUGD step's time as a ratio of the floor's, per model."""
    rows = []
    for model_name, size, channels, batch, threads, repeats, expected in CASES:
        seconds = measure(model_name, size, channels, batch, threads, repeats)
        floor = seconds["twice forward and backward"]
        for way in (name for name in seconds if name != "twice forward and backward"):
            ratios = [a / b for a, b in zip(seconds[way], floor, strict=True)]
            rows.append(
                {
                    "benchmark": "step",
                    "what": f"PUGD step, {model_name}, batch {batch}, threads {threads}: {way}",
                    "value": statistics.median(seconds[way]) * 1e3,
                    "unit": "ms",
                    "ratio": statistics.median(ratios),
                    "spread": spread(ratios),
                    "against": "twice forward and backward, in turn",
                    "expected": expected if way.startswith("perturb") else "",
                }
            )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
