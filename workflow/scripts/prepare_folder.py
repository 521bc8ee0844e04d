"""Rule prepare_folder: a user's folder of images, into results."""

from perturb.data.preparing import prepare_folder
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    prepare_folder(
        snakemake.params.dataset,
        snakemake.params.folder,
        npz=snakemake.output.images,
        manifest=snakemake.output.manifest,
        split_seed=snakemake.params.split_seed,
    )
