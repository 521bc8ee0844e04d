"""Draw the pair of random directions that every method of a comparison gets."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.data import read_manifest
    from perturb.landscape import directions
    from perturb.models import build
    from perturb.models.described import Described

    manifest = read_manifest(snakemake.input.manifest)
    shape = manifest["num_classes"], manifest["image_size"], manifest["channels"]
    described = Described.from_json(snakemake.params.network)
    model = build(described.network, *shape, described.options)
    seed = int(snakemake.wildcards.direction_seed)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    directions.save(snakemake.output[0], directions.draw(shapes, seed), seed)
