"""A trainer as a process of its own, to be killed: `python trainer.py FOLDER` trains what its
`job.json` says, into FOLDER/run."""

import json
import sys
from pathlib import Path

from perturb.config import RunSpecification
from perturb.errors import PerturbError
from perturb.train.run import RunFiles, run

OUTPUTS = {
    "record": "record.json",
    "epochs": "epochs.csv",
    "batches": "batches.npz",
    "last": "last.safetensors",
    "best": "best.safetensors",
    "timing": "timing.csv",
    "checkpoints": "checkpoints",
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    files = {name: Path(path) for name, path in job["inputs"].items()}
    files |= {name: folder / "run" / file for name, file in OUTPUTS.items()}
    files |= {"state": folder / "state", "progress": folder / "progress.jsonl"}
    specification = RunSpecification.from_json(job["specification"])
    try:
        run(specification, RunFiles(**files), save_seconds=job["save_seconds"])
    except (PerturbError, OSError) as error:
        sys.exit(f"perturb: {error}")
    if "torch._dynamo" in sys.modules:
        sys.exit("torch's compiler was imported")
