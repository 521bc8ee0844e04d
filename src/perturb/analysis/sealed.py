"""Whether a table's file is what its maker wrote: its SHA-256 stands in `<table>.sha256` beside it.

The report and the section show numbers that no run gave where a table was edited by hand; they
refuse it instead. `sha256sum -c digits.sha256` says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from perturb.errors import PerturbError

ENDING = "sha256"


def text(name: str, files: Mapping[str, str]) -> str:
    """Return what `<name>.sha256` holds for a table's files, their texts by their endings."""
    return "".join(
        f"{hashlib.sha256(content.encode()).hexdigest()}  {name}.{ending}\n"
        for ending, content in files.items()
    )


def check(path: Path) -> Path:
    """Return `path`; PerturbError where it is a table's file that was edited since it was made.

    A file that nothing was written beside is taken as it is: Snakemake makes its table again.
    """
    name = path.name
    if not path.exists():
        return path
    while "." in name:
        name = name.rpartition(".")[0]
        beside = path.with_name(f"{name}.{ENDING}")
        if not beside.is_file():
            continue
        for line in beside.read_text(encoding="utf-8").splitlines():
            digest, _, file = line.partition("  ")
            if file == path.name and digest != hashlib.sha256(path.read_bytes()).hexdigest():
                raise PerturbError(
                    f"{path}: edited by hand or damaged, it is not the table that was made of its "
                    f"runs ({beside.name}). Delete it and run again: it is made anew in seconds."
                )
    return path
