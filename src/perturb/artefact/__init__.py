"""One archive that a reviewer can take: `snakemake artefact` (docs/artefact.md).

Code, configuration, lock file, records, tables, figures, report, the checkpoints that are asked
for, and a list of checksums, as an RO-Crate. Its bytes follow from what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perturb import studies
from perturb.artefact import archive, contents, crate
from perturb.artefact.settings import ArtefactSettings
from perturb.artefact.words import makefile, readme
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.files import json_text
from perturb.verify import verify
from perturb.verify.unpacked import MARK, SUMS, sums_text

FILE = "artefact.zip"


def make(
    config: Config,
    results: str | Path,
    root: Path,
    *,
    given: str = "",
    configfiles: Sequence[str] = (),
) -> str:
    """Write `artefact.zip` below the results; return what it holds, in words.

    `root` is the checkout, the folder that Snakemake works in; `given` are Snakemake's options for
    the configuration, `configfiles` the files that they name. Raises PerturbError, and leaves the
    last archive as it was, where the results do not verify.
    """
    results = Path(results)
    settings = ArtefactSettings.of(config)
    published = settings.date(root)
    place = contents.place_of(results, root)
    project = contents.of_project(root, configfiles)
    found = verify(config, results, retrain=0, given=given)
    if found.findings:
        raise PerturbError(
            f"artefact: these results do not verify, so nothing was packed:\n{found.table()}"
        )
    chosen = contents.of_results(results, config, settings)
    title = studies.title(config)
    up = "/".join(".." for _ in Path(place).parts)
    texts = {
        f"{place}/{MARK}": json_text({"root": up, "left_out": chosen.left_out}),
        "artefact.mk": makefile(given, place),
        "ARTEFACT.md": readme(title, place, given, chosen, settings),
    }
    files = {name: path for name, path in project.items() if name not in texts}
    files |= {f"{place}/{name}": path for name, path in chosen.files.items()}
    members = archive.members(files, texts)
    described = crate.metadata(members, title, place, published, settings, configfiles)
    members += archive.members({}, {crate.FILE: described})
    sums = sums_text({member.name: member.sha256 for member in members})
    members += archive.members({}, {SUMS: sums})
    path = results / FILE
    archive.write(path, members)
    return archive.said(path, members, chosen.left_out)
