"""Two runs of one thread side by side against one run of two threads after the other."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

from benchmarks._measuring import spread
from benchmarks._workers import together, worker, workers
from benchmarks.epoch import EPOCHS, Case, load
from perturb import models, optim
from perturb.data import DATASETS
from perturb.data.feeding import Feed
from perturb.data.prepared import channel_statistics
from perturb.train.classifier import train_epoch
from perturb.train.determinism import make_deterministic

CASES = (
    (Case("cnn", "digits", 1437, 500, 1, 15), 5),
    (Case("resnet18", "cifar10", 200, 100, 1, 5), 1),
)
SECONDS = 300  # the whole, on two cores
QUICK = {
    "cases": (
        (replace(CASES[0][0], repeats=2), 5),
        (replace(CASES[1][0], images=100, batch_size=50, repeats=2), 1),
    )
}


def epochs_of(case: Case, epochs: int, seed: int = 0) -> Callable[[], None]:
    """Return what trains some epochs of PUGD, further ones at each call, as a run of the case."""
    make_deterministic(case.threads)
    images, labels, _ = load(case)
    mean, std = channel_statistics(images)
    model = models.build(case.model, 10, images.shape[1], images.shape[3])
    size = (images.shape[1], images.shape[3])
    model.load_state_dict(models.initial_weights(case.model, 10, *size, seed))
    optimizer = optim.build(f"pugd_{EPOCHS}", model.parameters(), model=model)
    feed = Feed(
        images,
        labels,
        batch_size=case.batch_size,
        mean=mean,
        std=std,
        augment="standard",
        flip=DATASETS[case.dataset].flip,
        crop_padding=max(1, size[0] // 8),
        seed=seed,
    )

    def train() -> None:
        for epoch in range(optimizer.epoch, optimizer.epoch + epochs):
            train_epoch(model, optimizer, feed, epoch)
        optimizer.set_epoch(epoch + 1)

    return train


def measure(case: Case, epochs: int) -> dict[str, list[float]]:
    """Return images a second of each way, in turn: both cores are busy in each."""
    images = case.images * epochs
    rates: dict[str, list[float]] = {"two processes": [], "one process": []}
    pair = [(epochs_of, case, epochs, seed) for seed in (0, 1)]
    with workers(pair) as two, worker(epochs_of, replace(case, threads=2), epochs) as one:
        for _ in range(case.repeats):
            rates["two processes"].append(2 * images / together(two))
            rates["one process"].append(images / together([one]))
    return rates


def run(cases: tuple[tuple[Case, int], ...] = CASES) -> list[dict]:
    """Return one row per case: images a second of two one-thread runs, ratio to the other way."""
    rows = []
    for case, epochs in cases:
        rates = measure(case, epochs)
        two, one = rates["two processes"], rates["one process"]
        ratios = [a / b for a, b in zip(two, one, strict=True)]
        rows.append(
            {
                "benchmark": "threads",
                "what": f"{case.model}, batch {case.batch_size}: two runs of one thread at once",
                "value": statistics.median(two),
                "unit": "images/s",
                "ratio": statistics.median(ratios),
                "spread": spread(ratios),
                "repeats": len(ratios),
                "against": "one run of two threads",
            }
        )
    return rows


if __name__ == "__main__":
    for line in run():
        print(line)
