"""Write what a figure shows as CSV, and as pgfplots that compiles as it is."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb.jobs.scripting import counted, inputs_of, user_errors

with (
    user_errors(snakemake.log[0]),
    counted(snakemake.params.mark, snakemake.params.failures),
):
    from perturb.files import write_text
    from perturb.study import load

    make = load(snakemake.params.make)
    texts = make(json.loads(snakemake.params.settings), inputs_of(snakemake.input))
    for kind, text in texts.items():
        write_text(Path(getattr(snakemake.output, kind)), text)
