"""Whether runs may be compared: device, versions, protocol, data, settings, initial weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from perturb.data import registry

# What of a specification differs between methods on purpose, or is compared as a thing of its own.
_OWN = {"dataset", "model", "method", "seed", "epochs", "protocol", "scale", "device", "threads"}
_OWN |= {"checkpoint_every"}  # keeps weights, changes none


def versions(text: str, but: str = "") -> str:
    """Return versions (JSON) as `perturb 0.1.0, python 3.11.2, ...`, without one of a name."""
    found = sorted(json.loads(text).items())
    return ", ".join(f"{name} {version}" for name, version in found if name != but)


def data_of(run: Mapping[str, object]) -> str:
    """Say how much of the data set a run of `collect` trained on; see `data_used`."""
    limited = bool(json.loads(run["specification"]).get("limit"))
    used = json.loads(run["images"]).get("train")
    return data_used(run["dataset"], used, whole=not limited and not run["partial_data"])


def data_used(dataset: str, train_images: int | None, *, whole: bool) -> str:
    """Return `whole`, or how much of the official train split it was: `partial (200 of 50,000)`."""
    if whole:
        return "whole"
    if train_images is None:
        return "partial"
    official = registry.shape(dataset)
    of = f"{train_images:,} of {official.train:,}" if official else f"{train_images:,} images"
    return f"partial ({of})"


def attributes(run: Mapping[str, object]) -> dict[str, str]:
    """Return everything that must be equal for a run to be compared with another, as text."""
    settings = json.loads(run["specification"])
    found = {
        "device": str(run["device"]),
        "threads": str(run["threads"]),
        "versions": versions(run["versions"], but="perturb"),
        "protocol": str(run["protocol"]),
        "scale": str(run["scale"]),
        "data": data_of(run),
        "data hash": _short(run.get("data_sha256")),
        "split hash": _short(run.get("split_sha256")),
        "model": str(run["model"]),
    }
    if _known(run.get("initial_weights_sha256")):
        found[f"initial weights of seed {run['seed']}"] = _short(run["initial_weights_sha256"])
    found |= {key: json.dumps(settings[key]) for key in sorted(settings.keys() - _OWN)}
    return found


def mixed(runs: pd.DataFrame, reference: pd.DataFrame) -> dict[int, str]:
    """Say for each row label of `runs` what of it differs from the runs of the reference.

    Where the reference has no runs, the most common value of all runs stands in for it. Runs that
    agree in everything have no entry.
    """
    found = {label: attributes(run) for label, run in runs.to_dict("index").items()}
    standard: dict[str, str] = {}
    for pool in (found, {label: found[label] for label in reference.index if label in found}):
        for key in {key for values in pool.values() for key in values}:
            counts = Counter(values[key] for values in pool.values() if key in values)
            standard[key] = max(sorted(counts), key=counts.__getitem__)
    texts = {}
    for label, values in found.items():
        differing = [
            f"{key} {value} (reference: {standard[key]})"
            for key, value in values.items()
            if value != standard[key]
        ]
        if differing:
            texts[label] = "; ".join(differing)
    return texts


def _known(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _short(digest: object) -> str:
    return digest[:12] if _known(digest) else "unknown"
