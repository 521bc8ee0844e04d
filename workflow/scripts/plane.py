"""Compute loss and accuracy over the plane of a pair of random directions."""

from perturb.jobs.forkserver import hand_over

hand_over()

from pathlib import Path

from perturb import code, studies
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors
from perturb.jobs.store import Store
from perturb.landscape.settings import LandscapeSettings

specification = studies.specification_of_json(
    snakemake.params.specification, snakemake.params.device
)
with (
    user_errors(snakemake.log[0]),
    leased_gpu(snakemake.resources.get("gpu_shares", 1), specification.device),
):
    code.check_unchanged(
        code.of("perturb.landscape.run") | code.of_model(specification.architecture)
    )

    from perturb.landscape.run import compute_plane
    from perturb.train.trained import TrainedFiles

    files = ("images", "manifest", "record", "weights")
    compute_plane(
        specification,
        LandscapeSettings.from_json(snakemake.params.settings),
        TrainedFiles(*(Path(snakemake.input[name]) for name in files)),
        Path(snakemake.input.directions),
        Path(snakemake.output[0]),
        Path(snakemake.params.state),
        store=Store.of_environment(),
        network=snakemake.wildcards.network.removeprefix("_"),
    )
