"""Estimates of a sign network's gradient a second, against the plain ways, and the floor.

The coordinate gradient, factorised, against two forwards a weight: one after another, and 64
weights at once under `torch.func.vmap`. Brute force is timed on some weights and scaled to all.
Antithetic NES in evaluations of the loss a second against loops that evaluate one perturbed network
after another on the same batch: over a module, as notebooks have it, and over tensors, without what
a module costs. With one thread, as a run of the study has, and with all. Every way takes its turn;
the floor is FLOPs over the rate of matrix products, or bytes that must move once over the rate of a
copy, whichever is longer. Tables in place of products can be faster than that floor.

On a GPU: `python -m benchmarks gradients` on a machine that has one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks._measuring import copy_rate, matrix_rate, spread, timed
from perturb.gradients.coordinate import factorised
from perturb.gradients.evolution import estimates
from perturb.gradients.network import (
    AT_ONCE,
    SignNetwork,
    Weights,
    flatten,
    initial_weights,
    losses,
    normal_inputs,
    targets_of,
)
from perturb.gradients.stacked import StackedLoss

DIMENSIONS = (8, 16, 32, 64)
COORDINATE_SAMPLES = 4000
BRUTE_WEIGHTS = 64  # of the second layer are timed
NES_SAMPLES = (16000, 1500, 250)
LOOPED = {16000: 20, 1500: 100, 250: 200}  # evaluations that are timed of the loop
STACKED = {16000: 2000, 1500: 5000, 250: 20000}
REPEATS = 5
SECONDS = 600  # the whole, on two cores
QUICK = {"dimensions": (8, 16), "repeats": 2}
SIGMA = 0.1
EXPECTED = {
    ("coordinate", 32, COORDINATE_SAMPLES, "vmap"): "at least 100",
    ("nes", 16, 1500, "loop over a module"): "at least 20",  # as many samples as in the study
}


def problem(d: int, samples: int, device: torch.device) -> tuple[Weights, Tensor, Tensor]:
    weights = tuple(w.to(device) for w in initial_weights(d, 0, "evaluated"))
    target = tuple(w.to(device) for w in initial_weights(d, 0, "target"))
    inputs = normal_inputs(d, samples, 0, 0, "benchmark").to(device)
    return weights, inputs, targets_of(target, inputs)


def module_of(weights: Weights) -> SignNetwork:
    network = SignNetwork(weights[0].shape[1])
    for of_layer, weight in zip(network.layers, weights, strict=True):
        of_layer.weight.data = weight.clone()
    return network


def one_forward_a_weight(
    weights: Weights, inputs: Tensor, targets: Tensor, layer: int, count: int
) -> Tensor:
    """Return the first `count` entries of a layer's coordinate gradient, two forwards each."""
    found = torch.empty(count)
    flat = weights[layer].view(-1)
    for index in range(count):
        pair = []
        for step in (SIGMA, -SIGMA):
            flat[index] += step
            pair.append((targets_of(weights, inputs) - targets).square().mean().item())
            flat[index] -= step
        found[index] = (pair[0] - pair[1]) / (2 * SIGMA)
    return found


def vmapped(weights: Weights, inputs: Tensor, targets: Tensor, layer: int, count: int) -> Tensor:
    """Return the same, 64 weights at once under vmap."""
    network = module_of(weights)
    stacked = StackedLoss(network, lambda m: (m(inputs) - targets).square().mean())
    name, weight = f"layers.{layer}.weight", weights[layer]
    steps = SIGMA * torch.eye(weight.numel(), device=weight.device)[:count]
    pairs = [
        [stacked({name: weight + sign * part.view(-1, *weight.shape)}) for sign in (1, -1)]
        for part in steps.split(64)
    ]
    return torch.cat([plus - minus for plus, minus in pairs]) / (2 * SIGMA)


def coordinate(
    d: int, device: torch.device, floor: Callable[[float, float], float], repeats: int
) -> list[dict]:
    weights, inputs, targets = problem(d, COORDINATE_SAMPLES, device)
    total = 3 * d * d + d
    timed_weights = min(BRUTE_WEIGHTS, d * d)
    ways: dict[str, tuple[Callable[[], object], float]] = {
        "factorised": (lambda: factorised(weights, inputs, targets, [SIGMA]), 1.0),
        "loop": (
            lambda: one_forward_a_weight(weights, inputs, targets, 1, timed_weights),
            total / timed_weights,
        ),
        "vmap": (
            lambda: vmapped(weights, inputs, targets, 1, timed_weights),
            total / timed_weights,
        ),
    }
    seconds = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, (way, scale) in ways.items():
            if name != "factorised" and repeat not in (1, 2):
                continue  # minutes at d = 64
            taken = timed(way, device) * scale
            if repeat:
                seconds[name].append(taken)
    flops = COORDINATE_SAMPLES * (2 * d**3 + 20 * d**2)
    moved = 4 * COORDINATE_SAMPLES * (2 * d + 1)
    rows = [
        row(
            "coordinate", d, COORDINATE_SAMPLES, seconds, "factorised", "floor", floor(flops, moved)
        )
    ]
    rows += [
        row("coordinate", d, COORDINATE_SAMPLES, seconds, "factorised", name)
        for name in ("vmap", "loop")
    ]
    return rows


@torch.no_grad()
def looped_over_module(
    network: SignNetwork, inputs: Tensor, targets: Tensor, evaluations: int
) -> Tensor:
    """Return antithetic NES as it is usually written: perturb the module, take its loss."""
    centre = parameters_to_vector(network.parameters())
    total = torch.zeros_like(centre)
    for _ in range(evaluations // 2):
        noise = torch.randn_like(centre)
        pair = []
        for step in (SIGMA, -SIGMA):
            vector_to_parameters(centre + step * noise, network.parameters())
            pair.append((network(inputs) - targets).square().mean().item())
        total += (pair[0] - pair[1]) * noise
    vector_to_parameters(centre, network.parameters())
    return total / (evaluations * SIGMA)


@torch.no_grad()
def looped(weights: Weights, inputs: Tensor, targets: Tensor, evaluations: int) -> Weights:
    """Return the same without a module, layer by layer."""
    total = [torch.zeros_like(weight) for weight in weights]
    for _ in range(evaluations // 2):
        noise = [torch.randn_like(weight) for weight in weights]
        pair = []
        for step in (SIGMA, -SIGMA):
            hidden = inputs
            for weight, e in zip(weights[:-1], noise[:-1], strict=True):
                hidden = torch.sign(hidden @ (weight + step * e).T)
            error = (hidden @ (weights[-1] + step * noise[-1]).T)[:, 0] - targets
            pair.append(error.square().mean().item())
        for sum_, e in zip(total, noise, strict=True):
            sum_ += (pair[0] - pair[1]) * e
    return tuple(t / (evaluations * SIGMA) for t in total)


def nes(
    d: int,
    samples: int,
    device: torch.device,
    floor: Callable[[float, float], float],
    repeats: int,
) -> list[dict]:
    weights, inputs, targets = problem(d, samples, device)
    centre, network = flatten(weights), module_of(weights)
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    evaluate = partial(losses, inputs=inputs, targets=targets)

    ways = {
        "stacked": lambda: estimates(
            evaluate, centre, SIGMA, STACKED[samples], ["antithetic"], 0, AT_ONCE, threads
        ),
        "loop over a module": lambda: looped_over_module(network, inputs, targets, LOOPED[samples]),
        "loop": lambda: looped(weights, inputs, targets, LOOPED[samples]),
    }
    counts = dict.fromkeys(ways, LOOPED[samples]) | {"stacked": STACKED[samples]}
    seconds = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            taken = timed(way, device) / counts[name]
            if repeat:
                seconds[name].append(taken)
    least = floor(samples * 2 * (3 * d * d + d), 4 * len(centre))
    return [
        row("nes", d, samples, seconds, "stacked", "floor", least),
        *(row("nes", d, samples, seconds, "stacked", name) for name in ways if name != "stacked"),
    ]


def row(
    benchmark: str,
    d: int,
    samples: int,
    seconds: dict[str, list[float]],
    way: str,
    against: str,
    floor: float | None = None,
) -> dict:
    """Return a line of the table; `ratio` is above 1 where perturb is the faster."""
    rates = [1 / s for s in seconds[way]]
    ours = statistics.median(seconds[way])
    other = floor if floor is not None else statistics.median(seconds[against])
    what = "gradients" if benchmark == "coordinate" else "evaluations"
    count = torch.get_num_threads()
    expected = EXPECTED.get((benchmark, d, samples, against), "")
    return {
        "benchmark": f"gradients, {benchmark}",
        "what": f"{way}, d = {d}, {samples:,} samples, {count} thread{'s' if count > 1 else ''}",
        "value": statistics.median(rates),
        "spread": spread(rates),
        "repeats": len(rates),
        "unit": f"{what}/s",
        "ratio": other / ours,
        "against": f"{against} ({1 / other:.4g} {what}/s)",
        "expected": expected,
    }


def run(dimensions: tuple[int, ...] = DIMENSIONS, repeats: int = REPEATS) -> list[dict]:
    """Return one row per dimension, number of threads, way and what it is set against."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows, given = [], torch.get_num_threads()
    try:
        for threads in sorted({1, given}):
            torch.set_num_threads(threads)
            flops, moves = matrix_rate(device), copy_rate(device)
            floor = partial(_floor, flops, moves)
            for d in dimensions:
                rows += coordinate(d, device, floor, repeats) if threads == given else []
                for samples in NES_SAMPLES:
                    rows += nes(d, samples, device, floor, repeats)
    finally:
        torch.set_num_threads(given)
    return rows


def _floor(flops: float, moves: float, operations: float, moved: float) -> float:
    return max(operations / flops, moved / moves)


if __name__ == "__main__":
    for line in run():
        print(line)
