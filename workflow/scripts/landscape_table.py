"""Write the table of a data set's landscapes: curvature, sharpness and flat area."""

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.landscape import table

    checkpoints = table.read_checkpoints(snakemake.input.planes, snakemake.input.curvatures)
    out = snakemake.output
    table.write(
        table.build(checkpoints, snakemake.params.flat_margin),
        csv=out.csv,
        md=out.md,
        tex=out.tex,
        dataset=snakemake.wildcards.dataset,
    )
