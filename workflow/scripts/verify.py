"""Check the results against themselves, this checkout and a sample of runs made again."""

import sys
from pathlib import Path

from perturb.errors import PerturbError
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.config import Config
    from perturb.verify import verify

    config = Config(snakemake.config, Path(snakemake.params.schema))
    given = snakemake.params.given
    found = verify(config, snakemake.params.results, given=given, **config.values.get("verify", {}))
    for file in (sys.stdout, sys.stderr):  # the terminal, and the log
        print(found.table(), file=file, flush=True)
    if found.findings:
        raise PerturbError(f"verify: {found.count_of_wrong()}.")
