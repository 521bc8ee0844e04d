"""The archive: a ZIP file whose bytes follow from its files' names and bytes alone.

Files lie in it as they are. Compressed they would be other bytes with another build of zlib, and
what takes space, weights and images, does not become smaller.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perturb.errors import PerturbError
from perturb.files import sha256_file, write_atomically

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a ZIP file knows no time before
_MODE = 0o100644 << 16
_UNIX = 3
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file of the archive: what it is called, its content as a file or as text, and its hash."""

    name: str
    content: Path | bytes
    size: int
    sha256: str


def members(files: Mapping[str, Path], texts: Mapping[str, str]) -> list[Member]:
    """Return the members for files and texts, by their names in the archive."""
    found = [Member(n, path, path.stat().st_size, sha256_file(path)) for n, path in files.items()]
    for name, text in texts.items():
        raw = text.encode()
        found.append(Member(name, raw, len(raw), hashlib.sha256(raw).hexdigest()))
    return found


def write(path: Path, members: Sequence[Member]) -> None:
    """Write the archive atomically; PerturbError where a file changed since it was hashed."""
    with write_atomically(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(members, key=lambda member: member.name):
            entry = zipfile.ZipInfo(member.name, _EARLIEST)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            entry.file_size = member.size
            with archive.open(entry, "w") as target:
                digest = hashlib.sha256()
                for chunk in _chunks(member.content):
                    digest.update(chunk)
                    target.write(chunk)
            if digest.hexdigest() != member.sha256:
                raise PerturbError(
                    f"artefact: {member.name} changed while it was packed. Wait until nothing "
                    "writes to the results, and pack again."
                )


def _chunks(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with open(content, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def said(path: Path, members: Sequence[Member], left_out: Mapping[str, str]) -> str:
    """Return what an archive holds, in words."""
    size = sum(member.size for member in members)
    without = f"; without {len(left_out)} files of weights or images" if left_out else ""
    return (
        f"{path}: {len(members)} files, {size / 1e6:.1f} MB{without}. Its SHA-256:\n"
        f"{sha256_file(path)}"
    )
