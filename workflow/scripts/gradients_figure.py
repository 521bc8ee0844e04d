"""Draw one figure of a study's toys."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.figures import gradients
    from perturb.figures.style import save
    from perturb.gradients.table import gather

    study = json.loads(snakemake.params.study)
    material = gather(study["name"], study["scale"], snakemake.input.records)
    figure = gradients.draw(snakemake.params.figure, material)
    save(figure, snakemake.output.pdf)
    save(figure, snakemake.output.png)
