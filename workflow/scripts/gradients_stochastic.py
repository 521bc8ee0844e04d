"""Compare estimators through stochastic units with the sum over all states."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.analysis.formats import csv_text
    from perturb.files import write_text
    from perturb.gradients.settings import Stochastic
    from perturb.gradients.units import compare

    found = compare(Stochastic.from_json(snakemake.params.settings))
    write_text(snakemake.output[0], csv_text(found))
