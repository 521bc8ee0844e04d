"""Draw cosine and loss decrease by layer of a study's networks."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    import pandas as pd

    from perturb.figures import gradients
    from perturb.figures.style import save

    study = json.loads(snakemake.params.study)
    figure = gradients.draw_layers(pd.read_csv(snakemake.input[0]), study["scale"])
    save(figure, snakemake.output.pdf)
    save(figure, snakemake.output.png)
