"""Estimate the gradients of single layers of a trained XNOR-ResNet."""

from perturb.jobs.forkserver import hand_over

hand_over()

from pathlib import Path

from perturb.config import RunSpecification
from perturb.gradients.settings import Layers
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors

specification = RunSpecification.from_json(snakemake.params.specification)
with (
    user_errors(snakemake.log[0]),
    leased_gpu(snakemake.resources.get("gpu_shares", 1), specification.device),
):
    from perturb.gradients.run_layers import run_layers
    from perturb.train.trained import TrainedFiles

    run_layers(
        specification,
        Layers.from_json(snakemake.params.settings),
        TrainedFiles(**{name: Path(path) for name, path in snakemake.input.items()}),
        {name: Path(path) for name, path in snakemake.output.items()},
        Path(snakemake.params.state),
    )
