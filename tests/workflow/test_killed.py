"""The whole workflow killed at random moments: in training, landscapes, steps, figures, report."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from .conftest import SMALL, small_study
from .test_workflow import hashes

# Enough for a usual run; PERTURB_KILLS=30 by hand.
KILLS = int(os.environ.get("PERTURB_KILLS", "2"))


def start(checkout):
    """Start Snakemake and its jobs as a process group of their own."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock"]
    return subprocess.Popen(
        [*command, "--configfile", *checkout.configfiles],
        cwd=checkout.path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def a_study() -> dict:
    landscape = SMALL["rts"]["datasets"]["digits"]["landscape"]
    return small_study(
        ["sgd_2", "sgd_4", "pugd_2"],
        landscape | {"methods": ["pugd_2"], "direction_seeds": [0]},
        seeds=[0],
        chapters=["digits"],
        save_seconds=0,
    )


def a_search() -> dict:
    """Rungs that go on, a sampler that asks by what it was told, a range around it, repeats."""
    method = "tuned_lr-{lr}_sam_{rho}_{epochs}"
    stages = [
        {"stage": "lr", "method": method, "nuisance": {"lr": [0.001, 0.01, 0.1, 1]},
         "halving": {"epochs": [1, 2], "keep": 0.5}, "fixed": {"rho": 0.05, "epochs": 4}},
        {"stage": "rho", "after": "lr", "nuisance": {"rho": {"low": 0.01, "high": 0.5}},
         "sampler": "tpe", "trials": 5},
        {"stage": "epochs", "after": "rho", "scientific": {"epochs": [2, 4]},
         "nuisance": {"lr": {"times": [0.5, 1]}}},
        {"stage": "repeats", "after": "epochs", "repeat": [1, 2]},
    ]  # fmt: skip
    chain = {"dataset": "digits", "model": "cnn", "train": {"batch_size": 200}, "stages": stages}
    return {
        "save_seconds": 0,
        "store": "",
        "chapters": ["tune_chain"],
        "tune": {"searches": {"chain": chain}},
    }


@pytest.mark.long
@pytest.mark.parametrize("values", [a_study(), a_search()], ids=["study", "search"])
def test_killed_anywhere_it_comes_to_the_same_bytes(make_checkout, values):
    whole, killed = make_checkout("whole", values), make_checkout("killed", values)
    begun = time.monotonic()
    assert start(whole).wait() == 0, "see the log in .snakemake/log"
    seconds = time.monotonic() - begun
    moments = random.Random(0)
    hit = 0
    for _ in range(KILLS):
        process = start(killed)
        # Short first and long later: what is finished shortens the rest.
        try:
            process.wait(moments.uniform(3, max(seconds / 3, 6)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            hit += 1
        else:  # it has come to its end: begin again with half of it gone
            for kind in ("runs/*/*/*", "landscapes/*/*/*", "search/*/*", "tables", "figures/*"):
                for path in sorted(killed.results.glob(f"{kind}/**/*"))[::2]:
                    if path.is_file():
                        path.unlink()
    assert hit
    assert start(killed).wait() == 0
    assert hashes(killed.results) == hashes(whole.results)
