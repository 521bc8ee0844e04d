"""What a folder of files says, as one hash, told fast however many files there are. Pure."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from perturb.files import sha256_file, write_text

# A file that changed again within a tick of the file system's clock may look as it did before.
RECENT_SECONDS = 2.0
_MANY = 10_000


class Contents:
    """Hashes of folders' contents; those of files are kept in `cache`, one file for each folder.

    A file's kept hash is believed where its size, times and inode are the same, and where it had
    not just been changed when it was taken. `writes` is asked before anything is kept: a dry run
    writes nothing.
    """

    def __init__(self, cache: Path, writes: Callable[[], bool] = lambda: True) -> None:
        self.cache = cache
        self.writes = writes

    def sha256(self, folder: Path, paths: Iterable[Path]) -> str:
        """Return one hash over the relative path, size and SHA-256 of files below `folder`.

        A file that cannot be read counts as such. Where the cache cannot be written, the next call
        takes longer.
        """
        kept = self._read(folder).get("files", {})
        start = len(f"{folder}{os.sep}")  # `relative_to` takes longer than to look at a file
        found = {str(path)[start:]: path for path in paths}
        unknown = sum(name not in kept for name in found)
        if unknown > _MANY:
            print(
                f"perturb: reading {unknown:,} files of {folder} for the first time.",
                file=sys.stderr,
            )
        files = {name: _described(path, kept.get(name)) for name, path in sorted(found.items())}
        said = [[name, size, sha256] for name, (size, *_, sha256) in files.items()]
        digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        if files != kept and self.writes():
            with suppress(OSError):
                write_text(self._file(folder), json.dumps({"sha256": digest, "files": files}))
        return digest

    def last(self, folder: Path) -> str:
        """Return what `sha256` said of a folder the last time, "" where it never did."""
        return self._read(folder).get("sha256", "")

    def _read(self, folder: Path) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            value = json.loads(self._file(folder).read_text(encoding="utf-8"))
            if isinstance(value, dict) and isinstance(value.get("files"), dict):
                return value
        return {}

    def _file(self, folder: Path) -> Path:
        name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
        return self.cache / f"{name}.json"


def _described(path: Path, kept: list[Any] | None) -> list[Any]:
    """Return a file's size, times, inode and SHA-256: `kept`'s where that may be believed."""
    try:
        about = os.stat(path)
        marks = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
        if kept and len(kept) == len(marks) + 1 and kept[:-1] == marks:
            return kept
        recent = time.time() - max(about.st_mtime, about.st_ctime) < RECENT_SECONDS
        return [about.st_size, *([0] * 3 if recent else marks[1:]), sha256_file(path)]
    except OSError as error:
        return [0, 0, 0, 0, f"unreadable: {error.strerror}"]
