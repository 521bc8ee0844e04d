"""A toy of one seed, from its settings to its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from perturb import code
from perturb.files import sha256_file, write_json, write_text
from perturb.gradients import toy
from perturb.gradients.kept import Kept
from perturb.gradients.settings import Toy
from perturb.train.determinism import describe_device, find_device, versions

FRAMES = ("curves", "windows", "batches", "pooled")


def csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV, floats to their last digit.

    As `analysis.formats` does: a change of how tables are told must not rerun what they are of.
    """
    return frame.to_csv(index=False, lineterminator="\n")


def run_toy(
    settings: Toy, seed: int, outputs: Mapping[str, Path], state: Path | None = None
) -> None:
    """Run a toy of one seed and write its frames, its times and its record.

    In the folder `state` long estimates are kept until it has ended.
    """
    machine = where(find_device(settings.device), settings.threads, "perturb.gradients.run")
    what = {"settings": asdict(settings), "slug": settings.slug, "seed": seed} | machine
    kept = Kept(state, what)
    found = toy.run(settings, seed, kept)
    for name in (*FRAMES, "timing"):
        write_text(outputs[name], csv(found[name]))
    hashes = {name: sha256_file(outputs[name]) for name in FRAMES}
    write_json(outputs["record"], what | found["losses"] | {"sha256": hashes})
    kept.clear()


def where(device: torch.device, threads: int, module: str) -> dict[str, Any]:
    """Return what a record says of the machine and of the code that `module` uses."""
    return {
        "device": describe_device(device),
        "threads": threads,
        "versions": versions(device),
        "code_sha256": code.digest(code.of(module)),
    }
