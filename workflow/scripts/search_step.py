"""Make one step of a search's stage: measure what was listed, list what is next, choose."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.config import Config
    from perturb.search.settings import Search
    from perturb.search.steps import Step, advance
    from perturb.search.study import naming_of

    params, before = snakemake.params, snakemake.input.get("before")
    search = Search.of(json.loads(params.search))
    naming = naming_of(Config(snakemake.config, Path(params.schema)), search)
    step = advance(
        search,
        search.stages[0],
        int(snakemake.wildcards.step),
        Step.read(Path(before)) if before else None,
        Path(params.results),
        naming,
    )
    step.write(Path(snakemake.output[0]))
