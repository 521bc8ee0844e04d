"""Check the results against themselves, this checkout and a sample of runs trained again."""

import json
from pathlib import Path

from perturb.errors import PerturbError
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.config import Config
    from perturb.verify import Gradients, Study, verify

    config = Config(snakemake.config, Path(snakemake.params.schema))
    studies = [Study(**study) for study in json.loads(snakemake.params.studies)]
    gradients = [Gradients(**study) for study in json.loads(snakemake.params.gradients)]
    sample = config.values.get("verify", {})
    found = verify(config, snakemake.params.results, studies, gradients, **sample)
    print(found.table(), flush=True)
    if found.findings:
        raise PerturbError(f"verify: {len(found.findings)} files are not as they should be.")
