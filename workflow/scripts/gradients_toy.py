"""Run one toy of one seed: scan windows and learning rates, report on other batches."""

from perturb.jobs.forkserver import hand_over

hand_over()

from pathlib import Path

from perturb.gradients.settings import Toy
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors

settings = Toy.from_json(snakemake.params.settings)
with (
    user_errors(snakemake.log[0]),
    leased_gpu(snakemake.resources.get("gpu_shares", 1), settings.device),
):
    from perturb.gradients.run import run_toy

    outputs = {name: Path(path) for name, path in snakemake.output.items()}
    run_toy(settings, int(snakemake.wildcards.seed), outputs, Path(snakemake.params.state))
