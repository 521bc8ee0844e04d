"""Reading a folder of result files: every file accounted for, whatever is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from perturb import names
from perturb.audit import guessing, own_runs, units
from perturb.audit.epochs import Arranged, Rows, arrange
from perturb.audit.findings import Finding
from perturb.audit.folder import paths_of
from perturb.audit.plan import AuditPlan, compiled
from perturb.audit.sheets import Sheet
from perturb.audit.sources import Source, is_part, looks_like_results, series_of_run, sources_of
from perturb.audit.surfaces import SUFFIXES, check_surfaces
from perturb.audit.text import Cell, Unreadable, to_cell
from perturb.errors import PerturbError, did_you_mean
from perturb.files import sha256_file

SERIES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
SCALARS = ("best_accuracy", "trigger_epoch")
MAIN = "test_accuracy"
# A reader's word for what became of a file.
READ, UNREADABLE, OTHER, PART = "read", "unreadable", "not a result file", "part of a run"
BESIDE = "beside a run's curve"


@dataclass(frozen=True)
class ResultFile:
    """One run of the folder. `path` is its file's below it, with `#run` where a file holds several.

    `curves` has one row per epoch; its columns are those of SERIES that the file has, accuracies as
    fractions of 1, losses in nats. `measured` says by series in which epochs the file has a value
    [epochs]: elsewhere the curve is NaN. `name` is the method as the file calls it, `method` what
    that parses to (None outside the grammar), `best_accuracy` what the file itself claims, `state`
    one of READ, UNREADABLE, OTHER, PART, BESIDE.
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
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)

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
        """Test accuracy, [measured epochs], fractions of 1."""
        return self.values(MAIN)

    @property
    def accuracy_epochs(self) -> np.ndarray:
        """The epochs, from 0, that have a test accuracy."""
        return np.flatnonzero(self.measured.get(MAIN, np.ones(len(self.curves), dtype=bool)))

    def curve(self, name: str) -> np.ndarray | None:
        """Return a series of SERIES by epoch, [epochs], or None where the file has none."""
        if self.curves is None or name not in self.curves:
            return None
        return self.curves[name].to_numpy(dtype=np.float64)

    def values(self, name: str) -> np.ndarray | None:
        """Return a series where it was measured, [measured epochs], or None."""
        curve = self.curve(name)
        return curve if curve is None or name not in self.measured else curve[self.measured[name]]


def canonical(method: names.Method) -> str:
    """Return the one spelling of a method's name, without the model in front of it."""
    text = names.format(method)
    return text.removeprefix(f"{method.model}_") if method.model else text


@dataclass(frozen=True)
class Reading:
    """What a folder holds: its runs by path, what was found in reading, and what was guessed.

    `plan` leaves nothing open; `guessed` are sentences.
    """

    plan: AuditPlan
    files: list[ResultFile]
    findings: list[Finding]
    guessed: tuple[str, ...] = ()


def read_folder(plan: AuditPlan) -> tuple[list[ResultFile], list[Finding]]:
    """Return the files, sorted by path, and the findings of `read`."""
    found = read(plan)
    return found.files, found.findings


def read(plan: AuditPlan) -> Reading:
    """Read every file of the plan's folder, guessing what the plan leaves open.

    Raises PerturbError where the plan itself is wrong: no folder, no file that its pattern matches.
    """
    given = compiled(plan.pattern, plan.name) if plan.pattern else None
    if plan.fields and MAIN not in plan.fields:
        raise PerturbError(
            f"config, audits.{plan.name}.fields: missing key 'test_accuracy'. It says where a file "
            "keeps its test accuracy by epoch."
        )
    folder = Path(plan.folder)
    paths = {path.relative_to(folder).as_posix(): path for path in paths_of(folder)}
    runs = own_runs.runs_of(paths)
    if runs and given is None:
        given = re.compile(own_runs.PATTERN)
    wanted = [name for name in paths if _is_wanted(name, given)]
    beside = own_runs.kept_beside(paths, runs) - set(wanted)
    sources = sources_of(folder, [paths[name] for name in wanted], tuple(plan.fields.values()))
    open_plan = plan
    plan, guessed = guessing.resolve(plan, sources, runs)
    pattern = given or compiled(plan.pattern, plan.name)
    files = [
        _other(name, path, BESIDE if name in beside else OTHER)
        for name, path in paths.items()
        if name not in set(wanted)
    ]
    findings: list[Finding] = []
    scales: dict[str, tuple[str, bool]] = {}
    for source in sources:
        file, found, scale = _read(source, pattern, plan, runs, strict=bool(open_plan.fields))
        files.append(file)
        findings += found
        if scale:
            scales[file.path] = scale
    if all(file.state in (OTHER, BESIDE) for file in files):
        raise PerturbError(
            f"{folder}: none of {len(files)} files matches the pattern '{plan.pattern}', the first "
            f"being '{min(paths)}'. Change audits.{plan.name}.pattern."
        )
    findings += _scales(files, scales)
    findings += check_surfaces(
        {n: p for n, p in paths.items() if p.suffix.lower() in SUFFIXES and n not in beside}
    )
    methods = {file.name: file.canonical for file in files if file.state == READ}
    plan, baseline = guessing.with_baseline(plan, methods)
    if not follows_grammar(open_plan, files):
        findings = [finding for finding in findings if finding.kind != "name"]
    files.sort(key=lambda file: file.path)
    return Reading(plan, files, findings, (*guessed, *baseline))


def follows_grammar(plan: AuditPlan, files: Sequence[ResultFile]) -> bool:
    """Return whether the folder's names are meant in perturb's grammar.

    By the configuration, whose `baselines` and `held` are of that grammar, or by half of the names.
    Another tool's names, which need not be, are none that do not parse.
    """
    if plan.baselines or plan.held:
        return True
    parsed = {
        file.name: file.method is not None
        for file in files
        if file.name and file.name not in plan.outside_grammar
    }
    return 2 * sum(parsed.values()) >= len(parsed)


def _is_wanted(name: str, pattern: re.Pattern[str] | None) -> bool:
    """Return whether a file is to be read: it matches the pattern, or may where none is given."""
    if pattern is None:
        return looks_like_results(name)
    return bool(pattern.fullmatch(name)) or is_part(name)


def _other(name: str, path: Path, state: str) -> ResultFile:
    try:
        return ResultFile(name, state, sha256_file(path))
    except OSError:
        return ResultFile(name, state)


def _scales(files: Sequence[ResultFile], scales: Mapping[str, tuple[str, bool]]) -> list[Finding]:
    """Return findings for files whose scale disagrees with those beside them."""
    groups: dict[tuple[str, str], dict[str, tuple[str, bool]]] = {}
    for file in files:
        if file.path in scales:
            groups.setdefault((file.dataset, file.model), {})[file.path] = scales[file.path]
    return [
        Finding(path, "values", text)
        for group in groups.values()
        for path, text in units.disagreeing(group).items()
    ]


def _read(
    source: Source,
    pattern: re.Pattern[str],
    plan: AuditPlan,
    runs: Mapping[str, Mapping[str, str]],
    strict: bool,
) -> tuple[ResultFile, list[Finding], tuple[str, bool] | None]:
    """Return a source as a file, its findings, and the scale that its accuracies are in.

    `runs` are what perturb's own runs are of, by their folders. `strict`: the plan says which
    fields to read, so a file without them is a fault, not a stray.
    """
    path = source.name
    match = pattern.fullmatch(source.path) or pattern.fullmatch(source.label)
    if source.part:
        return ResultFile(path, PART, source.sha256), [], None
    if not match or not (strict or source.error or source.sheet.columns):
        return ResultFile(path, OTHER, source.sha256), [], None
    record = runs.get(PurePosixPath(source.path).parent.as_posix(), {})
    known, findings = _identity(path, _groups(source, match, plan, record), plan)
    try:
        if source.error:
            raise source.error
        if not strict and source.sheet.format == "text log" and not _holds(source.sheet, plan):
            return ResultFile(path, OTHER, source.sha256), [], None
        arranged, scalars, scale, notes = _values(source, plan, known["method"], known["name"])
    except Unreadable as error:
        findings.append(Finding(path, error.kind, str(error)))
        return ResultFile(path, UNREADABLE, source.sha256, **known), findings, None
    findings += [Finding(path, kind, text) for kind, text in (*source.sheet.notes, *notes)]
    file = ResultFile(path, READ, source.sha256, **known, curves=arranged.curves, **scalars)
    return replace(file, measured=arranged.measured), findings, scale


def _holds(sheet: Sheet, plan: AuditPlan) -> bool:
    return plan.fields[MAIN] in sheet.columns


def _groups(
    source: Source, match: re.Match[str], plan: AuditPlan, record: Mapping[str, str]
) -> dict[str, str | None]:
    """Return what the path says, and where a file holds several runs, what the run's name says.

    What the path leaves open, a run's own record says; with neither, a run is called as the
    audited folder is.
    """
    said = {key: word for key, word in match.groupdict().items() if word is not None}
    groups = {"method": Path(plan.folder).name, **match.groupdict(), **record, **said}
    if source.run:
        run = re.fullmatch(plan.runs, source.run)
        groups |= run.groupdict() if run else {"method": source.run}
    return groups


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


def _field(source: Source, field: str) -> str:
    """Return the column that a field means, and `field` where none does.

    Itself, a W&B run's own series, what it ends in, or the same words spelled otherwise.
    """
    columns = source.sheet.columns
    if field in columns or field in source.sheet.scalars:
        return field
    if source.run and (own := series_of_run(field)) in columns:
        return own
    ending = [name for name in columns if name.endswith(f".{field}")]
    alike = ending or [name for name in columns if guessing.same_words(name, field)]
    return alike[0] if len(alike) == 1 else field


def _values(
    source: Source, plan: AuditPlan, method: names.Method | None, name: str
) -> tuple[Arranged, dict[str, float | None], tuple[str, bool], list[tuple[str, str]]]:
    """Return curves, scalars, their scale and (kind, text) of what is odd; raises Unreadable."""
    sheet = source.sheet
    fields = {ours: _field(source, theirs) for ours, theirs in plan.fields.items()}
    main = fields[MAIN]
    if main not in sheet.columns:
        if main in sheet.scalars:
            raise Unreadable(f"'{main}' is {sheet.scalars[main]!r:.40}, not a list of numbers")
        known = [n for n in (*sheet.columns, *sheet.scalars) if guessing.may_be_a_curve(n)]
        raise Unreadable(f"has no '{main}' (fields.{MAIN}).{did_you_mean(main, known)}")
    if not sheet.columns[main]:
        raise Unreadable("has no epochs", "truncated")
    series, notes = _series(sheet, fields)
    notes += [
        ("spelling", f"column '{column}' is taken for '{plan.fields[ours]}' (fields.{ours})")
        for ours, column in fields.items()
        if column in sheet.columns and guessing.spelled_otherwise(column, plan.fields[ours])
    ]
    epoch, step = guessing.ordering(sheet, main, plan)
    rows = Rows(
        series,
        fields,
        _whole(sheet.columns[epoch]) if epoch else None,
        _whole(sheet.columns[step]) if step else None,
        sheet.breaks,
        several=sheet.format == "text log",
    )
    ending = re.search(r"_(\d{1,6})$", name)
    named = method.epochs if method else int(ending[1]) if ending else None
    arranged = arrange(rows, named)
    notes += arranged.notes
    frame, scale, odd = _scaled(arranged, sheet, fields, plan)
    scalars = {key: _scalar(sheet, fields.get(key)) for key in SCALARS}
    best = scalars["best_accuracy"]
    if best is not None and (scale[0] == "percent" or (plan.accuracy == "auto" and best > 1)):
        scalars["best_accuracy"] = best / 100
    return replace(arranged, curves=frame), scalars, scale, notes + odd


def _series(
    sheet: Sheet, fields: Mapping[str, str]
) -> tuple[dict[str, list[float | None]], list[tuple[str, str]]]:
    """Return the series that a sheet has, all as long as the accuracy, and what is odd.

    Raises Unreadable where the accuracy holds what is no number.
    """
    length, notes, found = len(sheet.columns[fields[MAIN]]), [], {}
    for ours in SERIES:
        theirs = fields.get(ours)
        if theirs not in sheet.columns:
            continue
        cells = sheet.columns[theirs]
        wrong = next(((i, c) for i, c in enumerate(cells) if isinstance(c, str)), None)
        if wrong and ours == MAIN:
            raise Unreadable(f"'{theirs}' is {wrong[1]!r:.40} in row {wrong[0]}, not a number")
        if wrong:
            said = f"{ours} ('{theirs}') is {wrong[1]!r:.40} in row {wrong[0]}: not read"
            notes.append(("other_series", said))
            continue
        if len(cells) > length:
            notes.append(
                ("truncated", f"'{fields[MAIN]}' has {length} values, '{theirs}' {len(cells)}")
            )
        elif len(cells) < length:
            said = f"{ours} ('{theirs}') has {len(cells)} values, the accuracy {length}"
            notes.append(("other_series", said))
        found[ours] = [*cells[:length], *[None] * (length - len(cells))]
    return found, notes


def _whole(cells: Sequence[Cell]) -> list[float | None]:
    """Return epochs as numbers: 3, "3/20" and "epoch 3" alike; None where there is none."""
    found: list[float | None] = []
    for cell in cells:
        match = re.fullmatch(r"\D*(\d+)(?:\s*/\s*\d+)?\D*", cell) if isinstance(cell, str) else None
        number = float(match[1]) if match else cell
        known = isinstance(number, int | float) and np.isfinite(number)
        found.append(float(number) if known else None)
    return found


def _scaled(
    arranged: Arranged, sheet: Sheet, fields: Mapping[str, str], plan: AuditPlan
) -> tuple[pd.DataFrame, tuple[str, bool], list[tuple[str, str]]]:
    """Return curves with accuracies as fractions, the scale they had, and what is odd."""
    frame, notes = arranged.curves.copy(), []
    scale = ("fraction", False)
    for name in list(frame):
        has = arranged.measured[name]
        values = frame[name].to_numpy()
        bad = np.flatnonzero(has & ~np.isfinite(values))
        kind = "non_finite" if name == MAIN else "other_series"
        if len(bad):
            count = f"{len(bad)} epochs, first at" if len(bad) > 1 else "epoch"
            said = f"{name} is not finite in {count} {bad[0]}"
            notes.append((kind, said))
        if not name.endswith("accuracy"):
            continue
        signed = fields[name] in sheet.percent
        try:
            own, doubts = units.scale_of(values[has], signed, plan.accuracy, name)
        except Unreadable as error:
            if name == MAIN:
                raise Unreadable(str(error).replace("<name>", plan.name)) from None
            notes.append(("other_series", str(error).replace("<name>", plan.name)))
            del frame[name]
            continue
        if name == MAIN:
            scale = (own, signed)
            notes += [("values", f"{name}: {d}".replace("<name>", plan.name)) for d in doubts]
        if own == "percent":
            frame[name] /= 100
    return frame, scale, notes


def _scalar(sheet: Sheet, field: str | None) -> float | None:
    """Return a number, that of a column's last row, or None where there is none."""
    if sheet.columns.get(field):
        value = sheet.columns[field][-1]
    else:
        value = to_cell(sheet.scalars.get(field))[0]
    return value if isinstance(value, float) and np.isfinite(value) else None
