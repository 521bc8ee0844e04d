"""Make one table of a chapter in all its forms."""

from perturb.jobs.forkserver import hand_over

hand_over()

import json
from pathlib import Path

from perturb.jobs.scripting import counted, inputs_of, user_errors

with (
    user_errors(snakemake.log[0]),
    counted(snakemake.params.mark, snakemake.params.failures),
):
    from perturb.analysis import printers
    from perturb.study import load

    make = load(snakemake.params.make)
    folder = Path(snakemake.output.csv).parent
    inputs = inputs_of(snakemake.input)
    table = make(json.loads(snakemake.params.settings), inputs, folder.parent)
    if f"{table.name}.csv" != Path(snakemake.output.csv).name:
        raise ValueError(f"{snakemake.params.make} made a table called {table.name}.")
    printers.write(table, folder)
