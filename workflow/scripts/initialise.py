"""Write the initial weights that every method of a comparison starts from."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.data import read_manifest
from perturb.jobs.scripting import user_errors
from perturb.models import initial_weights
from perturb.models.described import Described
from perturb.models.weights import save_weights

with user_errors(snakemake.log[0]):
    manifest = read_manifest(snakemake.input.manifest)
    model = Described.from_json(snakemake.params.network)
    weights = initial_weights(
        model.network,
        manifest["num_classes"],
        manifest["image_size"],
        manifest["channels"],
        int(snakemake.wildcards.seed),
        options=model.options,
        source=model.source_in(snakemake.params.weights, *snakemake.input.get("source", [])),
        data_root=snakemake.params.data_root,
    )
    save_weights(snakemake.output[0], weights)
