"""Write the table of a data set's landscapes: curvature, sharpness and flat area."""

from perturb.jobs.forkserver import hand_over

hand_over()

from pathlib import Path

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.analysis.formats import csv_text
    from perturb.files import write_text
    from perturb.landscape import provenance, table

    planes, curvatures, out = snakemake.input.planes, snakemake.input.curvatures, snakemake.output
    checkpoints = table.read_checkpoints(planes, curvatures)
    table.write(
        table.build(checkpoints, snakemake.params.flat_margin),
        csv=out.csv,
        md=out.md,
        tex=out.tex,
        dataset=snakemake.wildcards.dataset,
    )
    results = Path(out.csv).parents[1]
    traced = provenance.of_table(planes, curvatures, snakemake.input.records, results)
    write_text(out.provenance, csv_text(traced))
