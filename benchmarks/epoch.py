"""An epoch of PUGD by the engine, against its floor and against a plain PyTorch loop; evaluation.

The floor is two forward and backward passes on the same tensors: it takes its turn after every
step of the engine, whose feed runs it, so that both meet the same disturbances. The plain loop has
torchvision's transforms in a DataLoader of two workers, an update in Python loops over the
parameters, and each batch's loss fetched with `.item()`; its epochs alternate with the engine's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks._measuring import LoopedPUGD, as_in_a_run, cifar10, spread
from perturb import models, optim
from perturb.data import DATASETS
from perturb.data.feeding import Feed
from perturb.data.prepared import channel_statistics
from perturb.data.protocol import balanced_subset
from perturb.train.classifier import evaluate, train_epoch

EPOCHS = 1000  # of the method's name; the few measured here are its first


@dataclass(frozen=True)
class Case:
    """A net on `images` of a data set; threads and batch as its runs have them."""

    model: str
    dataset: str
    images: int
    batch_size: int
    threads: int
    repeats: int
    expected: str = ""


CASES = (
    Case("cnn", "digits", 1437, 500, 1, 40),
    Case("resnet18", "cifar10", 2000, 100, 2, 3, "at most 1.05"),
)
SECONDS = 400  # the whole, on two cores
QUICK = {
    "cases": (
        Case("cnn", "digits", 1437, 500, 1, 4),
        Case("resnet18", "cifar10", 200, 100, 2, 2, "at most 1.05"),
    )
}


class PairedFeed:
    """A feed that, after each step made of its batches, does `other` on the same tensors.

    `seconds` holds what `other` took.
    """

    def __init__(self, feed: Feed, other: Callable[[Tensor, Tensor], None]) -> None:
        self.feed, self.other = feed, other
        self.seconds: list[float] = []

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in self.feed.epoch(epoch):
            yield inputs, labels
            start = time.perf_counter()
            self.other(inputs, labels)
            self.seconds.append(time.perf_counter() - start)

    def true_labels(self, epoch: int) -> Iterator[Tensor] | None:
        return self.feed.true_labels(epoch)


class PlainImages(Dataset):
    """Images one at a time, by PIL and torchvision's transforms, as its own data sets give them."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, transform: Callable[[Image.Image], Tensor]
    ) -> None:
        self.images, self.labels, self.transform = images.squeeze(), labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class Ways:
    """The engine, its floor and the plain loop, each with its own net from the same weights."""

    def __init__(self, case: Case, images: np.ndarray, labels: np.ndarray) -> None:
        self.case = case
        known = DATASETS[case.dataset]
        channels, size = images.shape[3], images.shape[1]
        initial = models.initial_weights(case.model, 10, size, channels, 0)

        def fresh() -> nn.Module:
            model = models.build(case.model, 10, size, channels)
            model.load_state_dict(initial)
            return model

        self.model, self.floor_model, self.plain_model = fresh(), fresh(), fresh()
        self.optimizer = optim.build(f"pugd_{EPOCHS}", self.model.parameters())
        self.plain_optimizer = LoopedPUGD(list(self.plain_model.parameters()))
        mean, std = channel_statistics(images)
        common = {"batch_size": case.batch_size, "mean": mean, "std": std}
        padding = max(1, size // 8)
        augmented = {"augment": "standard", "flip": known.flip, "crop_padding": padding}
        self.feed = Feed(images, labels, **common, **augmented)
        self.test_feed = Feed(images, labels, **common)
        to_tensor = [transforms.ToTensor(), transforms.Normalize(mean, std)]
        random = [transforms.RandomCrop(size, padding=padding)]
        random += [transforms.RandomHorizontalFlip()] * known.flip

        def loader(transform: list, shuffle: bool) -> DataLoader:
            dataset = PlainImages(images, labels, transforms.Compose(transform))
            return DataLoader(dataset, case.batch_size, shuffle, num_workers=2)

        self.loader = loader(random + to_tensor, shuffle=True)
        self.test_loader = loader(to_tensor, shuffle=False)

    def engine_and_floor(self, epoch: int) -> tuple[float, float]:
        """Return the seconds of the engine's epoch and of the floor, their steps in turn."""

        def twice(inputs: Tensor, labels: Tensor) -> None:
            for _ in range(2):
                self.floor_model.zero_grad()
                cross_entropy(self.floor_model(inputs), labels).backward()

        feed = PairedFeed(self.feed, twice)
        self.floor_model.train()
        self.optimizer.set_epoch(epoch)
        start = time.perf_counter()
        train_epoch(self.model, self.optimizer, feed, epoch)
        floor = sum(feed.seconds)
        return time.perf_counter() - start - floor, floor

    def engine(self, epoch: int) -> float:
        self.optimizer.set_epoch(epoch)
        start = time.perf_counter()
        train_epoch(self.model, self.optimizer, self.feed, epoch)
        return time.perf_counter() - start

    def plain(self) -> float:
        start = time.perf_counter()
        plain_epoch(self.plain_model, self.plain_optimizer, self.loader)
        return time.perf_counter() - start

    def evaluation(self) -> float:
        start = time.perf_counter()
        evaluate(self.model, self.test_feed)
        return time.perf_counter() - start

    def plain_evaluation(self) -> float:
        start = time.perf_counter()
        plain_evaluation(self.plain_model, self.test_loader)
        return time.perf_counter() - start


def plain_epoch(
    model: nn.Module,
    optimizer: LoopedPUGD | torch.optim.Optimizer,
    loader: DataLoader,
    device: torch.device | str = "cpu",
) -> float:
    """Train one epoch as tutorials do; return its mean loss."""
    model.train()
    total = 0.0
    for inputs, labels in loader:
        inputs, labels = inputs.to(device), labels.to(device)

        def closure(inputs: Tensor = inputs, labels: Tensor = labels) -> Tensor:
            model.zero_grad()
            loss = cross_entropy(model(inputs), labels)
            loss.backward()
            return loss

        total += optimizer.step(closure).item() * len(labels)
    return total / len(loader.dataset)


@torch.no_grad()
def plain_evaluation(model: nn.Module, loader: DataLoader) -> float:
    """Return the accuracy, each batch's count fetched with `.item()`."""
    model.eval()
    correct = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return correct / len(loader.dataset)


def load(case: Case) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the case's images, its labels, and what they are."""
    if case.dataset == "cifar10":
        images, labels, what = cifar10()
    else:
        read = DATASETS[case.dataset].read(None, allow_partial=False)
        images, labels, what = read.train_images, read.train_labels, case.dataset
    chosen = balanced_subset(labels, case.images, 0)
    return images[chosen], labels[chosen], what


def measure(case: Case, images: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Return seconds an epoch of each way, the ways taken in turn."""
    names = ["engine", "floor", "plain", "evaluation", "plain evaluation"]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    ways = Ways(case, images, labels)
    warm_up = next(iter(ways.feed.epoch(0)))
    for model in (ways.model, ways.floor_model, ways.plain_model):
        cross_entropy(model(warm_up[0]), warm_up[1]).backward()
    for repeat in range(case.repeats):
        taken = ways.engine_and_floor(repeat), (ways.plain(),)
        taken += (ways.evaluation(), ways.plain_evaluation())
        values = [*taken[0], *taken[1], *taken[2:]]
        for name, value in zip(names, values, strict=True):
            seconds[name].append(value)
    return seconds


def cost_of_determinism(case: Case, images: np.ndarray, labels: np.ndarray) -> dict:
    """Return the row of deterministic epochs against those without, in turn."""
    ways = Ways(case, images, labels)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for epoch in range(case.repeats + 1):
        for deterministic in (True, False):
            torch.set_deterministic_debug_mode("error" if deterministic else "default")
            taken = ways.engine(epoch)
            if epoch:  # the first is a warm-up
                seconds[deterministic].append(taken)
    return row(case, "deterministic algorithms", seconds[True], seconds[False], "PyTorch's default")


def row(
    case: Case,
    what: str,
    seconds: list[float],
    others: list[float],
    against: str,
    expected: str = "",
) -> dict:
    """Return a line of the table: seconds an epoch, their ratio to those of another way."""
    ratios = [a / b for a, b in zip(seconds, others, strict=True)]
    return {
        "benchmark": "epoch",
        "what": f"{case.model}, {case.images:,} images, batch {case.batch_size}, "
        f"threads {case.threads}: {what}",
        "value": statistics.median(seconds),
        "unit": "s",
        "ratio": statistics.median(ratios),
        "spread": spread(ratios),
        "repeats": len(ratios),
        "against": against,
        "expected": expected,
    }


def run(cases: tuple[Case, ...] = CASES) -> list[dict]:
    """Return rows of each case: the ratios to floor and plain loop, in training and evaluation."""
    rows = []
    for case in cases:
        images, labels, what = load(case)
        with as_in_a_run(case.threads):
            seconds = measure(case, images, labels)
            engine, floor, plain = (seconds[name] for name in ("engine", "floor", "plain"))
            epoch = f"epoch of PUGD ({what})"
            rows += [
                row(case, epoch, engine, floor, "twice forward and backward", case.expected),
                row(case, epoch, engine, plain, "plain PyTorch loop", "below 1"),
                row(
                    case,
                    "evaluation",
                    seconds["evaluation"],
                    seconds["plain evaluation"],
                    "plain PyTorch loop",
                    "below 1",
                ),
            ]
            if case.model == "cnn":
                rows.append(cost_of_determinism(case, images, labels))
    return rows


if __name__ == "__main__":
    for line in run():
        print(line)
