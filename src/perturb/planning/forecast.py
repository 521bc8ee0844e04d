"""How long a workflow will train on this machine, in one line before it does.

`python -m perturb.planning.forecast` reads what `Asked` holds as JSON and prints the line, so that
the workflow's own process never imports torch. A few steps are measured where no finished run tells
what one takes (`survey`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.jobs.finished import in_store
from perturb.jobs.store import Store
from perturb.planning.recorded import cost_of
from perturb.planning.settings import Settings, duration
from perturb.planning.sizes import shape_of, steps_of
from perturb.planning.targets import Target
from perturb.runs import RECORD, Run, Specification
from perturb.train.settings import TrainSettings

# Work that takes minutes on any machine: nothing is measured for it. Batch gradients, and pixels of
# the images that they are of.
_FEW_GRADIENTS, _FEW_PIXELS = 20_000, 1e8
_LONG = 1800.0  # seconds from which the line is worth reading
_PATIENCE = 150.0  # seconds that the measurement may take


@dataclass(frozen=True)
class Asked:
    """What is to be told of: the configuration's values, where things are, the runs, the cores."""

    values: dict[str, Any]
    schema: str
    results: str
    benchmarks: str
    runs: list[list[Any]]
    cores: int


def runs_of(jobs: Iterable[Any], store: Store | None) -> list[Run]:
    """Return the runs that Snakemake's jobs are about to train, without those in the store."""
    found: list[Specification] = []
    for job in jobs:
        text = dict(job.params.items()).get("specification")
        if text and any(Path(path).name == RECORD for path in job.output):
            specification = studies.specification_of_json(text)
            if isinstance(specification, TrainSettings):
                found.append(specification)
    stored = in_store(found, store)
    return [specification.run for specification in found if specification.run not in stored]


def say(
    config: Config,
    schema: Path,
    results: Path,
    benchmarks: str,
    runs: Sequence[Run],
    cores: int,
) -> None:
    """Say on standard error how long the runs train here, where that is long.

    Nothing where it is short. What cannot be told stops no workflow.
    """
    try:
        if _is_little(config, results, runs):
            return
    except PerturbError as error:  # a data set whose size only its files tell
        what = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
        said = str(error).removeprefix("plan: ")
        print(f"perturb notes: {what} to train; how long: {said}", file=sys.stderr, flush=True)
        return
    named = [[run.dataset, run.model, run.method, run.seed] for run in runs]
    asked = Asked(dict(config.values), str(schema), str(results), benchmarks, named, cores)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "perturb.planning.forecast"],
            input=json.dumps(asdict(asked)),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        text = (
            f"perturb notes: {len(runs)} runs to train; a few steps alone took longer than "
            f"{duration(_PATIENCE)} here. `snakemake plan` says what they cost."
        )
    else:
        last = done.stderr.strip().rpartition("\n")[2]
        text = done.stdout.strip() if not done.returncode else f"perturb notes: how long: {last}"
    if text:
        print(text, file=sys.stderr, flush=True)


def _is_little(config: Config, results: Path, runs: Sequence[Run]) -> bool:
    """Whether the runs' work is little, whatever their models are."""
    known: dict[tuple[str, str, str], tuple[float, float]] = {}
    gradients, pixels = 0.0, 0.0
    for run in runs:
        key = (run.dataset, run.model, run.method)
        if key not in known:
            found = studies.specification(config, run)
            if not isinstance(found, TrainSettings):
                continue
            count = cost_of(found, steps_of(found, results, config)).count
            shape = shape_of(run.dataset, results, config)
            images = count * min(found.batch_size, shape.train)
            known[key] = (count, images * shape.image_size**2)
        gradients += known[key][0]
        pixels += known[key][1]
    return gradients < _FEW_GRADIENTS and pixels < _FEW_PIXELS


def line(asked: Asked) -> str:
    """Return the line, or "" where the runs are short."""
    from perturb.planning.survey import survey

    config, results = Config(asked.values, Path(asked.schema)), Path(asked.results)
    runs = tuple(Run(*names) for names in asked.runs)
    found = survey(
        Target("", "", runs), config, Settings.of(config.values), results, Path(asked.benchmarks)
    )
    threads = max(work.threads for work in found.workloads.values())
    on_cpu = found.here.startswith("cpu")
    at_once = max(1, asked.cores // threads) if on_cpu else config.values.get("gpu_shares", 1)
    each = [(method.todo, found.seconds(method, found.here) or 0) for method in found.methods]
    longest = max(seconds for _, seconds in each)
    total = max(sum(todo * seconds for todo, seconds in each) / at_once, longest)
    if total < _LONG:
        return ""
    told = [f"perturb notes: {len(runs)} runs to train, about {duration(total)} on this machine."]
    if on_cpu:
        told.append("On a GPU or a cluster: docs/slurm.md.")
    told.append(
        "What it costs, and what a budget buys: `snakemake plan`. Every part in minutes: "
        "`snakemake --cores all --configfile config/smoke.yaml`."
    )
    return " ".join(told)


def main() -> None:
    """Print the line of what standard input asks."""
    try:
        text = line(Asked(**json.load(sys.stdin)))
    except PerturbError as error:
        sys.exit(str(error))
    if text:
        print(text)


if __name__ == "__main__":
    main()
