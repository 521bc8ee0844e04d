"""Measure Hessian eigenvalues, trace and sharpness of a run's last weights."""

from pathlib import Path

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.config import LandscapeSettings, RunSpecification
    from perturb.landscape.run import RunFiles, compute_curvature

    files = ("images", "manifest", "record", "weights")
    compute_curvature(
        RunSpecification.from_json(snakemake.params.specification),
        LandscapeSettings.from_json(snakemake.params.settings),
        RunFiles(*(Path(snakemake.input[name]) for name in files)),
        Path(snakemake.output[0]),
    )
