"""Whether runs may be compared: device, versions, code, protocol, data, settings, weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from perturb.data import registry

# What of a specification differs between methods on purpose, or is compared as a thing of its own.
_OWN = {"dataset", "model", "method", "seed", "epochs", "protocol", "scale", "device", "threads"}
_OWN |= {"checkpoint_every"}  # keeps weights, changes none
_WEIGHTS = "initial weights of seed"


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
        found[f"{_WEIGHTS} {run['seed']}"] = _short(run["initial_weights_sha256"])
    found |= {key: json.dumps(settings[key]) for key in sorted(settings.keys() - _OWN)}
    # Entries without a module's name (what a method's name came to) differ between methods.
    modules = {key: value for key, value in _code(run).items() if key.startswith("perturb.")}
    return found | {f"code of {name}": _short(value) for name, value in modules.items()}


def code_differences(runs: pd.DataFrame) -> str:
    """Say which modules differ between runs that should be made by one code; "" where none does.

    `runs` are those of one row of a table: what their rule, model and study use is the same. As
    `perturb.optim.rules.sam (3 and 5 runs)`, for a module that some do not use `(absent)`.
    """
    found = [_code(run) for run in runs.to_dict("records")]
    texts = []
    for name in sorted({name for code in found for name in code}):
        counts = Counter(code.get(name, "absent") for code in found)
        if len(counts) > 1:
            numbers = " and ".join(map(str, sorted(counts.values())))
            absent = f", {counts['absent']} of them without it" if "absent" in counts else ""
            texts.append(f"{name} ({numbers} runs{absent})")
    return ", ".join(texts)


def mixed(runs: pd.DataFrame, reference: pd.DataFrame) -> dict[int, str]:
    """Say for each row label of `runs` what of it differs from the runs of the reference.

    Of what the reference's runs do not have (a rule's own code), the most common value of all runs
    stands in for theirs. Runs that agree in everything have no entry.
    """
    found = {label: attributes(run) for label, run in runs.to_dict("index").items()}
    standard: dict[str, tuple[str, str]] = {}
    of_reference = {label: found[label] for label in reference.index if label in found}
    for whose, pool in (("most runs", found), ("reference", of_reference)):
        for key in {key for values in pool.values() for key in values}:
            counts = Counter(values[key] for values in pool.values() if key in values)
            standard[key] = max(sorted(counts), key=counts.__getitem__), whose
    texts = {}
    for label, values in found.items():
        differing = [
            _difference(key, value, *standard[key])
            for key, value in values.items()
            if value != standard[key][0]
        ]
        if differing:
            texts[label] = "; ".join(differing)
    return texts


def _difference(key: str, value: str, usual: str, whose: str) -> str:
    """Say what a run has, and what most runs or the reference's have in its place.

    Without the seed of initial weights, so that what holds for all runs of a row is said once.
    """
    if key.startswith(_WEIGHTS):
        article = "the " if whose == "reference" else ""
        return f"initial weights other than at the same seed of {article}{whose}"
    return f"{key} {value} ({whose}: {usual})"


def _code(run: Mapping[str, object]) -> dict[str, str]:
    """Return the hash of each module that made a run, by name."""
    return json.loads(str(run.get("code") or "{}"))


def _known(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _short(digest: object) -> str:
    return digest[:12] if _known(digest) else "unknown"
