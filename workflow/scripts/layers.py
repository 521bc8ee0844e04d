"""Measure single layers of a trained network: the job that a chapter's study names."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb import code, studies
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors
from perturb.jobs.store import Store
from perturb.study import load

with user_errors(snakemake.log[0]):
    specification = studies.specification_of_json(
        snakemake.params.specification, snakemake.params.device
    )
    with leased_gpu(snakemake.resources.get("gpu_shares", 1), specification.device):
        code.check_unchanged(code.of(snakemake.params.job.partition(":")[0]))

        from perturb.train.trained import TrainedFiles

        measure = load(snakemake.params.job)
        measure(
            specification,
            json.loads(snakemake.params.settings),
            TrainedFiles(**{name: Path(path) for name, path in snakemake.input.items()}),
            {name: Path(path) for name, path in snakemake.output.items()},
            Path(snakemake.params.state),
            store=Store.of_environment(),
        )
