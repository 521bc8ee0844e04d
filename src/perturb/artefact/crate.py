"""What an artefact is, for machines: the metadata of a Workflow RO-Crate.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1), on which the profile Workflow RO-Crate 1.0 is built.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from perturb.artefact.archive import Member
from perturb.artefact.settings import ArtefactSettings

FILE = "ro-crate-metadata.json"
_VERSION = "1.1"
_PROFILE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_SPDX = "https://spdx.org/licenses/"
_FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tex": "application/x-tex",
    ".yaml": "application/yaml",
}
_PLAIN = "text/plain"
_DESCRIBED = {
    "README.md": "What perturb is, and how to run it",
    "ARTEFACT.md": "How to check this archive, and to make its results again",
    "SHA256SUMS": "SHA-256 of every other file, as `sha256sum --check` reads it",
    "artefact.mk": "The configuration that the results were made with, as options for `make`",
    "config/config.yaml": "Configuration: what was run",
    "envs/requirements.txt": "Lock file: every package with its version and hashes",
}
_ABOUT_IT = ("ARTEFACT.md", "README.md")
_FOLDERS = {
    "config": "Configuration of every study, and its schema",
    "docs": "Documentation",
    "envs": "The pinned environment",
    "profiles": "How the workflow is run: cores, cluster",
    "src": "The library that the jobs call",
    "workflow": "Rules and scripts",
}
_FOLDERS_OF_RESULTS = {
    "data": "Prepared data sets and their manifests",
    "init": "Initial weights by model and seed, the same for all methods that are compared",
    "runs": "Each run's record, epochs and batches, and the weights that were asked for",
    "predictions": "What each finished run says of every test image",
    "landscapes": "Loss landscapes around the runs' last weights",
    "tables": "Tables as CSV, Markdown, LaTeX and HTML, with the runs that each cell is from",
    "figures": "Figures as PDF and PNG",
}


def metadata(
    members: Sequence[Member],
    title: str,
    place: str,
    published: str,
    settings: ArtefactSettings,
    configfiles: Iterable[str],
) -> str:
    """Return the metadata as JSON: the archive, its workflow, its folders and its main files.

    Tables and figures are listed one by one, all other files by their folders.
    """
    from rocrate.model.person import Person
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=_VERSION)
    crate.name = title
    crate.description = f"{title}: code, configuration, records, tables, figures and report."
    crate.datePublished = published
    crate.license = _licence(crate, settings.licence)
    people = [
        crate.add(Person(crate, f"#{quote(name)}", properties={"name": name}))
        for name in settings.authors
    ]
    if people:
        crate.root_dataset["author"] = people if len(people) > 1 else people[0]
    crate.metadata["conformsTo"] = [
        {"@id": f"https://w3id.org/ro/crate/{_VERSION}"},
        {"@id": _PROFILE},
    ]
    described = _DESCRIBED | {name: "Configuration file that was given" for name in configfiles}
    described |= {
        f"{place}/report.html": "The report: one page that opens without network",
        f"{place}/section.tex": "The results section as LaTeX",
    }
    by_name = {member.name: member for member in members}
    workflow = crate.add_workflow(
        "Snakefile",
        dest_path="Snakefile",
        main=True,
        lang="snakemake",
        lang_version=version("snakemake"),
        properties=_file(by_name["Snakefile"]) | {"name": title, "license": crate.license},
    )
    workflow["description"] = "Reruns the study and regenerates its whole results section"
    for name, member in sorted(by_name.items()):
        shown = name.startswith((f"{place}/tables/", f"{place}/figures/"))
        if name in described or shown:
            said: dict[str, Any] = {}
            if name in described:
                said["description"] = described[name]
            if name in _ABOUT_IT:
                said["about"] = {"@id": "./"}
            crate.add_file(name, dest_path=name, properties=_file(member) | said)
    folders = _FOLDERS | {f"{place}/{name}": text for name, text in _FOLDERS_OF_RESULTS.items()}
    for folder, text in folders.items():
        if any(name.startswith(f"{folder}/") for name in by_name):
            said = {"name": f"{folder}/", "description": text}
            crate.add_dataset(folder, dest_path=f"{folder}/", properties=said)
    return json.dumps(crate.metadata.generate(), indent=2, sort_keys=True) + "\n"


def _licence(crate: Any, identifier: str) -> Any:
    from rocrate.model.contextentity import ContextEntity

    said = {"@type": "CreativeWork", "name": identifier, "identifier": identifier}
    return crate.add(ContextEntity(crate, f"{_SPDX}{identifier}", properties=said))


def _file(member: Member) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": member.name,
        "contentSize": str(member.size),
        "sha256": member.sha256,
    }
    return found | {"encodingFormat": _FORMATS.get(Path(member.name).suffix, _PLAIN)}
