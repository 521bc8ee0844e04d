"""A step with the distance term against one of plain SGD, for 1, 3 and 10 checkpoints, in turn.

Beside it the plain way: a Python loop over named parameters, the term in the loss, by autograd.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks._measuring import spread
from perturb import models, optim
from perturb.optim import Repulsion

PLAIN = "SGD step"
COUNTS = (1, 3, 10)
STRENGTH, WIDTH = 10.0, 1e-3
CASES = (
    # model, image size, channels, batch, threads, repeats, whether a bound is expected
    ("mlp", 28, 1, 128, 1, 100, False),
    ("resnet32", 32, 3, 128, 2, 6, False),
    ("mobilenetv2", 32, 3, 128, 2, 5, True),
)
SECONDS = 120  # the whole, on two cores
QUICK = {"cases": (("mlp", 28, 1, 128, 1, 20, False), ("resnet32", 32, 3, 128, 2, 2, False))}


class Looped:
    """The term as it is usually written: in the loss, by a loop over the named parameters."""

    def __init__(self, model: nn.Module, count: int) -> None:
        self.model = model
        self.stored = [_moved(model, at) for at in range(count)]

    def value(self) -> Tensor:
        terms = []
        for stored in self.stored:
            distance = torch.zeros(())
            for name, parameter in self.model.named_parameters():
                distance = distance + ((parameter - stored[name]) ** 2).sum()
            terms.append(torch.exp(-WIDTH * distance))
        return STRENGTH * torch.stack(terms).mean()


def _moved(model: nn.Module, at: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(at)
    return {
        name: parameter.detach() + 0.01 * torch.randn(parameter.shape, generator=generator)
        for name, parameter in model.named_parameters()
    }


def measure(
    model_name: str, size: int, channels: int, batch: int, threads: int, repeats: int
) -> dict[str, list[float]]:
    """Return seconds of each way, a list each, the ways taken in turn."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, channels, size, size, generator=generator)
    labels = torch.randint(0, 10, (batch,), generator=generator)
    torch.manual_seed(0)
    model = models.build(model_name, 10, size, channels).train()
    # A rate of 0: every way does its whole work, at the same weights.
    optimizer = optim.build("sgd_1", model.parameters(), 0.0, learning_rate_schedule="constant")

    def loss_of(more: Callable[[], Tensor] | None = None) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            model.zero_grad()
            loss = cross_entropy(model(inputs), labels)
            if more:
                loss = loss + more()
            loss.backward()
            return loss

        return closure

    def repelled(count: int) -> Repulsion:
        term = Repulsion(STRENGTH, WIDTH)
        for at in range(count):
            stored = _moved(model, at)
            term.store(torch.cat([stored[n].reshape(-1) for n, _ in model.named_parameters()]))
        return term

    ways: dict[str, tuple[list[Repulsion], Callable[[], Tensor]]] = {PLAIN: ([], loss_of())}
    for count in COUNTS:
        ways[f"with {count} checkpoints"] = ([repelled(count)], loss_of())
        ways[f"with {count} checkpoints, loop and autograd"] = (
            [],
            loss_of(Looped(model, count).value),
        )
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, (terms, closure) in ways.items():
            optimizer.terms = terms
            start = time.perf_counter()
            optimizer.advance(closure)
            if repeat:  # the first is a warm-up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def run(cases: tuple = CASES) -> list[dict]:
    """Return one row per way and model: a step's time as a ratio of plain SGD's."""
    rows = []
    for model_name, size, channels, batch, threads, repeats, bound in cases:
        before = torch.get_num_threads()
        seconds = measure(model_name, size, channels, batch, threads, repeats)
        torch.set_num_threads(before)
        for way, own in seconds.items():
            ratios = [a / b for a, b in zip(own, seconds[PLAIN], strict=True)]
            count = next((c for c in COUNTS if way == f"with {c} checkpoints"), None)
            rows.append(
                {
                    "benchmark": "repulsion",
                    "what": f"step {way}: {model_name}, batch {batch}, threads {threads}"
                    if way != PLAIN
                    else f"{way}: {model_name}, batch {batch}, threads {threads}",
                    "value": statistics.median(own) * 1e3,
                    "unit": "ms",
                    "ratio": None if way == PLAIN else statistics.median(ratios),
                    "spread": None if way == PLAIN else spread(ratios),
                    "repeats": repeats,
                    "against": "" if way == PLAIN else f"{PLAIN}, in turn",
                    "expected": f"at most {1.02 + 0.01 * count:.2f}" if bound and count else "",
                }
            )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
