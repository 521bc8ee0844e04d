"""The timing of efficiency tables against `torch.utils.benchmark`, and what it adds to a step."""

import time

import numpy as np
import torch
from torch.utils.benchmark import Timer

from perturb import models
from perturb.efficiency.timing import time_steps

REPEATS = 7
SECONDS = 60  # the whole, on two cores
QUICK = {"repeats": 2, "seconds": 0.5}
STEP = 8e-3  # seconds of a step in the lab log, up to a batch of 8


def run(repeats: int = REPEATS, seconds: float = 1.0) -> list[dict]:
    """Return both rows; each repeat has the two timers one after the other."""
    torch.set_num_threads(1)
    model = models.build("resnet18", 7, 32).eval()
    images = torch.randn(8, 3, 32, 32)

    def call(_: object = None) -> None:
        with torch.inference_mode():
            model(images)

    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(time_steps(call, lambda: None, seconds=seconds).quantile(0.5))
        timer = Timer("call()", globals={"call": call}, num_threads=1)
        theirs.append(timer.blocked_autorange(min_run_time=seconds).median)
    ratios = np.array(ours) / np.array(theirs)
    added = [_added() for _ in range(repeats)]
    return [
        {
            "benchmark": "efficiency",
            "what": "median of a step of resnet18, batch 8, 32x32",
            "value": float(np.median(ours)),
            "unit": "s",
            "repeats": repeats,
            "ratio": float(np.median(ratios)),
            "spread": float(np.subtract(*np.quantile(ratios, [0.75, 0.25]))),
            "against": "torch.utils.benchmark",
            "expected": "0.97 to 1.03",
        },
        {
            "benchmark": "efficiency",
            "what": "what timing adds to a step of 8 ms",
            "value": float(np.median(added)),
            "unit": "s",
            "repeats": repeats,
            "ratio": float(np.median(added)) / STEP,
            "spread": float(np.subtract(*np.quantile(added, [0.75, 0.25]))) / STEP,
            "against": "the step alone",
            "expected": "below 0.01",
        },
    ]


def _added(seconds: float = 0.4) -> float:
    """Return the median of what is measured beyond what a step measures of itself."""
    own: list[float] = []

    def step(_: object) -> None:
        start = time.perf_counter()
        while time.perf_counter() < start + STEP:
            pass
        own.append(time.perf_counter() - start)

    timing = time_steps(step, lambda: None, warm_up=1, seconds=seconds)
    return float(np.median(timing.seconds - np.array(own[1:])))
