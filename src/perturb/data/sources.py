"""Finding a data set's official files in a folder or an archive, and checking them."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perturb.errors import PerturbError


@dataclass(frozen=True)
class Layout:
    """One official distribution: a folder of files, and the archive that unpacks to it.

    `train` and `test` name the files of each split, `md5` the checksum of every file that must
    be there (hexadecimal).
    """

    kind: str
    folder: str
    archive: str
    archive_md5: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    md5: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """The contents of a layout's files, by name, and the folder or archive they came from."""

    layout: Layout
    place: Path
    contents: Mapping[str, bytes]

    def location(self, name: str) -> str:
        """Return where the file `name` lies, for a message."""
        if self.place.name == self.layout.folder:
            return str(self.place / name)
        return f"{self.place} ({self.layout.folder}/{name})"

    def missing(self) -> list[str]:
        """Return the names of the files that are not there."""
        return [name for name in self.layout.md5 if name not in self.contents]

    def usable_in_part(self) -> bool:
        """Say whether both splits have a file, and no file but theirs is missing."""
        splits = (self.layout.train, self.layout.test)
        return all(any(name in self.contents for name in names) for names in splits) and not (
            set(self.missing()) - set(self.layout.train + self.layout.test)
        )


def md5(content: bytes) -> str:
    """Return the MD5 of `content`, the checksum that these distributions publish."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content`, the checksum that a manifest keeps."""
    return hashlib.sha256(content).hexdigest()


def checksum_text(content: bytes, expected: str) -> str:
    """Return the part of a message that compares a file's MD5 with the published one."""
    return f"md5 expected {expected}, found {md5(content)}"


def corrupt(location: str, content: bytes, expected: str, url: str, part: str = "") -> PerturbError:
    """Return the error for a file that is not the official one.

    `part` says how much of the official file it holds, where it is readable and holds less.
    """
    use_part = (
        f" It holds {part}: if a partial set is wanted, say partial_data: true in the config."
        if part
        else ""
    )
    return PerturbError(
        f"{location}: corrupt or truncated: {checksum_text(content, expected)}. "
        f"Delete it and get it again ({url}).{use_part}"
    )


def _read_folder(folder: Path, layout: Layout) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in layout.md5 if (folder / name).is_file()}


def _read_archive(archive: Path, layout: Layout) -> dict[str, bytes]:
    """Read the layout's files out of a `.tar.gz`, wherever in it their folder is."""
    contents = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                path = Path(member.name)
                if (
                    member.isfile()
                    and path.parent.name == layout.folder
                    and path.name in layout.md5
                ):
                    contents[path.name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        with open(archive, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        raise PerturbError(
            f"{archive}: corrupt or truncated archive ({error}): md5 expected "
            f"{layout.archive_md5}, found {found}. Delete it and get it again."
        ) from None
    return contents


def find(layouts: Sequence[Layout], root: Path, allow_partial: bool) -> Found | None:
    """Return the first complete layout directly under `root`, folders before archives.

    None where there is no trace of any. Where some files are missing: with `allow_partial` what
    is there, if each split has a file; else PerturbError names the missing ones.
    """
    incomplete = []
    for read, attribute in ((_read_folder, "folder"), (_read_archive, "archive")):
        for layout in layouts:
            place = root / getattr(layout, attribute)
            if not place.exists():
                continue
            found = Found(layout, place, read(place, layout))
            if not found.missing():
                return found
            incomplete.append(found)
    if not incomplete:
        return None
    if allow_partial:
        for found in incomplete:
            if found.usable_in_part():
                return found
    raise PerturbError(_incomplete_message(incomplete[0]))


def _incomplete_message(found: Found) -> str:
    if found.place.name == found.layout.archive:
        return (
            f"{found.place}: this archive lacks {', '.join(found.missing())} in a folder "
            f"{found.layout.folder}. Replace it by the official one, "
            f"md5 {found.layout.archive_md5}."
        )
    lines = [f"  {found.location(name)}  md5 {found.layout.md5[name]}" for name in found.missing()]
    return "\n".join([f"{found.place} is incomplete. Add these files:", *lines])


def describe(layouts: Sequence[Layout], root: Path) -> str:
    """Return what could be put where under `root`, with checksums, one line per file."""
    lines = []
    for layout in layouts:
        lines.append(f"- {layout.kind} version, the archive or the unpacked folder:")
        lines.append(f"    {root / layout.archive}  md5 {layout.archive_md5}")
        lines.extend(
            f"    {root / layout.folder / name}  md5 {checksum}"
            for name, checksum in layout.md5.items()
        )
    return "\n".join(lines)
