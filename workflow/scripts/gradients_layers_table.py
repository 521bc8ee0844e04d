"""Put the measured layers of a study's networks into one table."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.analysis.formats import csv_text
    from perturb.files import write_text
    from perturb.gradients.table import gather_layers

    write_text(snakemake.output.csv, csv_text(gather_layers(snakemake.input.layers)))
