"""Writing files that are whole or absent, and hashing what is in them."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from perturb.errors import PerturbError

if TYPE_CHECKING:  # JSON is read without waiting for numpy
    import numpy as np

CONTENT_HASH = "content_sha256"  # key of a JSON file's hash of the rest of it
_AGAIN = "Delete the file and run again to make it anew."


def open_in_folder(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file to write to, in a folder that is made where there is none.

    A job that ends removes the folders that it leaves empty, at any moment for a job beside it.
    """
    for _ in range(100):
        with suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return open(path, mode, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, mode, **options)


@contextmanager
def write_atomically(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; flush, sync and rename it onto `path` on success.

    Text is written as UTF-8 with Unix line ends, whatever the platform. On any exception the
    temporary file is removed and `path` is left as it was; an OSError names `path`. What a killed
    process left of its own attempt is removed, too.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    try:
        with open_in_folder(temporary, mode, encoding=encoding, newline=newline) as file:
            _lock(file)
            for other in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                if other != temporary:
                    _remove_abandoned(other)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)  # that of a full disk names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _lock(file: IO[Any]) -> bool:
    """Hold the file as its living writer's; False where another does, or none can."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # some cluster's file systems have no such locks: nothing is removed there
        return False
    return True


def _remove_abandoned(temporary: Path) -> None:
    """Remove the temporary file of a process that is gone: the kernel gave its lock back."""
    try:
        with open(temporary, "r+b") as file:
            # One that was just opened may have no lock yet.
            if time.time() - os.fstat(file.fileno()).st_mtime > 1 and _lock(file):
                temporary.unlink(missing_ok=True)
    except (FileNotFoundError, PermissionError):  # it is gone now, or another user's
        return


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    with write_atomically(path, "w") as file:
        file.write(text)


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of what `value` says as JSON, however it is laid out."""
    plain = json.loads(json.dumps(value))  # keys as text, tuples as lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON with sorted keys and its own hash; NaN is refused."""
    write_text(path, json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """Return the text that `write_json` writes."""
    hashed = {**value, CONTENT_HASH: sha256_json(value)}
    return json.dumps(hashed, indent=2, sort_keys=True, allow_nan=False) + "\n"


def read_json(path: str | Path, again: str = _AGAIN) -> dict[str, Any]:
    """Return what `write_json` wrote.

    Raises PerturbError naming the file, and saying `again`, where it is missing or was altered.
    """
    try:
        value: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        expected = value.pop(CONTENT_HASH, None)
    except FileNotFoundError:
        raise PerturbError(f"{path}: no such file. Run the workflow to make it.") from None
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise PerturbError(f"{path}: damaged ({error}). {again}") from None
    if expected != sha256_json(value):
        found = "has no hash of its own" if expected is None else "is not what was written"
        raise PerturbError(f"{path}: damaged or edited, for it {found}. {again}")
    return value


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed `.npz`, the same bytes for the same arrays."""
    import numpy as np

    with write_atomically(path) as file:
        keywords: dict[str, Any] = dict(arrays)  # NumPy's stubs take them for its own options
        np.savez(file, **keywords)


def read_npz(path: str | Path, again: str = _AGAIN) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` without pickles; whoever reads them knows their hash.

    Raises PerturbError naming the file, and saying `again`, where it is missing or damaged.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise PerturbError(f"{path}: no such file. Run the workflow to make it.") from None
    except PermissionError:
        raise
    except Exception as error:  # zipfile and numpy meet damage with any of a dozen
        raise PerturbError(f"{path}: damaged ({error}). {again}") from None


def write_arrays(
    path: str | Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> None:
    """Write named arrays and their attributes as one `.npz`, atomically, with their hash."""
    import numpy as np

    text = json.dumps(attributes, sort_keys=True, allow_nan=False)
    named = dict(arrays) | {"attributes": np.array(text)}
    write_npz(path, named | {"sha256": np.array(sha256_arrays(_hashable(named)))})


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what `write_arrays` wrote: arrays by name, and the attributes.

    Raises PerturbError naming the file where it is missing, truncated or altered.
    """
    arrays = read_npz(path)
    expected, found = str(arrays.pop("sha256", None)), sha256_arrays(_hashable(arrays))
    if expected != found:
        raise PerturbError(f"{path}: altered: sha256 expected {expected}, found {found}. {_AGAIN}")
    return arrays, json.loads(str(arrays.pop("attributes")))


def _hashable(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with text as bytes, whose layout is the same everywhere."""
    import numpy as np

    return {
        name: np.frombuffer(str(array).encode(), dtype=np.uint8)
        if array.dtype.kind == "U"
        else array
        for name, array in arrays.items()
    }


def read_state(path: str | Path, belongs: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the arrays of an unfinished job's state, which `write_arrays` wrote.

    None where there is no such file; where it is damaged, or its attributes are not those that it
    has to belong to, that is said on standard error.
    """
    if not Path(path).exists():
        return None
    try:
        arrays, found = read_arrays(path)
    except PerturbError as error:
        print(f"perturb: {error} Starting anew.", file=sys.stderr)
        return None
    wanted = json.loads(json.dumps(belongs))
    differing = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if differing:
        what = ", ".join(differing)
        print(
            f"perturb: {path} was written for something else ({what} differ): starting anew.",
            file=sys.stderr,
        )
        return None
    return arrays


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return one SHA-256 over named arrays: sorted names, dtype, shape and bytes of each."""
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()
