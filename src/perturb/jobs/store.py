"""Finished results kept by what they were made from, and put back where they are asked for again.

Snakemake deletes a job's outputs before it makes them again, whatever the reason: a time that
changed, a deleted input, another branch. So what took long to make is kept a second time, in a
folder of its own that may be shared. An entry is a folder `{key[:2]}/{key}`, its key the hash of
all that its files were made from (their fingerprint), with the files and `entry.json`. It is
written beside its place and renamed: whole or absent, however many write. A file is a hard link to
the output where the file system has such links. Nothing is put back whose hash is not the entry's.

    python -m perturb.jobs.store list|size|clean|restore|keep

Pure, without torch.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from perturb.errors import PerturbError
from perturb.files import (
    json_text,
    read_json,
    sha256_file,
    sha256_json,
    write_atomically,
    write_json,
)
from perturb.jobs.progress import PUT_BACK, Progress

if TYPE_CHECKING:
    from perturb.config import Config

ENTRY = "entry.json"
NEW, DAMAGED = ".new", "damaged"
# Of Snakemake's process, for its jobs: as parameters they would rerun what was made without them.
FOLDER_VARIABLE, RESULTS_VARIABLE = "PERTURB_STORE", "PERTURB_RESULTS"
COMMIT_VARIABLE = "PERTURB_COMMIT"
ABANDONED_SECONDS = 86400  # after which what a killed process was writing may be removed
_BLOCK = 1 << 20
# Where a hard link cannot be made though the files are sound.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)


class DamagedEntry(Exception):
    """An entry that is not what was kept; the message says in what."""


@dataclass(frozen=True)
class Entry:
    """What the store keeps under one fingerprint.

    Args:
        path: its folder in the store.
        values: of its `entry.json`. `made_from`, the fingerprint, whose `kind` says what it is;
            `folder`, where it was below the results; `files`, SHA-256 and bytes by name; `folders`,
            made even where they are empty; `kept`, when (UTC); `commit` and `code_sha256`.
    """

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an entry; DamagedEntry where its `entry.json` is not what was written."""
        file = path / ENTRY
        if not file.is_file() or file.is_symlink():
            raise DamagedEntry(f"{ENTRY} is missing")
        try:
            values = read_json(file)
            wrong = "its text is not what was written" * (
                file.read_bytes() != json_text(values).encode()
            )
        except (PerturbError, FileNotFoundError) as error:
            raise DamagedEntry(str(error).removeprefix(f"{file}: ")) from None
        if sha256_json(values.get("made_from")) != path.name:
            wrong = "it belongs to another fingerprint"
        names = [*values.get("files", {}), *values.get("folders", ())]
        if any(PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in names):
            wrong = "a file of it would lie outside its folder"
        if wrong:
            raise DamagedEntry(f"{ENTRY}: {wrong}")
        return cls(path, values)

    @property
    def key(self) -> str:
        """The hash of its fingerprint."""
        return self.path.name

    @property
    def made_from(self) -> Mapping[str, Any]:
        """Its fingerprint."""
        return self.values["made_from"]

    @property
    def folder(self) -> str:
        """Where its files were, below the results: `runs/digits/cnn/sgd_2/seed0`."""
        return self.values["folder"]

    @property
    def kept(self) -> str:
        """When it was kept, as `2026-01-31T12:00:00Z`."""
        return self.values["kept"]

    @property
    def code(self) -> str:
        """One hash over the code that made it, as a record's `sha256.code`."""
        return self.values["code_sha256"]

    @property
    def bytes(self) -> int:
        """Of its files together."""
        return sum(of_file["bytes"] for of_file in self.values["files"].values())

    def used(self) -> float:
        """Return when it was last kept or put back, in seconds since 1970."""
        return self.path.stat().st_mtime

    def check(self) -> None:
        """Read every file; DamagedEntry where one is not what was kept."""
        for name, of_file in self.values["files"].items():
            try:
                status = (self.path / name).lstat()
                if not stat.S_ISREG(status.st_mode):
                    raise DamagedEntry(f"{name} is no file")
                if status.st_size != of_file["bytes"]:
                    raise DamagedEntry(f"{name} has {status.st_size} bytes, not those kept")
                found = sha256_file(self.path / name)
            except FileNotFoundError:
                raise DamagedEntry(f"{name} is missing") from None
            if found != of_file["sha256"]:
                raise DamagedEntry(f"{name} is not what was kept (sha256 {found[:12]})")

    def lay_out(self, folder: Path, *, link: bool = True) -> None:
        """Put the files into `folder`, `record.json` last: links, or copies that are checked.

        DamagedEntry where a file changes meanwhile; OSError where `folder` cannot be written.
        """
        for name in self.values["folders"]:
            (folder / name).mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        reason = ""
        for name in sorted(self.values["files"], key=lambda name: (name == "record.json", name)):
            source, target = self.path / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                failed = _link(source, target) if link and _may_be_shared(source) else ""
                if failed is None:
                    continue
                found = _copy(source, target)
            except FileNotFoundError:
                if source.exists():
                    raise
                raise DamagedEntry(f"{name} was removed while it was put back") from None
            reason = reason or failed
            if found != self.values["files"][name]["sha256"]:
                target.unlink()
                raise DamagedEntry(f"{name} changed while it was copied")
        if reason:
            _say(f"copied, for the store's files cannot be linked to from {folder} ({reason})")


class Store:
    """The results that are kept in a folder, which is made when the first one is.

    Args:
        folder: of the store.
        results: below which an entry says that its files were.
        commit: of the code that makes what is kept, "" where it is not known.
    """

    def __init__(self, folder: Path, results: Path | None = None, commit: str = "") -> None:
        self.folder, self.results, self.commit = folder, results, commit

    @classmethod
    def of_environment(cls) -> Self | None:
        """Return the store that a Snakemake process named to its jobs; None where it has none."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return None
        results = os.environ.get(RESULTS_VARIABLE)
        commit = os.environ.get(COMMIT_VARIABLE, "")
        return cls(Path(folder), Path(results) if results else None, commit)

    def entry_folder(self, made_from: Mapping[str, Any]) -> Path:
        """Return where the entry of a fingerprint is, or would be."""
        key = sha256_json(made_from)
        return self.folder / key[:2] / key

    def keep(self, made_from: Mapping[str, Any], folder: Path, names: Iterable[str]) -> bool:
        """Keep the files `names` of `folder`, all below it; return whether the store has them.

        `made_from` is their fingerprint. `names` may hold folders, whose files are kept. What
        cannot be kept (a full disk, a read-only store) is one line on standard error.
        """
        place = self.entry_folder(made_from)
        host = f"{socket.gethostname()}-{os.getpid()}"
        new = self.folder / NEW / f"{place.name[:16]}-{host}-{time.monotonic_ns()}"
        try:
            if place.exists():  # another has made the same
                return True
            self._make_folder(new)
            values = self._described(made_from, folder) | self._take(new, folder, names)
            write_json(new / ENTRY, values)
            self._make_folder(place.parent)
            with suppress(FileExistsError):
                _rename_whole(new, place)
        except OSError as error:
            _say(f"not kept in the store {self.folder}: {error.strerror or error}")
            return False
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return True

    def put_back(self, made_from: Mapping[str, Any], folder: Path) -> Entry | None:
        """Put the files of a fingerprint into `folder`; None where the store has them not, or not
        whole.

        A damaged entry is set aside, which is said. OSError where `folder` cannot be written.
        """
        place = self.entry_folder(made_from)
        try:
            if not place.exists():
                return None
            entry = self._whole(place)
        except OSError as error:
            _say(f"the store {self.folder} cannot be read: {error.strerror or error}")
            return None
        return entry if entry and self._laid_out(entry, folder) else None

    def put_entry_back(self, entry: Entry, folder: Path) -> bool:
        """Put the files of an entry into `folder`; False where it is damaged, which is said."""
        whole = self._whole(entry.path)
        return bool(whole and self._laid_out(whole, folder))

    def _whole(self, place: Path) -> Entry | None:
        """Return the entry at a place, every file checked; a damaged one is set aside."""
        with self._damaged_set_aside(place):
            entry = Entry.read(place)
            entry.check()
            return entry
        return None

    def _laid_out(self, entry: Entry, folder: Path) -> bool:
        with self._damaged_set_aside(entry.path):
            entry.lay_out(folder)
            with suppress(OSError):  # another's, or read-only
                os.utime(entry.path)
            return True
        return False

    def entries(self) -> Iterator[Entry]:
        """Yield every entry whose `entry.json` is whole, in the order of their keys."""
        for path in self.paths():
            with suppress(DamagedEntry):
                yield Entry.read(path)

    def paths(self) -> list[Path]:
        """Return the folder of every entry, damaged ones too."""
        return sorted(path for path in self.folder.glob("??/*") if len(path.name) == 64)

    def remove(self, entry: Entry) -> None:
        """Remove an entry, at once: nobody finds half of it."""
        gone = self.folder / NEW / f"removed-{entry.key[:16]}-{time.monotonic_ns()}"
        self._make_folder(gone.parent)
        entry.path.rename(gone)
        shutil.rmtree(gone)

    def left_overs(self) -> list[Path]:
        """Return what processes that were killed a day ago or longer were writing."""
        oldest = time.time() - ABANDONED_SECONDS
        return [path for path in self.folder.glob(f"{NEW}/*") if path.stat().st_mtime < oldest]

    def _make_folder(self, folder: Path) -> None:
        """Make a folder below the store, and the store; who may write there may write here.

        A lab's shared folder is often writable for its group, whatever each member's umask is.
        """
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in reversed(missing):
            if path != self.folder and path.is_relative_to(self.folder):
                with suppress(OSError):  # another made it at the same time
                    path.chmod(self.folder.stat().st_mode & 0o2777)

    def name_of(self, folder: Path) -> str:
        """Return a folder relative to the results, as entries call it."""
        where = folder.absolute()
        if self.results and where.is_relative_to(self.results.absolute()):
            where = where.relative_to(self.results.absolute())
        return where.as_posix()

    def _described(self, made_from: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        return {
            "made_from": dict(made_from),
            "folder": self.name_of(folder),
            "code_sha256": sha256_json(made_from.get("code", {})),
            "kept": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": self.commit,
        }

    def _take(self, new: Path, folder: Path, names: Iterable[str]) -> dict[str, Any]:
        """Link or copy files into a new entry; return what `entry.json` says of them."""
        files, folders, reason = {}, [], ""
        for name in _files_of(folder, names):
            source, target = folder / name, new / name
            if source.is_dir():
                folders.append(name)
                self._make_folder(target)
                continue
            self._make_folder(target.parent)
            failed = _link(source, target)
            if failed is not None:
                reason = reason or failed
                _copy(source, target)
                target.chmod(0o444)  # a link stays as it is: Snakemake makes no read-only output
            files[name] = {"sha256": sha256_file(target), "bytes": target.stat().st_size}
        if reason:
            _say(f"copied into the store {self.folder}, which cannot be linked to ({reason})")
        return {"files": files, "folders": folders}

    @contextmanager
    def _damaged_set_aside(self, place: Path) -> Iterator[None]:
        """Set an entry aside that is found damaged, unless another removed or replaced it."""
        found = _inode(place)
        try:
            yield
        except DamagedEntry as damage:
            if found is not None and found == _inode(place):
                self._set_aside(place, damage)

    def _set_aside(self, place: Path, damage: DamagedEntry) -> None:
        aside = self.folder / DAMAGED / f"{place.name}-{time.time_ns()}"
        said = f"{place}: damaged: {damage}. It is not used"
        try:
            self._make_folder(aside.parent)
            place.rename(aside)
        except FileNotFoundError:  # another has
            _say(f"{said}.")
        except OSError as error:
            _say(f"{said}, and cannot be set aside ({error.strerror}).")
        else:
            _say(f"{said}; set aside as {aside}.")


def _files_of(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """Yield names of files, and of folders that begin them; hidden ones are Snakemake's."""
    for name in names:
        yield name
        if (folder / name).is_dir():
            for path in sorted((folder / name).rglob("[!.]*")):
                yield path.relative_to(folder).as_posix()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _may_be_shared(source: Path) -> bool:
    """Whether a stored file may become an output itself, which Snakemake sets the time of.

    It may where nothing else uses it (another checkout's output would look changed), and where it
    is this user's and writable.
    """
    status = source.stat()
    return status.st_nlink == 1 and status.st_uid == os.geteuid() and bool(status.st_mode & 0o200)


def _link(source: Path, target: Path) -> str | None:
    """Make `target` a hard link to `source`, whatever was there; or return why there is none."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        os.link(source, temporary, follow_symlinks=False)
        os.replace(temporary, target)
        # Does nothing where both were the same file already.
        temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return error.strerror
    return None


def _copy(source: Path, target: Path) -> str:
    """Copy a file, whole or not at all; return the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with open(source, "rb") as reading, write_atomically(target) as writing:
        while block := reading.read(_BLOCK):
            digest.update(block)
            writing.write(block)
    return digest.hexdigest()


def _rename_whole(new: Path, place: Path) -> None:
    """Rename a folder to one that is not there; FileExistsError where it is."""
    try:
        new.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(error.errno, error.strerror, str(place)) from None
        raise


def _say(text: str) -> None:
    print(f"perturb: {text}", file=sys.stderr, flush=True)


def put_back(
    store: Store | None,
    made_from: Mapping[str, Any],
    folder: Path,
    progress: Progress | None = None,
) -> bool:
    """Put a job's files back where the store has them; say so in its log and its progress."""
    entry = store.put_back(made_from, folder) if store else None
    if entry is None:
        return False
    _say(f"put back from the store: {entry.path}")
    if progress:
        progress.end(PUT_BACK)
    return True


def keep(store: Store | None, made_from: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Keep a job's files, which lie in one folder, where there is a store."""
    if store:
        names = [path.name for path in files]
        store.keep(made_from, files[0].parent, names)


def store_folder(config: Config, results: Path) -> Path | None:
    """Return the folder of the store that a configuration names; None where it wants none.

    `<results>` in it is the results folder.
    """
    named = config.values.get("store", "<results>/store").replace("<results>", str(results))
    return Path(named).expanduser() if named else None


def environment(folder: Path | None, results: Path, root: Path) -> dict[str, str]:
    """Return the variables by which jobs find the store, which `of_environment` reads."""
    return {
        FOLDER_VARIABLE: str(folder or ""),
        RESULTS_VARIABLE: str(results),
        COMMIT_VARIABLE: commit_of(root),
    }


def commit_of(root: Path) -> str:
    """Return the commit of a checkout, `-dirty` where files differ; "" where there is no git."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    from perturb.jobs.store_commands import main

    main()
