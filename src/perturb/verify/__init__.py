"""Whether results are what their runs left, and what they would leave again: `snakemake verify`.

Hashes are recomputed, tables, figures and report made again in memory and compared to the byte,
a sample of runs made again in a temporary folder. Nothing under results/ is changed.
"""

from __future__ import annotations

from pathlib import Path

from perturb import studies
from perturb.config import Config
from perturb.efficiency import catalogue as efficiency
from perturb.jobs.store import store_folder
from perturb.landscape.parts import page_of
from perturb.study import Chapter
from perturb.verify import made_again, records, searches, unpacked
from perturb.verify.found import Finding, Verification
from perturb.verify.retrain import retrain_sample

__all__ = ["Finding", "Verification", "verify"]


def verify(
    config: Config, results: str | Path, *, retrain: int = 1, seed: int = 0, given: str = ""
) -> Verification:
    """Check everything under `results` against itself, and against this checkout's code and config.

    `retrain` runs, chosen by `seed` among those made on a device and with versions like today's,
    are made again and compared bit for bit. `given` is what the commands of the report and of
    audits say of the configuration (`jobs.command_line`). Unfinished state, logs and times are not
    looked at.
    """
    found = Verification(Path(results))
    unpacked.check_files(found)
    if made_again.only_audits(found):
        made_again.compare_audits(found, config, given)
        found.notes.append("Nothing of the studies has been made yet: only audits were checked.")
        return found
    manifests = records.check_data(found, config)
    initial = records.check_initial_weights(found)
    asked = studies.asked(config)
    known = [*_known(config), *efficiency.measured(found.results)]
    runs = records.check_runs(found, config, asked, known, manifests, initial)
    records.check_predictions(found, runs)
    records.check_landscapes(found, runs)
    records.check_store(found, store_folder(config, found.results))
    there = [chapter for chapter in known if _is_there(found.results, chapter)]
    for chapter in there:
        searches.compare_search(found, config, chapter)
        made_again.compare_tables(found, chapter)
        made_again.compare_figures(found, chapter)
        made_again.compare_landscape_page(found, chapter)
    made_again.find_unknown(found, config, there)
    made_again.compare_audits(found, config, given)
    made_again.compare_report(found, config, given)
    retrain_sample(found, config, runs, retrain, seed)
    return found


def _known(config: Config) -> list[Chapter]:
    """Return every chapter of the configuration, and those asked for that it does not list."""
    found = {chapter.name: chapter for chapter in studies.chapters(config)}
    return list((found | {chapter.name: chapter for chapter in studies.asked(config)}).values())


def _is_there(results: Path, chapter: Chapter) -> bool:
    """Whether a chapter is asked for, or any table, figure or page of it has been made."""
    made = [results / "tables" / f"{chapter.stem(part)}.csv" for part in chapter.tables]
    made += [results / "figures" / chapter.name, results / page_of(chapter.name)]
    return chapter.asked or any(path.exists() for path in made)
