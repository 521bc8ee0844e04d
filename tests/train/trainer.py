"""A trainer as a process of its own, to be killed: `python trainer.py FOLDER` trains what its
`job.json` says, into FOLDER/run."""

import json
import sys
from pathlib import Path

from perturb.errors import PerturbError
from perturb.runs import BATCHES, BEST, EPOCHS, LAST, RECORD, RunFiles
from perturb.studies.rts.settings import RtsSpecification
from perturb.train.run import run, run_learner

# What a run leaves that is the same in each of them, but for checkpoints.
OUTPUTS = (RECORD, EPOCHS, BATCHES, LAST, BEST)


def train(job, folder):
    """Train the run of a job: of a study, or the toy of two networks."""
    files = RunFiles(
        folder=folder / "run",
        state=folder / "state",
        progress=folder / "progress.jsonl",
        **{name: Path(path) for name, path in job["inputs"].items()},
    )
    if "toy" not in job["specification"]:
        specification = RtsSpecification.from_json(job["specification"])
        run(specification, files, save_seconds=job["save_seconds"])
        if "torch._dynamo" in sys.modules:
            sys.exit("torch's compiler was imported")
        return
    from toy import MODULES, ToySpecification, learner

    specification = ToySpecification.from_json(job["specification"])
    run_learner(specification, files, learner, MODULES, save_seconds=job["save_seconds"])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        train(json.loads((folder / "job.json").read_text()), folder)
    except (PerturbError, OSError) as error:
        sys.exit(f"perturb: {error}")
