"""Measure ensembles, or paths between networks, on the weights that runs left."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb import code
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors
from perturb.jobs.store import Store
from perturb.study import load

with user_errors(snakemake.log[0]):
    with leased_gpu(snakemake.resources.get("gpu_shares", 1), snakemake.params.device):
        code.check_unchanged(code.of(snakemake.params.job.partition(":")[0]))
        measure = load(snakemake.params.job)
        measure(
            json.loads(snakemake.params.settings),
            Path(snakemake.params.results),
            {name: Path(path) for name, path in snakemake.output.items()},
            snakemake.params.device,
            store=Store.of_environment(),
        )
