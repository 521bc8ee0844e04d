"""Write the report: one HTML file that opens without network."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.report import html
    from perturb.report.results import Results

    found = Results.read(snakemake.input, snakemake.params.plans, snakemake.params.gradients)
    html.write(found, snakemake.output[0])
