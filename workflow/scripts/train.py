"""Train one run."""

from perturb.forkserver import hand_over

hand_over()

import os
from pathlib import Path

from perturb.config import RunSpecification
from perturb.gpu import leased_gpu
from perturb.scripting import user_errors

specification = RunSpecification.from_json(snakemake.params.specification)
with (
    user_errors(snakemake.log[0]),
    leased_gpu(snakemake.resources.get("gpu_shares", 1), specification.device),
):
    # PyTorch is imported when there is a GPU for it.
    from perturb.train.run import RunFiles, run

    files = {**dict(snakemake.input.items()), **dict(snakemake.output.items())}
    files |= {"state": snakemake.params.state}
    files |= {"progress": Path(snakemake.log[0]).with_suffix(".progress.jsonl")}
    run(
        specification,
        RunFiles(**{name: Path(path) for name, path in files.items()}),
        save_seconds=float(snakemake.config.get("save_seconds", 60)),
        # SLURM tries the runs of a pack again together, finished or not (perturb.train.packs).
        keep_state="SLURM_JOB_ID" in os.environ,
    )
