"""The whole workflow killed at random moments: in training, landscapes, tables, figures, report."""

import copy
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from .conftest import SMALL
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


@pytest.mark.long
def test_killed_anywhere_it_comes_to_the_same_bytes(make_checkout):
    values = copy.deepcopy(SMALL) | {"save_seconds": 0, "seeds": [0]}
    digits = values["rts"]["datasets"]["digits"]
    digits["methods"] = [{"method": name} for name in ("sgd_2", "sgd_4", "pugd_2")]
    digits["landscape"] |= {"methods": ["pugd_2"], "direction_seeds": [0]}
    whole, killed = make_checkout("whole", values), make_checkout("killed", values)
    begun = time.monotonic()
    assert start(whole).wait() == 0
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
            for kind in ("runs/*/*/*", "landscapes/*/*/*", "tables", "figures/*"):
                for path in sorted(killed.results.glob(f"{kind}/**/*"))[::2]:
                    if path.is_file():
                        path.unlink()
    assert hit
    assert start(killed).wait() == 0
    assert hashes(killed.results) == hashes(whole.results)
