"""Draw one figure of a chapter."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb.jobs.scripting import counted, inputs_of, user_errors

with (
    user_errors(snakemake.log[0]),
    counted(snakemake.params.mark, snakemake.params.failures),
):
    from perturb.figures.style import save
    from perturb.study import load

    out = snakemake.output
    make = load(snakemake.params.make)
    results = Path(out.pdf).parents[2]
    figure = make(json.loads(snakemake.params.settings), inputs_of(snakemake.input), results)
    save(figure, out.pdf)
    save(figure, out.png)
