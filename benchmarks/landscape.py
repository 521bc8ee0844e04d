"""Points of a loss surface a second, against the plain way, a peer, and the floor of the FLOPs.

The loss of 2,000 images a point. The plain way sets the weights and loops over a DataLoader of a
TensorDataset of normalised images; the peer is PyPI's `loss-landscapes`, its metric in batches and
without gradients. The floor is images x forward FLOPs (counted) over the rate of matrix products
(measured here, the best of several sizes). Every way has all cores, and takes its turn: by threads
within an operation, and ours on the small net by one row per core (`workers`), as the planes of a
workflow have them.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import loss_landscapes
import torch
from loss_landscapes.metrics.metric import Metric
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._measuring import matrix_rate, spread, timed
from perturb import models
from perturb.landscape import directions
from perturb.landscape.surface import Surface, batch_size

IMAGES = 2000
CASES = (
    # model, image size, channels, repeats, vmap's points at once (one without), one row per core
    ("cnn", 8, 1, 15, 16, True),
    ("resnet18", 32, 3, 3, 0, False),
)
SECONDS = 300  # the whole, on two cores
QUICK = {"cases": (("cnn", 8, 1, 3, 16, True),)}
EXPECTED = {
    ("cnn", "plain"): "at least 8",
    ("resnet18", "floor"): "at least 0.7",
}


class BatchedLoss(Metric):
    """The peer's metric over batches, without gradients, which its own keeps."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.batches = batches

    @torch.no_grad()
    def __call__(self, model_wrapper: object) -> float:
        total = sum(
            cross_entropy(model_wrapper.forward(x), y, reduction="sum").item()
            for x, y in self.batches
        )
        return total / IMAGES


def with_statistics(name: str, size: int, channels: int) -> nn.Module:
    """Return a model whose batch-norm has seen images."""
    torch.manual_seed(0)
    model = models.build(name, 10, size, channels)
    with torch.no_grad():
        model(torch.randn(64, channels, size, size))
    return model.eval()


def ways_of(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    at_once: int,
    workers: int,
    surfaces: ExitStack,
) -> dict[str, tuple[Callable[[], object], int]]:
    """Return each way with the number of points that a call of it computes.

    `surfaces` leaves those of perturb, which are entered here.
    """
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    drawn = directions.draw({n: w.shape for n, w in weights.items()}, 0)
    first, second = (directions.normalise(d, weights) for d in drawn)
    size = batch_size(model, images[:1])
    batches = list(zip(images.split(size), labels.split(size), strict=True))
    loader = DataLoader(TensorDataset(images.cpu(), labels.cpu()), batch_size=min(size, 128))
    points = max(1, at_once)

    def ours(count: int) -> tuple[Callable[[], object], int]:
        # A plane enters it once; the other ways get the model as it was.
        surface = surfaces.enter_context(
            Surface(copy.deepcopy(model), batches, first, second, workers=count)
        )

        def rows() -> None:
            with as_many_threads(1 if count > 1 else torch.get_num_threads()):
                list(surface.rows([0.3] * points, [-0.2] * count))

        return rows, points * count

    @torch.no_grad()
    def plain() -> float:
        for name, p in model.named_parameters():
            p.copy_(weights[name] + 0.3 * first[name] - 0.2 * second[name])
        total, correct = 0.0, 0
        for x, y in loader:
            x, y = x.to(images.device), y.to(images.device)
            outputs = model(x)
            total += cross_entropy(outputs, y).item() * len(y)
            correct += (outputs.argmax(1) == y).sum().item()
        for name, p in model.named_parameters():
            p.copy_(weights[name])
        return total / IMAGES

    peer = BatchedLoss(batches)
    found = {
        "perturb": ours(workers),
        "plain": (plain, 1),
        "loss-landscapes": (
            # Its filter normalisation divides by zero where a bias is zero.
            lambda: loss_landscapes.random_plane(model, peer, 1, 2, None, deepcopy_model=True),
            4,
        ),
    }
    if workers > 1:
        found["perturb, one row at a time"] = ours(1)
    if at_once:
        moved = {n: torch.stack([w] * at_once) for n, w in weights.items()}
        buffers = dict(model.named_buffers())
        forward = vmap(lambda p, x: functional_call(model, (p, buffers), (x,)), (0, None))

        @torch.inference_mode()
        def stacked() -> list[Tensor]:
            return [forward(moved, x) for x in images.split(360)]

        found["vmap"] = (stacked, at_once)
    return found


@contextmanager
def as_many_threads(count: int) -> Iterator[None]:
    """Have the given number of threads within an operation in this block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(
    name: str,
    size: int,
    channels: int,
    repeats: int,
    at_once: int,
    by_rows: bool,
    device: torch.device,
) -> tuple[dict[str, list[float]], float]:
    """Return seconds a point of each way, a list each, and those of the floor."""
    model = with_statistics(name, size, channels).to(device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, channels, size, size, generator=generator).to(device)
    labels = torch.randint(0, 10, (IMAGES,), generator=generator).to(device)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(images[:1])
    workers = torch.get_num_threads() if by_rows and device.type == "cpu" else 1
    with ExitStack() as surfaces:
        ways = ways_of(model, images, labels, at_once, workers, surfaces)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for repeat in range(repeats + (at_once > 0)):
            for way, (call, points) in ways.items():
                taken = timed(call, device) / points
                if repeat or not at_once:  # a warm-up, where a point is short
                    seconds[way].append(taken)
    return seconds, IMAGES * counted.get_total_flops() / matrix_rate(device)


def run(cases: tuple = CASES) -> list[dict]:
    """Return one row per way and model: points a second, the ratio of perturb's to it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for name, *case in cases:
        seconds, floor = measure(name, *case, device)
        ours = seconds.pop("perturb")
        rows.append(row(name, ours, [floor] * len(ours), "floor"))
        for way, others in seconds.items():
            rate = 1 / statistics.median(others)
            rows.append(row(name, ours, others, way, f"{way} ({rate:.4g} points/s)"))
    return rows


def row(name: str, ours: list[float], others: list[float], way: str, against: str = "") -> dict:
    """Return a line of the table; `ratio` is above 1 where perturb is the faster."""
    ratios = [b / a for a, b in zip(ours, others, strict=True)]
    return {
        "benchmark": "landscape",
        "what": f"perturb, {name}, {IMAGES:,} images, {torch.get_num_threads()} cores",
        "value": 1 / statistics.median(ours),
        "unit": "points/s",
        "ratio": statistics.median(ratios),
        "spread": spread(ratios),
        "repeats": len(ratios),
        "against": against or way,
        "expected": EXPECTED.get((name, way), ""),
    }


if __name__ == "__main__":
    for line in run():
        print(line)
