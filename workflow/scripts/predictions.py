"""Write what a finished run takes every test image for, and what it is."""

from perturb.jobs.forkserver import hand_over

hand_over()

from pathlib import Path

from perturb import code, studies
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    specification = studies.specification_of_json(
        snakemake.params.specification, snakemake.params.device
    )
    code.check_unchanged(studies.code_of(specification))
    with leased_gpu(snakemake.resources.gpu_shares, specification.device):
        from perturb.files import write_npz
        from perturb.train.predictions import predict
        from perturb.train.trained import TrainedFiles

        names = ("images", "manifest", "record", "weights")
        files = TrainedFiles(**{name: Path(snakemake.input[name]) for name in names})
        write_npz(snakemake.output[0], predict(specification, files))
