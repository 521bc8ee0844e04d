"""Write a data set's table and its provenance from the records of its runs."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.analysis import formats, provenance, runs, tables
    from perturb.files import write_text

    plan = json.loads(snakemake.params.plan)
    found = runs.collect(snakemake.input.records)
    out = snakemake.output
    formats.write(tables.build(plan, found), csv=out.csv, md=out.md, tex=out.tex)
    traced = provenance.of_table(plan, found, Path(out.csv).parents[1])
    write_text(out.provenance, formats.csv_text(traced))
