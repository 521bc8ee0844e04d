"""Stored surfaces that are none: constant, no numbers, or the same as another."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from perturb.audit.findings import Finding

# What numpy and the archive below it raise for a file that is cut off or no array.
BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
SUFFIXES = {".npz", ".npy"}
# Stacks of surfaces, [number, rows, columns], are looked at one by one up to this number.
STACK = 256


def check_surfaces(paths: Mapping[str, Path]) -> list[Finding]:
    """Return what is wrong with the arrays of two dimensions or more in files, by path."""
    findings: list[Finding] = []
    seen: dict[str, str] = {}
    for name, path in sorted(paths.items()):
        try:
            surfaces = list(_surfaces(path))
        except BROKEN as error:
            findings.append(Finding(name, "unreadable", f"is no array that numpy reads: {error}"))
            continue
        same: dict[str, list[str]] = {}
        for label, values in surfaces:
            text = _fault(values)
            if text:
                findings.append(Finding(name, "surface", f"{label} {text}"))
                continue
            digest = hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()
            where = seen.setdefault(digest, f"{name}: {label}")
            if where != f"{name}: {label}":
                same.setdefault(where, []).append(label)
        for where, labels in same.items():
            own, _, first = where.partition(": ")
            other = f"{first} of the same file" if own == name else f"{first} of {own}"
            shown = ", ".join(labels[:8]) + (" ..." if len(labels) > 8 else "")
            count = f"{len(labels)} surfaces equal" if len(labels) > 1 else "equals"
            findings.append(Finding(name, "surface", f"{count} {other}: {shown}"))
    return findings


def _surfaces(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, values as float64 [rows x columns]) of every surface in a file."""
    held = np.load(path, allow_pickle=False)
    arrays = {name: held[name] for name in held.files} if hasattr(held, "files") else {"": held}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.ndim < 2 or min(array.shape[-2:]) < 2:
            continue
        values = array.astype(np.float64)
        stack = values.reshape(-1, *values.shape[-2:])
        if len(stack) > STACK:
            yield name or "the array", values
            continue
        for place, surface in enumerate(stack):
            index = f"[{place}]" if values.ndim > 2 else ""
            yield f"{name}{index}" or "the array", np.ascontiguousarray(surface)


def _fault(values: np.ndarray) -> str:
    finite = np.isfinite(values)
    if not finite.any():
        return "has no finite value"
    if np.ptp(values[finite]) == 0:
        return f"is {values[finite].flat[0]:g} everywhere"
    return ""
