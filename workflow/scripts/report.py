"""Write the report: one HTML file that opens without network."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import counted, user_errors

with (
    user_errors(snakemake.log[0]),
    counted(snakemake.params.mark, snakemake.params.failures),
):
    from perturb.report import html
    from perturb.study import Chapter

    chapters = [Chapter.of(values) for values in json.loads(snakemake.params.chapters)]
    html.write(chapters, snakemake.output[0], snakemake.params.title, snakemake.params.given)
