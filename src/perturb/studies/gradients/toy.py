"""One toy network: scan windows and learning rates on one batch, report on others.

A maximum over a grid is biased, so the batch that chooses is never one that is reported, and every
step is measured on samples that its gradient has not seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.gradients import network
from perturb.gradients.coordinate import factorised
from perturb.gradients.evolution import estimates
from perturb.gradients.kept import Kept
from perturb.gradients.network import Weights
from perturb.gradients.steps import learning_rates
from perturb.jobs.progress import Progress
from perturb.models.binary import surrogate
from perturb.random import stream
from perturb.train.determinism import find_device, make_deterministic

if TYPE_CHECKING:
    from perturb.studies.gradients.settings import ToySpecification

LOG_LEARNING_RATE = 0.1
LAYERS = network.HIDDEN + 1
STEPS = ("hidden", "all", "raw")
ARM = ("estimator", "evaluations")
Arm = tuple[str, int]  # an estimator and its evaluations of the loss


@dataclass(frozen=True)
class Estimate:
    """A gradient on one batch; `window` is its eps or sigma, 0 where it has none.

    `halves` are the estimates from each half of the batch, where they were made on the way.
    """

    arm: Arm
    window: float
    gradient: Weights
    seconds: float
    halves: tuple[Weights, Weights] | None = None


MEASURE = "decrease_hidden"


class Journal:
    """What a toy says of itself while it runs: times, and a line of progress for each estimate.

    What an estimate took in an earlier start of its job counts, too.
    """

    def __init__(self, kept: Kept, progress: Progress) -> None:
        self.kept, self.progress = kept, progress
        self.rows: list[dict[str, Any]] = []
        self._before = self._now()

    def _now(self) -> float:
        return time.perf_counter() + self.kept.found_seconds

    def estimated(self, batch: int, found: Estimate, decrease: float) -> None:
        """Note that an estimate is made and measured: `decrease` is that of its hidden step."""
        seconds = self.passed(batch, *found.arm, estimate_seconds=found.seconds)
        measured = {MEASURE: float(decrease)}
        self.progress.epoch(len(self.rows) - 1, measured, MEASURE, seconds)

    def passed(self, batch: int, what: str, evaluations: int, estimate_seconds: float) -> float:
        """Note what the time since the last note was for; return it, in seconds."""
        now = self._now()
        seconds, self._before = now - self._before, now
        self.rows.append(
            {
                "batch": batch,
                "estimator": what,
                "evaluations": evaluations,
                "estimate_seconds": estimate_seconds,
                "seconds": seconds,
            }
        )
        return seconds


@dataclass(frozen=True)
class Problem:
    """A network, the network that it is to be like, and batches of inputs for both.

    `losses` are those of pre-training, one per batch.
    """

    settings: ToySpecification
    weights: Weights
    target: Weights
    losses: tuple[float, ...] = ()

    @classmethod
    def make(cls, settings: ToySpecification) -> Problem:
        """Draw the networks, and pre-train the one on as many batches as the settings say."""
        device = find_device(settings.device)
        dimension, seed = settings.dimension, settings.seed
        weights, target = (
            tuple(w.to(device) for w in network.initial_weights(dimension, seed, purpose))
            for purpose in ("evaluated", "target")
        )
        return cls(settings, weights, target).pretrained()

    def batch(self, number: int, purpose: str, samples: int) -> tuple[Tensor, Tensor]:
        """Return inputs [samples, d] and the target network's outputs [samples]."""
        dimension, seed = self.settings.dimension, self.settings.seed
        inputs = network.normal_inputs(dimension, samples, seed, number, purpose)
        inputs = inputs.to(self.weights[0].device)
        return inputs, network.targets_of(self.target, inputs)

    def pretrained(self) -> Problem:
        """Return the problem after pre-training with Adam and the clipped straight-through."""
        leaves = tuple(w.clone().requires_grad_() for w in self.weights)
        # As torch.optim.Adam with its defaults; fused would differ from machine to machine.
        optimizer = torch.optim.Adam(
            leaves, lr=self.settings.pretraining_learning_rate, foreach=False
        )
        losses = []
        for number in range(self.settings.pretraining):
            inputs, targets = self.batch(number, "pretraining", self.settings.pretraining_samples)
            loss = (network.outputs(leaves, inputs, surrogate("clip")) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return replace(self, weights=tuple(w.detach() for w in leaves), losses=tuple(losses))

    def decreases(
        self, gradient: Weights, learning_rates: Sequence[float], batch: tuple[Tensor, Tensor]
    ) -> np.ndarray:
        """Return L(W) - L(W - eta g) for each learning rate eta, [len(learning_rates)]."""
        steps = batch[0].new_tensor([0.0, *learning_rates])
        moved = tuple(
            w - steps[:, None, None] * g for w, g in zip(self.weights, gradient, strict=True)
        )
        found = network.losses(network.flatten(moved), *batch)
        return (found[0] - found[1:]).cpu().numpy()


def scaled(gradient: Weights, step: str) -> Weights:
    """Return the step that an estimate is taken as, one of STEPS.

    `hidden` has each hidden layer at unit norm and leaves the linear output layer, whose gradient
    no estimator misses and which can lower the loss alone; `all` has every layer at unit norm;
    `raw` is the estimate. A gradient of zero stays zero.
    """
    if step == "raw":
        return gradient
    unit = tuple(F.normalize(g.flatten(), dim=0).view_as(g) for g in gradient)
    return unit if step == "all" else (*unit[:-1], torch.zeros_like(unit[-1]))


def arms(settings: ToySpecification) -> dict[Arm, tuple[float, ...]]:
    """Return every estimator that is compared, and the windows that it is scanned over."""
    weights = network.HIDDEN * settings.dimension**2 + settings.dimension
    found: dict[Arm, tuple[float, ...]] = {("cdg", 2 * weights): settings.windows}
    for nes in settings.nes:
        found |= {(_nes_name(kind), nes.evaluations): settings.windows for kind in nes.kinds}
    return found | {(f"ste_{name}", 1): (0.0,) for name in settings.straight_through}


def count(settings: ToySpecification) -> int:
    """Return how many estimates a toy makes: for every arm, its windows and reported batches."""
    compared = arms(settings)
    return sum(map(len, compared.values())) + settings.batches * len(compared)


def _nes_name(kind: str) -> str:
    return kind if kind == "spsa" else f"nes_{kind}"


def estimate(
    problem: Problem, number: int, windows: Mapping[Arm, Sequence[float]], kept: Kept
) -> Iterator[Estimate]:
    """Yield an estimate for every arm and each of its windows, on batch `number`."""
    batch = problem.batch(number, "gradient", problem.settings.samples)
    for arm, wanted in windows.items():
        if arm[0] == "cdg":
            yield from _coordinate(problem, arm, batch, wanted)
        elif arm[0].startswith("ste_"):
            start = time.perf_counter()
            found = network.straight_through(problem.weights, *batch, arm[0].removeprefix("ste_"))
            yield Estimate(arm, 0.0, found, time.perf_counter() - start)
    yield from _evolution(problem, number, batch, windows, kept)


def _coordinate(
    problem: Problem, arm: Arm, batch: tuple[Tensor, Tensor], windows: Sequence[float]
) -> Iterator[Estimate]:
    """Yield the coordinate gradient as the mean of its halves', which tell its reliability."""
    start = time.perf_counter()
    inputs, targets = batch
    middle = len(inputs) // 2
    halves = [
        factorised(problem.weights, inputs[part], targets[part], windows)
        for part in (slice(middle), slice(middle, 2 * middle))
    ]
    seconds = (time.perf_counter() - start) / len(windows)
    for window, *pair in zip(windows, *halves, strict=True):
        whole = tuple((a + b) / 2 for a, b in zip(*pair, strict=True))
        yield Estimate(arm, window, whole, seconds, (pair[0], pair[1]))


def _evolution(
    problem: Problem,
    number: int,
    batch: tuple[Tensor, Tensor],
    windows: Mapping[Arm, Sequence[float]],
    kept: Kept,
) -> Iterator[Estimate]:
    """Yield the estimates of NES; arms that share a window and perturbations share evaluations."""
    settings, centre = problem.settings, network.flatten(problem.weights)
    threads = settings.threads if centre.device.type == "cpu" else 1
    evaluate = partial(network.losses, inputs=batch[0], targets=batch[1])
    for nes in settings.nes:
        for window in settings.windows:
            kinds = [
                kind
                for kind in nes.kinds
                if window in windows.get((_nes_name(kind), nes.evaluations), ())
            ]
            if not kinds:
                continue
            purpose = f"nes {nes.evaluations} {window:.12g}"
            seed = stream(settings.seed, number, purpose)
            found, seconds = kept(
                f"batch{number}_nes{nes.evaluations}_sigma{window:g}",
                partial(
                    estimates,
                    evaluate,
                    centre,
                    window,
                    nes.evaluations,
                    kinds,
                    seed,
                    network.AT_ONCE,
                    threads,
                ),
            )
            groups = len({"one" if k in ("plain", "baseline") else k for k in kinds} - {"rank"})
            for kind, flat in found.items():
                gradient = network.unflatten(flat.to(centre), settings.dimension)
                arm = (_nes_name(kind), nes.evaluations)
                yield Estimate(arm, window, gradient, seconds / max(1, groups))


def cosines(first: Weights, second: Weights) -> list[float]:
    """Return the cosine between two gradients in each layer."""
    return [
        F.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0).item()
        for a, b in zip(first, second, strict=True)
    ]


def by_layer(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return columns `<name>_layer_1` and so on."""
    return {f"{name}_layer_{i}": value for i, value in enumerate(values, start=1)}


def scan(problem: Problem, journal: Journal) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Scan the grid of windows and learning rates on the first batch.

    Returns three frames. The decrease of the `hidden` step for each arm, window and learning rate;
    the best learning rate of each arm and window, with its decrease there and on samples that did
    not choose it; and the best window of each arm with the best learning rate of each step there.
    """
    rates = learning_rates(problem.settings.learning_rates)
    choosing, other = (
        problem.batch(0, purpose, problem.settings.held_out_samples)
        for purpose in ("choosing", "window")
    )
    curves, windows = [], []
    best: dict[Arm, tuple[float, Estimate]] = {}
    for found in estimate(problem, 0, arms(problem.settings), journal.kept):
        what = {"estimator": found.arm[0], "evaluations": found.arm[1], "window": found.window}
        step = scaled(found.gradient, "hidden")
        decreases = problem.decreases(step, rates, choosing)
        curves += [
            what | {"learning_rate": rate, "decrease": decrease}
            for rate, decrease in zip(rates, decreases, strict=True)
        ]
        rate = rates[int(decreases.argmax())]
        what |= {"learning_rate": rate, "decrease_chosen": decreases.max()}
        windows.append(what | {"decrease": problem.decreases(step, [rate], other)[0]})
        journal.estimated(0, found, decreases.max())
        if found.arm not in best or decreases.max() > best[found.arm][0]:
            best[found.arm] = (decreases.max(), found)
    chosen = []
    for arm, (_, found) in best.items():
        row = {"estimator": arm[0], "evaluations": arm[1], "window": found.window}
        for kind in STEPS:
            decreases = problem.decreases(scaled(found.gradient, kind), rates, choosing)
            row[f"learning_rate_{kind}"] = rates[int(decreases.argmax())]
        chosen.append(row)
    frame = pd.DataFrame(chosen).set_index(["estimator", "evaluations"])
    return pd.DataFrame(curves), pd.DataFrame(windows), frame


def report(problem: Problem, chosen: pd.DataFrame, journal: Journal) -> pd.DataFrame:
    """Return one row per reported batch and arm.

    Decreases are those of each step at its chosen learning rate, and of the `hidden` and the `all`
    step at the log's.
    """
    rows = []
    windows = {arm: (window,) for arm, window in chosen["window"].items()}
    for number in range(1, problem.settings.batches + 1):
        held_out = problem.batch(number, "held out", problem.settings.held_out_samples)
        reference: Weights | None = None
        for found in estimate(problem, number, windows, journal.kept):
            reference = found.gradient if reference is None else reference
            choice, what = chosen.loc[found.arm], dict(zip(ARM, found.arm, strict=True))
            row: dict[str, Any] = {"batch": number} | what | dict(choice)
            for kind in STEPS:
                at = [choice[f"learning_rate_{kind}"], LOG_LEARNING_RATE]
                step = scaled(found.gradient, kind)
                row[f"decrease_{kind}"], row[f"decrease_{kind}_at_0.1"] = problem.decreases(
                    step, at, held_out
                )
            row |= by_layer("cosine", cosines(found.gradient, reference))
            row |= by_layer("norm", [g.norm().item() for g in found.gradient])
            row |= by_layer("reliability", cosines(*found.halves)) if found.halves else {}
            rows.append(row)
            journal.estimated(number, found, row["decrease_hidden"])
    return pd.DataFrame(rows)


def pool(problem: Problem, window: float) -> pd.DataFrame:
    """Return cosines by layer between gradients of many samples, at the coordinate one's window.

    Each straight-through estimator against the coordinate gradient; the coordinate gradient of
    every second batch against that of the others, which bounds what a cosine can reach.
    """
    settings = problem.settings
    names = settings.straight_through
    size = settings.held_out_samples
    edges = [*range(0, settings.pooled_samples, size), settings.pooled_samples]
    totals: dict[str, list[Tensor]] = {}
    for number, (start, end) in enumerate(pairwise(edges)):
        batch = problem.batch(number, "pooled", end - start)
        gradients = {f"cdg_{number % 2}": factorised(problem.weights, *batch, [window])[0]}
        for name in names:
            gradients[name] = network.straight_through(problem.weights, *batch, name)
        for name, gradient in gradients.items():
            scaled = [g.double() * (end - start) for g in gradient]
            totals[name] = [a + b for a, b in zip(totals.get(name, scaled), scaled, strict=True)]
    pair = [tuple(totals.get(f"cdg_{half}", totals["cdg_0"])) for half in (0, 1)]
    whole = tuple(a + b for a, b in zip(*pair, strict=True))
    rows = [{"estimator": "cdg", "window": window} | by_layer("cosine", cosines(*pair))]
    for name in names:
        found = cosines(tuple(totals[name]), whole)
        rows.append({"estimator": f"ste_{name}", "window": window} | by_layer("cosine", found))
    return pd.DataFrame(rows)


def diverged_at(problem: Problem, loss: float) -> int | None:
    """Return the batch of pre-training whose loss is the first that is not finite, or None.

    The number of batches where that is only `loss`, which follows after them.
    """
    numbers = (*problem.losses, loss)
    return next((at for at, value in enumerate(numbers) if not math.isfinite(value)), None)


@dataclass(frozen=True)
class Outcome:
    """What came of a toy: frames by name, its times, the last losses, and where it diverged.

    `last` is the network's loss, that of all weights at zero, and the mean decrease along the
    coordinate gradient over the reported batches.
    """

    frames: dict[str, pd.DataFrame]
    timing: pd.DataFrame
    last: dict[str, float]
    diverged_at: int | None


def run(settings: ToySpecification, kept: Kept, progress: Progress) -> Outcome:
    """Return everything that a toy is."""
    make_deterministic(settings.threads)
    journal = Journal(kept, progress)
    problem = Problem.make(settings)
    curves, windows, chosen = scan(problem, journal)
    batches = report(problem, chosen, journal)
    pooled = pool(problem, chosen["window"]["cdg"].item())
    held_out = problem.batch(1, "held out", settings.held_out_samples)
    point = network.flatten(problem.weights)
    points = torch.stack([point, torch.zeros_like(point)])
    loss, constant = network.losses(points, *held_out).tolist()
    journal.passed(settings.batches, "pooled", 0, estimate_seconds=0.0)
    decrease = batches.loc[batches["estimator"] == "cdg", "decrease_hidden"].mean()
    return Outcome(
        frames={"curves": curves, "windows": windows, "batches": batches, "pooled": pooled},
        timing=pd.DataFrame(journal.rows),
        last={"loss": loss, "loss_of_zero": constant, "decrease_hidden": float(decrease)},
        diverged_at=diverged_at(problem, loss),
    )
