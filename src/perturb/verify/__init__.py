"""Whether results are what their runs left, and what they would leave again: `snakemake verify`.

Hashes are recomputed, tables, figures and report made again in memory and compared to the byte,
a sample of runs retrained in a temporary folder. Nothing under results/ is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perturb.config import Config
from perturb.verify import made_again, records
from perturb.verify.found import Finding, Gradients, Study, Verification
from perturb.verify.retrain import retrain_sample

__all__ = ["Finding", "Gradients", "Study", "Verification", "verify"]


def verify(
    config: Config,
    results: str | Path,
    studies: Sequence[Study],
    gradients: Sequence[Gradients] = (),
    *,
    retrain: int = 1,
    seed: int = 0,
) -> Verification:
    """Check everything under `results` against itself, and against this checkout's code and config.

    `retrain` runs, chosen by `seed` among those made on a device and with versions like today's,
    are trained again and compared bit for bit. Unfinished state, logs and times are not looked at.
    """
    found = Verification(Path(results))
    manifests = records.check_data(found)
    initial = records.check_initial_weights(found)
    runs = records.check_runs(found, config, studies, manifests, initial)
    records.check_landscapes(found, runs)
    for study in studies:
        made_again.compare_tables(found, study)
        made_again.compare_figures(found, study)
    for of_gradients in gradients:
        made_again.compare_gradients(found, of_gradients)
    asked = [study for study in studies if study.asked]
    ranked = made_again.compare_ranking(found, asked)
    made_again.find_unknown(found, studies, ranked, gradients)
    made_again.compare_report(found, asked, ranked, gradients)
    retrain_sample(found, config, runs, retrain, seed)
    return found
