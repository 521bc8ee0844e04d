"""Several seeds of the digits CNN as one batched computation, against two runs side by side.

The weights of K seeds are a matrix [K, n], their passes one of `torch.func.vmap`, or one of grouped
convolutions; PUGD's norms are a row's. Each seed has its own initial weights, order and
augmentation. The other way has two runs of one thread at a time, as the workflow has on two cores.

Processor time on one thread is measured too: other processes hardly disturb it, and two threads at
best halve it, as two processes do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from benchmarks._measuring import as_in_a_run, spread
from benchmarks._workers import together, worker, workers
from benchmarks.epoch import Case, load
from benchmarks.threads import epochs_of
from perturb import models
from perturb.data.feeding import Feed
from perturb.data.prepared import channel_statistics
from perturb.optim.norms import EPSILON
from perturb.train.determinism import make_deterministic

CASE = Case("cnn", "digits", 1437, 500, 1, 15)
EPOCHS = 3  # a turn
SEEDS = (3, 6)
SECONDS = 300  # the whole, on two cores
QUICK = {"case": replace(CASE, repeats=2), "seeds": (3,)}
WAYS = ("vmap", "grouped")


class StackedCNNs:
    """K digits CNNs whose parameters are views of the rows of `weights` [K, n]."""

    def __init__(self, nets: list[nn.Module]) -> None:
        self.net = nets[0]
        self.shapes = {name: p.shape for name, p in self.net.named_parameters()}
        flat = [nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets]
        self.weights = torch.stack(flat).requires_grad_()
        names = [name for name, _ in self.net.named_buffers()]
        self.buffers = {
            name: torch.stack([dict(net.named_buffers())[name] for net in nets]) for name in names
        }

    def parameters(self) -> dict[str, Tensor]:
        """Return each parameter of all nets, [K, ...]."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = self.weights.split(sizes, dim=1)
        return {
            name: part.reshape(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def vmap(self, inputs: Tensor, track: bool) -> Tensor:
        """Return logits [K, B, 10] of inputs [K, B, C, H, W]."""
        buffers = self.buffers if track else {k: b.clone() for k, b in self.buffers.items()}

        def one(parameters: dict, buffers: dict, inputs: Tensor) -> Tensor:
            return functional_call(self.net, (parameters, buffers), (inputs,))

        return vmap(one)(self.parameters(), buffers, inputs)

    def grouped(self, inputs: Tensor, track: bool) -> Tensor:
        """Return logits [K, B, 10] of inputs [K, B, C, H, W]: a group of channels is a net's."""
        seeds, batch = inputs.shape[:2]
        p = {name: value.flatten(0, 1) for name, value in self.parameters().items()}
        outputs = inputs.transpose(0, 1).flatten(1, 2)
        for convolution, norm in (("0", "1"), ("3", "4")):
            outputs = F.conv2d(
                outputs, p[f"{convolution}.weight"], stride=2, padding=1, groups=seeds
            )
            running = [self.buffers[f"{norm}.running_{kind}"].view(-1) for kind in ("mean", "var")]
            outputs = F.batch_norm(
                outputs,
                *(running if track else (None, None)),
                p[f"{norm}.weight"],
                p[f"{norm}.bias"],
                training=True,
            )
            outputs = F.relu(outputs, inplace=True)
        features = outputs.view(batch, seeds, -1).transpose(0, 1)
        head = p["7.weight"].view(seeds, -1, features.shape[2])
        return torch.baddbmm(p["7.bias"].view(seeds, 1, -1), features, head.transpose(1, 2))


class StackedPUGD:
    """PUGD, radius and scale 1, of K nets at once: every norm is a row's."""

    def __init__(self, nets: StackedCNNs, way: str, lr: float = 0.1) -> None:
        self.nets, self.forward, self.lr = nets, getattr(nets, way), lr
        self.velocity = torch.zeros_like(nets.weights)

    def gradient(self, inputs: Tensor, labels: Tensor, track: bool) -> tuple[Tensor, Tensor]:
        """Return the gradients [K, n] and losses [K] of inputs [K, B, C, H, W]."""
        logits = self.forward(inputs, track)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        losses = losses.view(labels.shape).mean(1)
        return torch.autograd.grad(losses.sum(), self.nets.weights)[0], losses.detach()

    def step(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Make one step of every net; return the losses [K] at w."""
        weights = self.nets.weights.data
        first, losses = self.gradient(inputs, labels, track=True)
        saved = weights.clone()
        weights.add_(unit(weights.abs() * first))
        second, _ = self.gradient(inputs, labels, track=False)
        weights.copy_(saved)
        self.velocity.mul_(0.9).add_(unit(second.add_(first))).add_(weights, alpha=5e-4)
        weights.add_(self.velocity, alpha=-self.lr)
        return losses


def unit(rows: Tensor) -> Tensor:
    """Return each row of [K, n] at length 1."""
    return rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + EPSILON)


def batches(feeds: list[Feed], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the feeds' batches as one: inputs [K, B, C, H, W] and labels [K, B]."""
    for parts in zip(*(feed.epoch(epoch) for feed in feeds), strict=True):
        yield torch.stack([x for x, _ in parts]), torch.stack([y for _, y in parts])


def stacked_epochs_of(case: Case, epochs: int, way: str, seeds: int) -> Callable[[], None]:
    """Return what trains some epochs of `seeds` nets at once, further ones at each call."""
    make_deterministic(case.threads)
    images, labels, _ = load(case)
    mean, std = channel_statistics(images)
    common = {"batch_size": case.batch_size, "mean": mean, "std": std, "augment": "standard"}
    feeds = [
        Feed(images, labels, **common, flip=False, crop_padding=1, seed=seed)
        for seed in range(seeds)
    ]
    nets = []
    for seed in range(seeds):
        nets.append(models.build("cnn", 10, 8, 1))
        nets[-1].load_state_dict(models.initial_weights("cnn", 10, 8, 1, seed))
    optimizer = StackedPUGD(StackedCNNs(nets), way)
    done = 0

    def train() -> None:
        nonlocal done
        for epoch in range(done, done + epochs):
            losses = [optimizer.step(inputs, labels) for inputs, labels in batches(feeds, epoch)]
            torch.stack(losses).tolist()
        done += epochs

    return train


def measure(case: Case, seeds: int) -> dict[str, list[float]]:
    """Return epochs of a net a second, by way, the ways in turn."""
    rates: dict[str, list[float]] = {way: [] for way in ("separate", *WAYS)}
    pair = [(epochs_of, case, EPOCHS, seed) for seed in (0, 1)]
    both = replace(case, threads=2)
    with (
        workers(pair) as separate,
        worker(stacked_epochs_of, both, EPOCHS, "vmap", seeds) as of_vmap,
        worker(stacked_epochs_of, both, EPOCHS, "grouped", seeds) as of_groups,
    ):
        for _ in range(case.repeats):
            rates["separate"].append(2 * EPOCHS / together(separate))
            rates["vmap"].append(seeds * EPOCHS / together([of_vmap]))
            rates["grouped"].append(seeds * EPOCHS / together([of_groups]))
    return rates


def measure_processor(case: Case, seeds: int) -> dict[str, list[float]]:
    """Return epochs of a net a second of processor time, on one thread, by way, in turn."""
    with as_in_a_run(1):
        works = {"separate": (epochs_of(case, 1), 1)}
        works |= {way: (stacked_epochs_of(case, 1, way, seeds), seeds) for way in WAYS}
        rates: dict[str, list[float]] = {way: [] for way in works}
        for repeat in range(case.repeats + 1):
            for way, (work, nets) in works.items():
                start = time.process_time()
                work()
                if repeat:  # the first is a warm-up
                    rates[way].append(nets / (time.process_time() - start))
    return rates


def run(case: Case = CASE, seeds: tuple[int, ...] = SEEDS) -> list[dict]:
    """Return one row per way and number of seeds: epochs a second of a net, ratio to runs apart."""
    rows = []
    for count in seeds:
        by_clock, by_processor = measure(case, count), measure_processor(case, count)
        for way in WAYS:
            what = f"{case.model}, batch {case.batch_size}: {count} seeds by {way}"
            rows.append(row(what, way, by_clock, "two runs of one thread at once"))
            what += ", processor time of one thread"
            rows.append(row(what, way, by_processor, "separate runs"))
    return rows


def row(what: str, way: str, rates: dict[str, list[float]], against: str) -> dict:
    """Return a line of the table; `ratio` is above 1 where stacking is the faster."""
    ratios = [a / b for a, b in zip(rates[way], rates["separate"], strict=True)]
    return {
        "benchmark": "stacked",
        "what": what,
        "value": statistics.median(rates[way]),
        "unit": "epochs/s",
        "ratio": statistics.median(ratios),
        "spread": spread(ratios),
        "repeats": len(ratios),
        "against": against,
    }


if __name__ == "__main__":
    for line in run():
        print(line)
