"""Check the results against themselves, this checkout and a sample of runs made again."""

from pathlib import Path

from perturb.errors import PerturbError
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.config import Config
    from perturb.verify import verify

    config = Config(snakemake.config, Path(snakemake.params.schema))
    given = snakemake.params.given
    found = verify(config, snakemake.params.results, given=given, **config.values.get("verify", {}))
    print(found.table(), flush=True)
    if found.findings:
        raise PerturbError(f"verify: {len(found.findings)} files are not as they should be.")
