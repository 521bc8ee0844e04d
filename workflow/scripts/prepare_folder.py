"""Rule prepare_folder: a user's folder of images, into results."""

from perturb.data.image_sizes import Folder
from perturb.data.preparing import prepare_folder
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    prepare_folder(
        snakemake.params.dataset,
        Folder(snakemake.params.folder, snakemake.params.side),
        npz=snakemake.output.images,
        manifest=snakemake.output.manifest,
        split_seed=snakemake.params.split_seed,
    )
