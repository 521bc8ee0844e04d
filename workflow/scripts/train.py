"""Make one run of any study: `train.py SPECIFICATION LOG --record FILE ...`, as rules have it."""

import argparse
import os
from pathlib import Path

from perturb import code, studies
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors
from perturb.jobs.store import Store
from perturb.runs import PROGRESS, RunFiles
from perturb.study import load

parser = argparse.ArgumentParser()
parser.add_argument("specification")
parser.add_argument("log", type=Path)
parser.add_argument("--device", default="auto")
parser.add_argument("--gpu-shares", type=int)
parser.add_argument("--save-seconds", type=float)
parser.add_argument("--record", type=Path, required=True)
parser.add_argument("--state", type=Path, required=True)
for name in ("images", "manifest", "initial"):
    parser.add_argument(f"--{name}", type=Path)
given = parser.parse_args()

with user_errors(given.log):
    specification = studies.specification_of_json(given.specification, given.device)
    code.check_unchanged(studies.code_of(specification))
    with leased_gpu(given.gpu_shares, specification.device):
        # PyTorch is imported when there is a GPU for it.
        run = load(studies.get(specification.study).job)
        files = RunFiles(
            folder=given.record.parent,
            images=given.images,
            manifest=given.manifest,
            initial=given.initial,
            state=given.state,
            progress=given.log.with_suffix(PROGRESS),
        )
        run(
            specification,
            files,
            save_seconds=given.save_seconds,
            # SLURM tries the runs of a pack again together, finished or not (perturb.jobs.packs).
            keep_state="SLURM_JOB_ID" in os.environ,
            store=Store.of_environment(),
        )
