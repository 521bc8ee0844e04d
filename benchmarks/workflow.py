"""What the main job's runs cost beside their training: jobs forked from one process, and not.

The study is that of `make` up to its table: every method and seed of the digits, without
landscapes. A run's own training is the sum of its epochs' seconds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "config", "envs", "profiles", "src", "workflow")
CORES = 2
TABLE = "results/tables/digits.csv"
BOUND = 1.15
SECONDS = 480  # the whole, on two cores
QUICK = {"config": {"seeds": [0]}, "ways": (True,)}


def run_workflow(folder: Path, targets: list[str], config: dict | None = None) -> dict[str, float]:
    """Run a copy of the project in `folder`; return its wall seconds and what its jobs took."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    (folder / "bench.yaml").write_text(yaml.safe_dump(config or {}))
    command = [sys.executable, "-m", "snakemake", "--cores", str(CORES)]
    command += ["--configfile", "bench.yaml", "--", *targets]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stderr)
    results = folder / "results"
    jobs = [pd.read_csv(path, sep="\t")["s"].sum() for path in results.glob("benchmarks/**/*.tsv")]
    epochs = [pd.read_csv(path)["seconds"].sum() for path in results.glob("runs/**/timing.csv")]
    return {"wall": wall, "jobs": sum(jobs), "training": sum(epochs), "runs": len(epochs)}


def run(config: dict | None = None, ways: tuple[bool, ...] = (True, False)) -> list[dict]:
    """Return rows for the wall time with and without forking, and for where it goes with.

    `config` is beside the digits' own configuration; `ways` are whether jobs are forked.
    """
    rows = []
    found = {}
    for forked in ways:
        with tempfile.TemporaryDirectory() as folder:
            found[forked] = run_workflow(
                Path(folder), [TABLE], {**(config or {}), "fork_jobs": forked}
            )
        seconds = found[forked]
        ideal = seconds["training"] / CORES
        rows.append(
            {
                "what": f"{TABLE}, wall time, jobs {'forked' if forked else 'not forked'}",
                "value": seconds["wall"],
                "unit": "s",
                "ratio": seconds["wall"] / ideal,
                "against": f"1/{CORES} of the {seconds['runs']:.0f} runs' training, {ideal:.0f} s",
                "expected": f"<= {BOUND}" if forked else "",
            }
        )
    seconds = found[True]
    cores = CORES * seconds["wall"]
    parts = {
        "training": seconds["training"],
        "jobs but for training: start of Python, imports, files": seconds["jobs"]
        - seconds["training"],
        "Snakemake: planning, scheduling, cores left idle": cores - seconds["jobs"],
    }
    rows += [
        {
            "what": what,
            "value": value,
            "unit": "s",
            "ratio": value / cores,
            "against": f"{CORES} cores x {seconds['wall']:.0f} s, jobs forked",
        }
        for what, value in parts.items()
    ]
    return [{"benchmark": "workflow"} | row for row in rows]


if __name__ == "__main__":
    for row in run():
        print(row)
