"""Draw the loss decrease against the seconds that an estimate took here."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    import pandas as pd

    from perturb.figures import gradients
    from perturb.figures.style import save
    from perturb.gradients.table import gather

    study = json.loads(snakemake.params.study)
    material = gather(study["name"], study["scale"], snakemake.input.records)
    timings = pd.concat(gradients.read_timing(path) for path in snakemake.input.timings)
    figure = gradients.draw_seconds(material, timings)
    save(figure, snakemake.output.pdf)
    save(figure, snakemake.output.png)
