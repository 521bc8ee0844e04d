"""What an unpacked artefact says of itself: its list of files, and what was left out of it.

`perturb.artefact` writes both. Results that came from no artefact have neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from perturb.errors import PerturbError
from perturb.files import read_json, sha256_file
from perturb.verify.found import Verification

MARK = "artefact.json"  # below the results: the folder it was unpacked in, and what was left out
SUMS = "SHA256SUMS"  # in that folder: every file of the archive, as `sha256sum --check` reads it
PART = "artefact"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_AGAIN = "Unpack the archive again."


def check_files(found: Verification) -> None:
    """Compare every file with the artefact's list, and remember what was left out of it.

    Nothing where the results are not from an artefact.
    """
    mark = found.results / MARK
    if not mark.exists():
        return
    said = found.attempt(PART, mark, lambda: read_json(mark, _AGAIN))
    if said is None:
        return
    found.left_out = said["left_out"]
    root = found.results / said["root"]
    sums = root / SUMS
    listed = found.attempt(PART, sums, lambda: read_sums(sums))
    for name, expected in (listed or {}).items():
        found.checked[PART] += 1
        file = root / name
        if not file.is_file():
            found.find(PART, "missing", file, f"{SUMS} speaks of it")
        elif sha256_file(file) != expected:
            found.find(PART, "edited", file, f"not the file that {SUMS} speaks of")
    away = sum(found.is_left_out(found.results / name) for name in found.left_out)
    if away:
        found.notes.append(
            f"{away} files were left out of this artefact: their hashes were not compared but "
            "where a run was trained again"
        )


def read_sums(path: Path) -> Mapping[str, str]:
    """Return SHA-256 by file; PerturbError where the list is missing or has another form."""
    if not path.is_file():
        raise PerturbError(f"{path}: no such file. {_AGAIN}")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    found = {}
    for number, line in enumerate(lines[:-1], start=1):
        match = _LINE.fullmatch(line)
        if not match or match[2] in found or not _is_below(match[2]):
            raise PerturbError(f"{path}: line {number} is not what was written. {_AGAIN}")
        found[match[2]] = match[1]
    if lines[-1] or not found:
        raise PerturbError(f"{path}: cut off. {_AGAIN}")
    return found


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def sums_text(hashes: Mapping[str, str]) -> str:
    """Return the list that `read_sums` reads, in the order of the names."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
