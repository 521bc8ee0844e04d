"""Reading a folder of result files: every file accounted for, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perturb import names
from perturb.audit.findings import Finding
from perturb.audit.folder import paths_of
from perturb.config import AuditPlan
from perturb.errors import PerturbError, did_you_mean
from perturb.files import sha256_file

SERIES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
SCALARS = ("best_accuracy", "trigger_epoch")
# A reader's word for what became of a file.
READ, UNREADABLE, OTHER = "read", "unreadable", "not a result file"


@dataclass(frozen=True)
class ResultFile:
    """One file of the folder. `path` is below it; `curves` has a row an epoch, from epoch 0.

    Its columns are those of SERIES that the file has; accuracies are fractions of 1, losses nats.
    `name` is the method as the file calls it, `method` what that parses to (None outside the
    grammar), `best_accuracy` what the file itself claims, `state` one of READ, UNREADABLE, OTHER.
    """

    path: str
    state: str
    sha256: str = ""
    name: str = ""
    dataset: str = ""
    model: str = ""
    seed: str = ""
    method: names.Method | None = None
    curves: pd.DataFrame | None = None
    best_accuracy: float | None = None
    trigger_epoch: float | None = None

    @property
    def canonical(self) -> str:
        """The one spelling of the method's name, without the model; the name where none parses."""
        return canonical(self.method) if self.method else self.name

    @property
    def epochs(self) -> int | None:
        """The epochs that the name says; outside the grammar, a whole number that it ends with."""
        if self.method:
            return self.method.epochs
        ending = re.search(r"_(\d{1,6})$", self.name)
        return int(ending[1]) if ending else None

    @property
    def accuracy(self) -> np.ndarray:
        """Test accuracy by epoch, [epochs], fractions of 1."""
        return self.curves["test_accuracy"].to_numpy(dtype=np.float64)

    def curve(self, name: str) -> np.ndarray | None:
        """Return a series of SERIES by epoch, [epochs], or None where the file has none."""
        if self.curves is None or name not in self.curves:
            return None
        return self.curves[name].to_numpy(dtype=np.float64)


def canonical(method: names.Method) -> str:
    """Return the one spelling of a method's name, without the model in front of it."""
    text = names.format(method)
    return text.removeprefix(f"{method.model}_") if method.model else text


def read_folder(plan: AuditPlan) -> tuple[list[ResultFile], list[Finding]]:
    """Read every file of the plan's folder.

    Returns the files, sorted by path, and what kept any of them from being read in full. Raises
    PerturbError where the plan itself is wrong: no folder, no file that its pattern matches.
    """
    pattern = _pattern(plan.pattern)
    if "test_accuracy" not in plan.fields:
        raise PerturbError(
            f"config, audits.{plan.name}.fields: missing key 'test_accuracy'. It says where a file "
            "keeps its test accuracy by epoch."
        )
    folder = Path(plan.folder)
    files, findings = [], []
    for path in paths_of(folder):
        file, found = _read(path, path.relative_to(folder).as_posix(), pattern, plan)
        files.append(file)
        findings += found
    if all(file.state == OTHER for file in files):
        raise PerturbError(
            f"{folder}: none of {len(files)} files matches the pattern '{plan.pattern}', the first "
            f"being '{files[0].path}'. Change audits.{plan.name}.pattern."
        )
    return files, findings


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise PerturbError(
            f"config, audits: pattern '{text}' is no regular expression: {error}."
        ) from None
    if "method" not in pattern.groupindex:
        raise PerturbError(f"config, audits: pattern '{text}' needs a group (?P<method>...).")
    return pattern


def _read(
    path: Path, relative: str, pattern: re.Pattern[str], plan: AuditPlan
) -> tuple[ResultFile, list[Finding]]:
    match = pattern.fullmatch(relative)
    try:
        if not match:
            return ResultFile(relative, OTHER, sha256_file(path)), []
        content = path.read_bytes()
    except OSError as error:
        found = Finding(relative, "unreadable", f"cannot be opened: {error.strerror}")
        return ResultFile(relative, UNREADABLE), [found]
    sha256 = hashlib.sha256(content).hexdigest()
    known, findings = _identity(relative, match.groupdict(), plan)
    try:
        columns, scalars, notes = _values(path.suffix, content, plan)
    except _Unreadable as error:
        findings.append(Finding(relative, error.kind, str(error)))
        return ResultFile(relative, UNREADABLE, sha256, **known), findings
    findings += [Finding(relative, kind, text) for kind, text in notes]
    return ResultFile(relative, READ, sha256, **known, curves=columns, **scalars), findings


def _identity(
    path: str, groups: Mapping[str, str | None], plan: AuditPlan
) -> tuple[dict[str, Any], list[Finding]]:
    """Return what a file's name says, and a finding where the name of its method does not parse."""
    name, word = groups["method"], groups.get("dataset") or ""
    method, findings = None, []
    if name not in plan.outside_grammar:
        try:
            method = names.parse(name)
        except PerturbError as error:
            findings.append(Finding(path, "name", str(error)))
    known = {
        "name": name,
        "method": method,
        "dataset": plan.datasets.get(word, word) or plan.dataset,
        "model": groups.get("model") or (method.model if method else None) or plan.model,
        "seed": groups.get("seed") or "",
    }
    return known, findings


class _Unreadable(Exception):
    """A file without the curves that were asked for; `kind` is that of its finding."""

    def __init__(self, text: str, kind: str = "unreadable") -> None:
        super().__init__(text)
        self.kind = kind


def _values(
    suffix: str, content: bytes, plan: AuditPlan
) -> tuple[pd.DataFrame, dict[str, float | None], list[tuple[str, str]]]:
    """Return curves, scalars and (kind, text) of what is odd; raises _Unreadable."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(f"is not text: {error}") from None
    if not text.strip():
        raise _Unreadable("is empty", "truncated")
    found = _csv(text) if suffix.lower() == ".csv" else _json(text)
    series = {}
    for name in SERIES:
        field = plan.fields.get(name)
        if field in found:
            series[name] = _series(field, found[field])
        elif field and name == "test_accuracy":
            raise _Unreadable(f"has no '{field}' (fields.{name}).{did_you_mean(field, found)}")
    notes = []
    lengths = {plan.fields[name]: len(values) for name, values in series.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{field} {length}" for field, length in lengths.items())
        notes.append(("truncated", f"series of unequal length, cut to the shortest: {counts}"))
    epochs = min(lengths.values())
    if not epochs:
        raise _Unreadable("has no epochs", "truncated")
    frame = pd.DataFrame({name: values[:epochs] for name, values in series.items()})
    scalars = {name: _scalar(found.get(plan.fields.get(name))) for name in SCALARS}
    if plan.accuracy == "percent":
        for name in [name for name in frame if name.endswith("accuracy")]:
            frame[name] /= 100
        if scalars["best_accuracy"] is not None:
            scalars["best_accuracy"] /= 100
    return frame, scalars, notes + _oddities(frame, plan)


def _oddities(frame: pd.DataFrame, plan: AuditPlan) -> list[tuple[str, str]]:
    notes = []
    for name, values in frame.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            notes.append(
                ("non_finite", f"{name} is not finite in {len(bad)} epochs, first at {bad[0]}")
            )
        if name.endswith("accuracy") and not values[np.isfinite(values)].between(0, 1).all():
            raise _Unreadable(
                f"{name} leaves the range from 0 to 1 (found {values.max():g}, read as "
                f"{plan.accuracy}): set audits.{plan.name}.accuracy, 'fraction' or 'percent'"
            )
    return notes


def _json(text: str) -> dict[str, Any]:
    """Return the values of a JSON object by their path, dots between the levels."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) - 1:
            raise _Unreadable(f"ends in the middle: {error}", "truncated") from None
        raise _Unreadable(f"is not JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise _Unreadable(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _Unreadable(f"holds a {type(value).__name__}, not an object with named series")
    return dict(_flat(value))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def _csv(text: str) -> dict[str, Any]:
    """Return the columns of a CSV by their header."""
    from io import StringIO

    try:
        frame = pd.read_csv(StringIO(text), skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise _Unreadable(f"is not CSV: {error}") from None
    return {str(name).strip(): frame[name].tolist() for name in frame}


def _series(field: str, values: Any) -> np.ndarray:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise _Unreadable(f"'{field}' is {values!r:.40}, not a list of numbers, one an epoch")
    for epoch, value in enumerate(values):
        # None is what JSON has in place of NaN.
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _Unreadable(f"'{field}' is {value!r:.40} at epoch {epoch}, not a number")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _scalar(value: Any) -> float | None:
    """Return a number, that of a column's last row, or None where there is none."""
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return float(value)
