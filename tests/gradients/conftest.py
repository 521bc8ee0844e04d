"""A small study of gradients, run once."""

from dataclasses import replace

import pytest
import yaml

from perturb.gradients.run import run_toy
from perturb.gradients.settings import study

NAMES = ("record.json", "curves.csv", "windows.csv", "batches.csv", "pooled.csv", "timing.csv")


@pytest.fixture(scope="session")
def smoke(root):
    """The smoke study's settings, smaller still."""
    values = yaml.safe_load((root / "config/studies/gradients.yaml").read_text(encoding="utf-8"))
    found = study(values | {"train": {"threads": 1, "device": "cpu"}}, "gradients_smoke")
    toys = [replace(t, samples=200, held_out_samples=300, pooled_samples=600) for t in found.toys]
    return replace(found, toys=tuple(toys))


def run(toy, seed, folder, state=None):
    outputs = {name.partition(".")[0]: folder / name for name in NAMES}
    folder.mkdir(parents=True)
    run_toy(toy, seed, outputs, state)
    return outputs["record"]


@pytest.fixture(scope="session")
def records(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "gradients"
    return [
        run(toy, seed, folder / toy.slug / f"seed{seed}")
        for toy in smoke.toys
        for seed in smoke.seeds
    ]
