"""Rule find_duplicates: what a prepared data set has twice."""

from perturb.data.preparing import find_duplicates
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    find_duplicates(snakemake.input.images, snakemake.input.manifest, snakemake.output[0])
