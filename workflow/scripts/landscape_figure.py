"""Draw one figure of a data set's landscapes."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.figures import landscape
    from perturb.figures.style import save
    from perturb.landscape.files import read_plane

    plan = json.loads(snakemake.params.plan)
    material = landscape.material(
        [read_plane(path) for path in snakemake.input.planes],
        [read_plane(path) for path in snakemake.input.trajectories],
        plan["reference"],
    )
    figure = landscape.draw(snakemake.params.figure, material)
    save(figure, snakemake.output.pdf)
    save(figure, snakemake.output.png)
