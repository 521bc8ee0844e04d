"""Write the table of a study of gradients, what it says of the log's claims, and its provenance."""

import json
from pathlib import Path

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.gradients import table

    study, out = json.loads(snakemake.params.study), snakemake.output
    material = table.gather(study["name"], study["scale"], snakemake.input.records)
    table.write(material, study, {name: Path(path) for name, path in out.items()})
