"""Rank the methods over data sets, from their tables: table and figure."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.analysis import ranking, tables
    from perturb.figures import ranking as figure
    from perturb.figures.style import save

    plans = json.loads(snakemake.params.plans)
    found = [tables.read(*pair) for pair in zip(snakemake.input.tables, plans, strict=True)]
    frame = ranking.build(found)
    out = snakemake.output
    ranking.write(frame, plans[0]["study"], csv=out.csv, md=out.md, tex=out.tex)
    drawn = figure.draw(frame, found)
    save(drawn, out.pdf)
    save(drawn, out.png)
