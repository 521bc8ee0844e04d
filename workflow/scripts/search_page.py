"""Make the page of a search's trials: parallel coordinates, one HTML file."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import counted, inputs_of, user_errors

with (
    user_errors(snakemake.log[0]),
    counted(snakemake.params.mark, snakemake.params.failures),
):
    from perturb.search import page
    from perturb.search.parts import gather

    material = gather(json.loads(snakemake.params.settings), inputs_of(snakemake.input))
    page.write(material, snakemake.output[0])
