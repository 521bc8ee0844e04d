"""Write the results section as LaTeX."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.report import section
    from perturb.report.results import Results

    found = Results.read(snakemake.input, snakemake.params.plans, snakemake.params.gradients)
    section.write(found, snakemake.output[0])
