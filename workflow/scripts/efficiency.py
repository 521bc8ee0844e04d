"""Measure a model's passes: one process for each batch size, precision and number of threads."""

import itertools
import json
import sys

from perturb.jobs.gpu import leased_gpu
from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.efficiency.measuring import measure
    from perturb.files import write_json

    settings = json.loads(snakemake.params.settings)
    varied = [settings.pop(name) for name in ("precisions", "threads", "batch_sizes")]
    rows = []
    with leased_gpu(snakemake.resources.gpu_shares, settings["device"]):
        for precision, threads, batch_size in itertools.product(*varied):
            cell = {"precision": precision, "threads": threads, "batch_size": batch_size}
            rows.append(measure(settings | cell))
            print(rows[-1], file=sys.stderr)
    write_json(snakemake.output[0], {"rows": rows})
