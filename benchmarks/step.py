"""A step of PUGD and of SAM against twice a plain forward and backward, in turn.

Beside it PUGD as loops over the parameters, and the SAM of PyPI's `pytorch_optimizer`; both rules
on AdamW, and as loops around torch's AdamW; and Nesterov's momentum, ours and torch's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_optimizer import SAM
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks._measuring import LoopedPUGD, LoopedRule, spread
from perturb import models, optim

FLOOR = "twice forward and backward"
EXPECTED = (
    "PUGD step, perturb",
    "PUGD step, perturb as a run steps",
    "PUGD step on AdamW, perturb",
    "SAM step on AdamW, perturb",
)
ADAMW = {"lr": 1e-3, "weight_decay": 0.01}
CASES = (
    # model, image size, channels, batch, threads (as the studies train), repeats, expected ratio
    ("cnn", 8, 1, 100, 1, 300, "at most 1.15"),
    ("cnn", 8, 1, 100, 2, 300, ""),
    ("resnet18", 32, 3, 100, 2, 12, "at most 1.05"),
)
SECONDS = 240  # the whole, on two cores
QUICK = {"cases": (("cnn", 8, 1, 100, 1, 60, "at most 1.15"),)}


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

    def step_of(make: Callable[[nn.Module], Any], way: str = "step") -> Callable[[], object]:
        model = fresh()
        step, closure = getattr(make(model), way), closure_of(model)
        return lambda: step(closure)

    def peer(model: nn.Module) -> SAM:
        settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
        return SAM(model.parameters(), torch.optim.SGD, rho=0.05, foreach=True, **settings)

    def ours(name: str, **options: Any) -> Callable[[nn.Module], optim.PerturbedOptimizer]:
        return lambda model: optim.build(name, model.parameters(), model=model, **options)

    def plain_adamw(rule: str) -> Callable[[nn.Module], LoopedRule]:
        return lambda model: LoopedRule(rule, torch.optim.AdamW(model.parameters(), **ADAMW))

    def plain_nesterov(model: nn.Module) -> torch.optim.Optimizer:
        settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
        return torch.optim.SGD(model.parameters(), **settings)

    peers_model = fresh()
    peers_closure, peers_step = closure_of(peers_model), peer(peers_model).step

    def peers() -> None:
        peers_closure()
        peers_step(peers_closure)

    plain_closure = closure_of(fresh())

    def twice() -> None:
        plain_closure()
        plain_closure()

    ways = {
        FLOOR: twice,
        "PUGD step, perturb": step_of(ours("pugd_100")),
        "PUGD step, perturb as a run steps": step_of(ours("pugd_100"), "advance"),
        "PUGD step, per-parameter loops": step_of(lambda m: LoopedPUGD(list(m.parameters()))),
        "SAM step, perturb": step_of(ours("sam_0.05_100")),
        "SAM step, pytorch_optimizer": peers,
        "PUGD step on AdamW, perturb": step_of(ours("pugd_100", base="adamw", **ADAMW), "advance"),
        "PUGD step on AdamW, loops around torch's": step_of(plain_adamw("pugd")),
        "SAM step on AdamW, perturb": step_of(
            ours("sam_0.05_100", base="adamw", **ADAMW), "advance"
        ),
        "SAM step on AdamW, loops around torch's": step_of(plain_adamw("sam")),
        "SGD step, Nesterov, perturb": step_of(ours("sgd_100", nesterov=True), "advance"),
        "SGD step, Nesterov, torch": step_of(plain_nesterov),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repeat:  # the first is a warm-up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def run(cases: tuple = CASES) -> list[dict]:
    """Return one row per way and model: a step's time as a ratio of the floor's."""
    rows = []
    for model_name, size, channels, batch, threads, repeats, expected in cases:
        seconds = measure(model_name, size, channels, batch, threads, repeats)
        floor = seconds.pop(FLOOR)
        for way in seconds:
            ratios = [a / b for a, b in zip(seconds[way], floor, strict=True)]
            rows.append(
                {
                    "benchmark": "step",
                    "what": f"{way}: {model_name}, batch {batch}, threads {threads}",
                    "value": statistics.median(seconds[way]) * 1e3,
                    "unit": "ms",
                    "ratio": statistics.median(ratios),
                    "spread": spread(ratios),
                    "repeats": repeats,
                    "against": f"{FLOOR}, in turn",
                    "expected": expected if way in EXPECTED else "",
                }
            )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
