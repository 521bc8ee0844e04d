"""Write the table of a study of gradients, what it says of the log's claims, and its provenance."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.files import write_text
    from perturb.gradients import table

    study, out = json.loads(snakemake.params.study), snakemake.output
    material = table.gather(study["name"], study["scale"], snakemake.input.records)
    for name, text in table.texts(material, study, Path(out.csv).parents[1]).items():
        write_text(out[name], text)
