"""What the store of finished results costs, and what it gives back.

The same short runs and their table with the store and without it, in turn; then all of them
deleted and put back.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._measuring import spread
from benchmarks.workflow import CORES, TABLE, run_workflow

SECONDS = 600  # the whole, on two cores
QUICK = {"repeats": 1, "deleted": 100}
RUNS = 20
PUT_BACK_SECONDS = 60.0  # for a thousand runs
SLOWER = 1.05


def study(runs: int, epochs: int, **changes: object) -> dict:
    """Return a configuration of so many runs of SGD on digits, half of them of twice the epochs."""
    methods = [{"method": f"sgd_{epochs}"}, {"method": f"sgd_{2 * epochs}"}]
    entry = {
        "reference": f"sgd_{epochs}",
        "sgd": f"sgd_{epochs}",
        "sgd_double": f"sgd_{2 * epochs}",
        "train": {"batch_size": 600},
        "landscape": {"methods": []},
        "methods": methods,
    }
    seeds = list(range(runs // len(methods)))
    return {
        "chapters": ["digits"],
        "seeds": seeds,
        "predictions": False,
        "rts": {"datasets": {"digits": entry}},
        **changes,
    }


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake in a copy of the project, with its `bench.yaml`."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(CORES)]
    command += ["--configfile", "bench.yaml", *arguments, "--", TABLE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done


def seconds_to_put_back(folder: Path, runs: int) -> float:
    """Return the seconds in which so many deleted runs come back, and their table with them."""
    run_workflow(folder, [TABLE], study(runs, 1))
    records = sorted(folder.glob("results/runs/**/record.json"))
    trained = epochs_trained(folder)
    # The table too: Snakemake makes nothing that a finished target was made from.
    for gone in ("runs", "tables"):
        shutil.rmtree(folder / "results" / gone)
    start = time.perf_counter()
    snakemake(folder)
    seconds = time.perf_counter() - start
    if sorted(folder.glob("results/runs/**/record.json")) != records:
        raise RuntimeError("not every run came back")
    if epochs_trained(folder) != trained:
        raise RuntimeError("runs were trained again")
    return seconds


def epochs_trained(folder: Path) -> int:
    """Return how many epochs were trained in all, by the runs' progress."""
    logs = folder.glob("results/logs/runs/**/*.progress.jsonl")
    return sum(path.read_text().count('"epoch"') for path in logs)


def run(repeats: int = 3, deleted: int = 1000) -> list[dict]:
    """Return rows for the store's cost and for what it gives back, of `deleted` runs."""
    walls: dict[bool, list[float]] = {True: [], False: []}
    for repeat in range(repeats):
        for stored in (True, False) if repeat % 2 else (False, True):
            with tempfile.TemporaryDirectory() as folder:
                changes = {} if stored else {"store": ""}
                found = run_workflow(Path(folder), [TABLE], study(RUNS, 5, **changes))
                walls[stored].append(found["wall"])
    ratios = [kept / without for kept, without in zip(walls[True], walls[False], strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        back = seconds_to_put_back(Path(folder), deleted)
    rows: list[dict] = [
        {
            "what": f"{RUNS} runs and their table, with the store",
            "value": statistics.median(walls[True]),
            "unit": "s",
            "ratio": statistics.median(ratios),
            "spread": spread(ratios),
            "repeats": repeats,
            "against": "without it",
            "expected": f"<= {SLOWER}",
        },
        {
            "what": f"{deleted:,} deleted runs put back",
            "value": back,
            "unit": "s",
            "expected": f"<= {PUT_BACK_SECONDS * deleted / 1000:g} s",
        },
    ]
    return [{"benchmark": "store"} | row for row in rows]


if __name__ == "__main__":
    for row in run():
        print(row)
