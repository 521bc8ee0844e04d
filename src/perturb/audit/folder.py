"""Which files an audit reads. Pure, so that planning stays fast."""

from __future__ import annotations

import os
from pathlib import Path

from perturb.errors import PerturbError


def paths_of(folder: str | Path) -> list[Path]:
    """Return every file below `folder`, sorted.

    PerturbError where there is no folder or no file, or one that cannot be read. Broken links count
    as files: they are reported as unreadable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PerturbError(
            f"{folder}: no such folder of result files. Put them there, or name another folder "
            "in the configuration (audits.<name>.folder; a relative path starts at data_root)."
        )

    def refuse(error: OSError) -> None:
        raise PerturbError(
            f"{error.filename} cannot be read ({error.strerror}), and an audit accounts for every "
            f"file. Give yourself the right to read it, or move it out of {folder}."
        )

    found = sorted(
        Path(where, name) for where, _, names in os.walk(folder, onerror=refuse) for name in names
    )
    if not found:
        raise PerturbError(f"{folder}: the folder of result files is empty. Put them there.")
    return found
