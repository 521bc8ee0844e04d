"""Train one run: `train.py SPECIFICATION LOG --images FILE ...`, as rule train has it."""

import argparse
import os
from pathlib import Path

from perturb.config import RunSpecification
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors

FILES = (
    *("images", "manifest", "initial", "record", "epochs", "batches", "last", "best", "timing"),
    *("checkpoints", "state"),
)

parser = argparse.ArgumentParser()
parser.add_argument("specification", type=RunSpecification.from_json)
parser.add_argument("log", type=Path)
parser.add_argument("--gpu-shares", type=int)
parser.add_argument("--save-seconds", type=float)
for name in FILES:
    parser.add_argument(f"--{name}", type=Path, required=True)
given = parser.parse_args()

with user_errors(given.log), leased_gpu(given.gpu_shares, given.specification.device):
    # PyTorch is imported when there is a GPU for it.
    from perturb.train.run import RunFiles, run

    files = {name: getattr(given, name) for name in FILES}
    run(
        given.specification,
        RunFiles(**files, progress=given.log.with_suffix(".progress.jsonl")),
        save_seconds=given.save_seconds,
        # SLURM tries the runs of a pack again together, finished or not (perturb.jobs.packs).
        keep_state="SLURM_JOB_ID" in os.environ,
    )
