"""Small folders of result files with known contents."""

import json
from pathlib import Path

import numpy as np

from perturb.audit.plan import AuditPlan


def write(path: Path, accuracy, train_loss=None, **others) -> Path:
    """Write a result file in perturb's own words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"test_accuracy": list(accuracy)} | others
    if train_loss is not None:
        values["train_loss"] = list(train_loss)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def rising(last: float, epochs: int = 20) -> np.ndarray:
    """An accuracy curve that ends, and is best, at `last`."""
    return (
        last
        * (1 - 0.5 * np.exp(-np.arange(epochs) / 2))[:epochs]
        / (1 - 0.5 * np.exp(-(epochs - 1) / 2))
    )


def make_plan(folder: Path, **settings) -> AuditPlan:
    """The plan of an audit of `folder`, its files named <method>-<seed> or <method>."""
    settings.setdefault("pattern", r"(?P<method>[^/-]+)(?:-(?P<seed>\d+))?\.(?:json|csv)")
    return AuditPlan("mine", str(folder), **settings)
