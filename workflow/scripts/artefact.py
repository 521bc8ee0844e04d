"""Pack code, configuration and results as one archive, where they verify."""

import sys
from pathlib import Path

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb import artefact
    from perturb.config import Config

    root = Path(snakemake.params.root)
    said = artefact.make(
        Config(snakemake.config, root / "config" / "schema.yaml"),
        snakemake.params.results,
        root,
        given=snakemake.params.given,
        configfiles=snakemake.params.configfiles,
    )
    for file in (sys.stdout, sys.stderr):  # the terminal, and the log
        print(said, file=file, flush=True)
