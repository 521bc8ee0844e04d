"""Compute loss and accuracy over the plane of a pair of random directions."""

from pathlib import Path

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.config import LandscapeSettings, RunSpecification
    from perturb.landscape.run import RunFiles, compute_plane

    files = ("images", "manifest", "record", "weights")
    compute_plane(
        RunSpecification.from_json(snakemake.params.specification),
        LandscapeSettings.from_json(snakemake.params.settings),
        RunFiles(*(Path(snakemake.input[name]) for name in files)),
        Path(snakemake.input.directions),
        Path(snakemake.output[0]),
        Path(snakemake.params.state),
    )
