"""Training on a GPU: images a second, share of the matrix rate, runs at once, bits, determinism.

FLOPs of a forward and backward pass are counted (`torch.utils.flop_counter`); the rate that they
are set against is that of square matrix products in the same number format, measured here. What is
timed is the engine's own epoch (`perturb.train.classifier.train_epoch`): feeding and augmentation
on the device, updates, losses and norms, in deterministic mode. Needs a GPU: `python -m benchmarks
gpu`, or `make bench BENCHMARKS=gpu`.
"""

from __future__ import annotations

import os
import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from benchmarks._measuring import (
    LoopedPUGD,
    as_in_a_run,
    cifar10,
    matrix_rate,
    spread,
    timed,
)
from benchmarks._workers import together, workers
from benchmarks.epoch import EPOCHS, PlainImages, plain_epoch
from perturb import models, optim
from perturb.data import DATASETS
from perturb.data.feeding import Feed
from perturb.train.classifier import evaluate, train_epoch
from perturb.train.determinism import make_deterministic
from perturb.train.forward import Forward, forward_of

MEAN, STD = DATASETS["cifar10"].mean, DATASETS["cifar10"].std
TRAIN_IMAGES, TEST_IMAGES, PROJECTED_EPOCHS = 50_000, 10_000, 400


@dataclass(frozen=True)
class Variant:
    """How a net is passed through."""

    precision: str = "float32"
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        layout = ", channels_last" if self.channels_last else ""
        return f"{self.precision}{layout}{', compiled' if self.compiled else ''}"


@dataclass(frozen=True)
class Plan:
    """What is measured: epochs of `images` images, each `repeats` times after a warm-up."""

    device: str = "cuda"
    models: tuple[str, ...] = ("resnet18", "upanet16")
    methods: tuple[str, ...] = ("sgd", "pugd")
    precisions: tuple[str, ...] = ("float32", "tf32", "bfloat16")
    compiled: bool = True
    processes: tuple[int, ...] = (1, 2, 4)
    batch_size: int = 500
    images: int = 10_000
    repeats: int = 3
    loader_workers: int = min(8, os.cpu_count() or 1)

    def variants(self) -> list[Variant]:
        """Return each precision as it is, with channels last, and compiled as well."""
        layouts = [(False, False), (True, False)] + [(True, True)] * self.compiled
        return [Variant(precision, *how) for precision in self.precisions for how in layouts]


SECONDS = 900  # the whole, on an H100
QUICK = {
    "plan": Plan(
        models=("resnet18",),
        methods=("pugd",),
        precisions=("float32", "bfloat16"),
        compiled=False,
        processes=(1, 2),
        repeats=2,
    )
}


class Run:
    """A net on the device and what an epoch of it needs. Its process has the variant's settings."""

    def __init__(
        self, plan: Plan, name: str, variant: Variant, images: np.ndarray, labels: np.ndarray
    ) -> None:
        make_deterministic(1, variant.precision)
        self.plan, self.device = plan, torch.device(plan.device)
        self.model = models.build(name, 10, 32, 3)
        self.model.load_state_dict(models.initial_weights(name, 10, 32, 3, 0))
        self.forward: Forward = forward_of(
            self.model.to(self.device),
            precision=variant.precision,
            channels_last=variant.channels_last,
            compiled=variant.compiled,
        )
        common = {"batch_size": plan.batch_size, "mean": MEAN, "std": STD, "device": self.device}
        self.feed = Feed(images, labels, augment="standard", **common)
        self.test_feed = Feed(images, labels, **common)

    def optimizer(self, method: str) -> optim.PerturbedOptimizer:
        return optim.build(f"{method}_{EPOCHS}", self.model.parameters(), lr=0.01, model=self.model)

    def trainer(self, method: str) -> Callable[[], object]:
        """Return what trains an epoch, a further one at each call."""
        optimizer = self.optimizer(method)

        def train() -> None:
            train_epoch(self.model, optimizer, self.feed, optimizer.epoch, self.forward)
            optimizer.set_epoch(optimizer.epoch + 1)

        return train

    def evaluation(self) -> Callable[[], object]:
        return lambda: evaluate(self.model, self.test_feed, self.forward)

    def rates(self, work: Callable[[], object]) -> list[float]:
        """Return the images a second of each repeat of an epoch's work, after a warm-up."""
        work()
        repeats = range(self.plan.repeats)
        return [len(self.feed.labels) / timed(work, self.device) for _ in repeats]


def plain_trainer(
    plan: Plan, name: str, method: str, images: np.ndarray, labels: np.ndarray
) -> Callable[[], object]:
    """Return what trains an epoch as tutorials do: DataLoader, loops of updates, `.item()`."""
    device = torch.device(plan.device)
    model = models.build(name, 10, 32, 3).to(device)
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    loader = DataLoader(
        PlainImages(images, labels, transform),
        plan.batch_size,
        shuffle=True,
        num_workers=plan.loader_workers,
    )
    parameters = list(model.parameters())
    if method == "pugd":
        optimizer = LoopedPUGD(parameters, lr=0.01)
    else:
        options = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
        optimizer = torch.optim.SGD(parameters, **options, foreach=False)
    return lambda: plain_epoch(model, optimizer, loader, device)


def flops_an_image(name: str) -> float:
    """Return the FLOPs of a forward and backward pass, an image's share of a batch of four."""
    model = models.build(name, 10, 32, 3).train()
    with FlopCounterMode(display=False) as counter:
        cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.zeros(4).long()).backward()
    return counter.get_total_flops() / 4


def matrix_rates(plan: Plan) -> dict[str, float]:
    """Return the FLOPs a second of matrix products in each precision."""
    found = {}
    for precision in plan.precisions:
        make_deterministic(1, precision)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        found[precision] = matrix_rate(torch.device(plan.device), dtype)
    return found


class WatchedFeed:
    """A feed within whose epochs, but for their first batch, PyTorch warns of synchronisations."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def true_labels(self, epoch: int) -> Iterator[Tensor] | None:
        return self.feed.true_labels(epoch)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        try:
            for number, batch in enumerate(self.feed.epoch(epoch)):
                yield batch
                if number == 0:
                    torch.cuda.set_sync_debug_mode("warn")
        finally:
            torch.cuda.set_sync_debug_mode("default")


def synchronisations(run: Run, method: str) -> int:
    """Return how often the host waits for the GPU within an epoch."""
    optimizer = run.optimizer(method)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train_epoch(run.model, optimizer, WatchedFeed(run.feed), 0, run.forward)
    return sum("synchroniz" in str(warning.message) for warning in caught)


def weights_of_an_epoch(plan: Plan, name: str, variant: Variant, *data: np.ndarray) -> list[Tensor]:
    run = Run(plan, name, variant, *data)
    run.trainer("pugd")()
    return [tensor.cpu() for tensor in run.model.state_dict().values()]


def training_process(plan: Plan, name: str, variant: Variant) -> Callable[[], object]:
    """Return, in a process of its own, what trains an epoch with PUGD and waits for the GPU."""
    images, labels, _ = cifar10()
    run = Run(plan, name, variant, images[: plan.images], labels[: plan.images])
    train = run.trainer("pugd")
    return lambda: timed(train, run.device)


def row(what: str, value: float, unit: str, ratios: list[float], against: str, **more: str) -> dict:
    return {
        "benchmark": "gpu",
        "what": what,
        "value": value,
        "unit": unit,
        "ratio": statistics.median(ratios) if ratios else None,
        "spread": spread(ratios) if ratios else None,
        "repeats": len(ratios) or None,
        "against": against,
        **more,
    }


def training_rows(plan: Plan, name: str, rates: dict[str, float], *data: np.ndarray) -> list[dict]:
    """Return images a second of each variant and method, and the share of the matrix rate."""
    rows, flops = [], flops_an_image(name)
    for variant in plan.variants():
        run = Run(plan, name, variant, *data)
        for method in plan.methods:
            found = run.rates(run.trainer(method))
            gradients = 2 if method == "pugd" else 1
            shares = [rate * gradients * flops / rates[variant.precision] for rate in found]
            what = f"{name}, {method}, {variant}"
            against = f"matrix products, {rates[variant.precision] / 1e12:.4g} TFLOP/s"
            rows.append(row(what, statistics.median(found), "images/s", shares, against))
    return rows


def plain_rows(plan: Plan, name: str, *data: np.ndarray) -> list[dict]:
    """Return the engine's images a second in float32 against a plain loop's, in turn."""
    rows = []
    for method in plan.methods:
        run = Run(plan, name, Variant(), *data)
        ours, plain = run.trainer(method), plain_trainer(plan, name, method, *data)
        ours(), plain()
        pairs = [(timed(ours, run.device), timed(plain, run.device)) for _ in range(plan.repeats)]
        rate = len(run.feed.labels) / statistics.median(ours for ours, _ in pairs)
        ratios = [theirs / ours for ours, theirs in pairs]
        what = f"{name}, {method}, float32: the engine"
        rows.append(row(what, rate, "images/s", ratios, "plain PyTorch loop", expected="above 1"))
    return rows


def projected_rows(plan: Plan, name: str, *data: np.ndarray) -> list[dict]:
    """Return the hours of 400 epochs of PUGD on CIFAR-10, each tested on 10,000 images."""
    rows = []
    for variant in plan.variants():
        run = Run(plan, name, variant, *data)
        train = statistics.median(run.rates(run.trainer("pugd")))
        test = statistics.median(run.rates(run.evaluation()))
        hours = PROJECTED_EPOCHS * (TRAIN_IMAGES / train + TEST_IMAGES / test) / 3600
        rows.append(row(f"{name}, 400 epochs of pugd, projected, {variant}", hours, "h", [], ""))
    return rows


def determinism_rows(plan: Plan, name: str, *data: np.ndarray) -> list[dict]:
    """Return how many tensors differ between two equal epochs, and what determinism costs."""
    rows = []
    for variant in plan.variants():
        pair = [weights_of_an_epoch(plan, name, variant, *data) for _ in range(2)]
        differing = sum(not torch.equal(a, b) for a, b in zip(*pair, strict=True))
        what = f"{name}, pugd, {variant}: tensors that differ when trained again"
        rows.append(row(what, differing, "tensors", [], "", expected="0"))
        run = Run(plan, name, variant, *data)
        train, seconds = run.trainer("pugd"), {"error": [], "default": []}
        for repeat in range(plan.repeats + 1):
            for mode, taken in seconds.items():
                torch.set_deterministic_debug_mode(mode)
                torch.backends.cudnn.benchmark = mode == "default"
                epoch = timed(train, run.device)
                if repeat:  # the first is a warm-up
                    taken.append(epoch)
        ratios = [a / b for a, b in zip(seconds["error"], seconds["default"], strict=True)]
        what = f"{name}, pugd, {variant}: an epoch with deterministic algorithms"
        value = statistics.median(seconds["error"])
        rows.append(row(what, value, "s", ratios, "without, cudnn.benchmark on"))
    return rows


def synchronisation_rows(plan: Plan, name: str, *data: np.ndarray) -> list[dict]:
    """Return how often an epoch waits for the GPU, by method; nothing on a CPU."""
    if plan.device == "cpu":
        return []
    run = Run(plan, name, Variant(), *data)
    return [
        row(
            f"{name}, {method}: synchronisations within an epoch",
            synchronisations(run, method),
            "times",
            [],
            "",
            expected="0",
        )
        for method in plan.methods
    ]


def sharing_rows(plan: Plan, name: str) -> list[dict]:
    """Return the images a second of several runs on the device at once, all together."""
    variant, rows, alone = Variant(plan.precisions[-1], channels_last=True), [], None
    for count in plan.processes:
        with workers([(training_process, plan, name, variant)] * count) as running:
            repeats = range(plan.repeats)
            rates = [count * plan.images / together(running) for _ in repeats]
        alone = alone or statistics.median(rates)
        ratios = [rate / alone for rate in rates]
        what = f"{name}, pugd, {variant}: {count} runs at once, all together"
        rows.append(row(what, statistics.median(rates), "images/s", ratios, "one run"))
    return rows


def unavailable() -> str:
    """Return why this benchmark cannot run here, or nothing."""
    return "" if torch.cuda.is_available() else "PyTorch sees no GPU"


def run(plan: Plan | None = None) -> list[dict]:
    """Return the rows of every model."""
    plan = plan or Plan()
    images, labels, what = cifar10()
    data = images[: plan.images], labels[: plan.images]
    rows = []
    with as_in_a_run(1):
        rates = matrix_rates(plan)
        for name in plan.models:
            rows += training_rows(plan, name, rates, *data)
            rows += plain_rows(plan, name, *data)
            rows += projected_rows(plan, name, *data)
            rows += determinism_rows(plan, name, *data)
            rows += synchronisation_rows(plan, name, *data)
            rows += sharing_rows(plan, name)
    for line in rows:
        line["what"] += f" ({what}, batch {plan.batch_size})"
    return rows


if __name__ == "__main__":
    print(unavailable() or "\n".join(map(str, run())))
