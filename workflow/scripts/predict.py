"""Ask a finished run what each test image is; called as the rule `predict` has it."""

import argparse
from pathlib import Path

from perturb import studies
from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors
from perturb.jobs.store import Store

parser = argparse.ArgumentParser()
parser.add_argument("specification")
parser.add_argument("log", type=Path)
parser.add_argument("--device", default="auto")
parser.add_argument("--gpu-shares", type=int)
for name in ("images", "manifest", "record", "weights", "output"):
    parser.add_argument(f"--{name}", type=Path, required=True)
given = parser.parse_args()

with user_errors(given.log):
    specification = studies.specification_of_json(given.specification, given.device)
    with leased_gpu(given.gpu_shares, specification.device):
        # PyTorch is imported when there is a GPU for it.
        from perturb.predictions.run import predict
        from perturb.train.trained import TrainedFiles

        files = TrainedFiles(given.images, given.manifest, given.record, given.weights)
        predict(specification, files, given.output, store=Store.of_environment())
