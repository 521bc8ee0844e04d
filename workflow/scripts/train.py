"""Train one run."""

from pathlib import Path

from perturb.config import RunSpecification
from perturb.scripting import user_errors
from perturb.train.run import RunFiles, run

with user_errors(snakemake.log[0]):
    files = {**dict(snakemake.input.items()), **dict(snakemake.output.items())}
    files |= {"state": snakemake.params.state}
    files |= {"progress": Path(snakemake.log[0]).with_suffix(".progress.jsonl")}
    run(
        RunSpecification.from_json(snakemake.params.specification),
        RunFiles(**{name: Path(path) for name, path in files.items()}),
        save_seconds=float(snakemake.config.get("save_seconds", 60)),
    )
