"""Draw the pair of random directions that every method of a comparison gets."""

import json
from pathlib import Path

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.landscape import directions
    from perturb.models import build

    manifest = json.loads(Path(snakemake.input.manifest).read_text(encoding="utf-8"))
    shape = manifest["num_classes"], manifest["image_size"], manifest["channels"]
    model = build(snakemake.wildcards.model, *shape)
    seed = int(snakemake.wildcards.direction_seed)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    directions.save(snakemake.output[0], directions.draw(shapes, seed), seed)
