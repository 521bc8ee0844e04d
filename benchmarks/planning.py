"""What planning 2,000 runs costs: a dry run of a new study, and of one that is finished.

The finished study is made cheaply: every output that `snakemake --summary` lists is an empty file,
and `snakemake --touch --forceall` (minutes) gives each the metadata that a real run leaves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "config", "envs", "profiles", "src", "workflow")
METHODS, SEEDS = 400, 5
BOUND_SECONDS, MEGABYTES = 10, 300
SECONDS = 700  # the whole, on two cores
QUICK = {"number": 40}


def study(number: int = METHODS) -> dict:
    """Return a config with this number of methods and `SEEDS` seeds on the digits."""
    schedules = (f"pugdr_isin_2_{n / 1000:g}_30" for n in range(1, number - 2))
    methods = [{"method": name} for name in ("sgd_30", "sgd_60", "pugd_30", *schedules)]
    digits = {"reference": "pugd_30", "sgd": "sgd_30", "sgd_double": "sgd_60", "methods": methods}
    digits["landscape"] = {"methods": []}
    datasets = {"datasets": {"digits": digits}}
    return {"chapters": ["digits"], "seeds": list(range(SEEDS)), "rts": datasets}


def snakemake(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Run Snakemake there; return its seconds, its largest memory (MB) and what it printed."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "study.yaml"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    start = time.perf_counter()
    with open(folder / "output", "w+") as output:
        process = subprocess.Popen(
            [*command, *arguments], cwd=folder, env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        output.seek(0)
        said = output.read()
    if status:
        raise RuntimeError(said)
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 2**20, said


def finish(folder: Path) -> None:
    """Make an empty file of every output of the study, and Snakemake's metadata of it.

    But for what a plan reads: what is known of the data, which is made.
    """
    known = [f"results/data/digits.{what}.json" for what in ("manifest", "duplicates")]
    snakemake(folder, "--quiet", "--", *known)
    _, _, said = snakemake(folder, "--summary")
    listed = [line.split("\t")[0] for line in said.splitlines() if line.startswith("results/")]
    for name in listed:
        path = folder / name
        if path.name == "checkpoints":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    snakemake(folder, "--touch", "--forceall", "--quiet")


def run(number: int = METHODS) -> list[dict]:
    """Return a row for the time and memory of each of the two, with this number of methods."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        (folder / "study.yaml").write_text(yaml.safe_dump(study(number)))
        for what in ("a new study", "a finished study"):
            if what == "a finished study":
                finish(folder)
            seconds, megabytes, said = snakemake(folder, "-n", "--quiet")
            if ("Nothing to be done" in said) != (what == "a finished study"):
                raise RuntimeError(said)
            for value, unit, bound in ((seconds, "s", BOUND_SECONDS), (megabytes, "MB", MEGABYTES)):
                rows.append(
                    {
                        "benchmark": "planning",
                        "what": f"snakemake -n -q, {what} of {number * SEEDS:,} runs",
                        "value": value,
                        "unit": unit,
                        "expected": f"<= {bound} {unit}",
                    }
                )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
