"""Rule prepare_data: one data set, from its official files or a user's folder, into results."""

import json

from perturb.data import prepare
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    prepare(
        snakemake.params.dataset,
        snakemake.params.data_root,
        npz=snakemake.output.images,
        manifest=snakemake.output.manifest,
        split_seed=snakemake.params.split_seed,
        allow_partial=snakemake.params.allow_partial,
        folder=snakemake.params.folder,
        class_map=json.loads(snakemake.params.class_map or "null"),
    )
