"""Draw one figure of a data set, or several in one job (`params.figures`, lists of outputs)."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.figures.material import gather
    from perturb.figures.registry import draw
    from perturb.figures.style import save

    def listed(value):
        """Return a named input or output as a list, whether it is one path or several."""
        return [value] if isinstance(value, str) else list(value)

    names = listed(snakemake.params.get("figures") or snakemake.params.figure)
    material = gather(json.loads(snakemake.params.plan), snakemake.input.records)
    outputs = listed(snakemake.output.pdf), listed(snakemake.output.png)
    for name, pdf, png in zip(names, *outputs, strict=True):
        figure = draw(name, material)
        save(figure, pdf)
        save(figure, png)
