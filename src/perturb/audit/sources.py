"""From the files of a folder to runs: a file may hold several, and several files make one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perturb.audit.documents import long_sheet, read_events, read_json, read_log
from perturb.audit.sheets import Sheet, read_table
from perturb.audit.surfaces import BROKEN
from perturb.audit.text import Cell, Unreadable, decode, to_cell

TABLES = {".csv", ".tsv", ".tab", ".dat"}
DOCUMENTS = {".json", ".jsonl", ".ndjson"}
LOGS = {".log", ".out", ".txt", ".err"}
ARRAYS = {".npz", ".npy"}
EVENTS = re.compile(r"events\.out\.tfevents\..*")
# One file for each series of a run: TensorBoard's "download CSV", and MLflow's file store.
_TAGGED = re.compile(r"(?P<place>(?:.*/)?)run-(?P<run>.+?)-tag-(?P<series>[^/]+)\.csv")
_METRIC = re.compile(r"(?P<run>(?:.*/)?[^/]+)/metrics/(?P<series>.+)")
_WANDB = re.compile(r"(?P<run>.+?) - (?P<series>.+?)(?P<bound>__MIN|__MAX)?")
_STEPS = {"step", "_step", "epoch", "relative time (wall)", "relative time (process)", "wall time"}
# Columns whose words, where they differ by row, name the run that a row is of.
RUNS = ("run", "run_name", "run_id", "name", "experiment", "method", "optimizer", "variant")
SEED = r"(?:[-_. ]?(?:seed|run|rep|trial|fold|version)|[-_. ]s)[-_=]?(?P<seed>\d+)"


@dataclass(frozen=True)
class Source:
    """One run of the folder, or one file that holds none.

    `path` is below the folder; `label` what the pattern is matched with, the path but for files
    that make a run together; `run` the run's name where a file holds several; `error` why there is
    no `sheet`; `part` the path of the file that speaks for this one's run.
    """

    path: str
    label: str
    sha256: str = ""
    sheet: Sheet | None = None
    run: str = ""
    error: Unreadable | None = None
    part: bool = False

    @property
    def name(self) -> str:
        """The path, with the run's name where its file holds several."""
        return f"{self.path}#{self.run}" if self.run else self.path


def looks_like_results(path: str) -> bool:
    """Return whether a file's name is one of those that results have."""
    suffix = Path(path).suffix.lower()
    known = suffix in TABLES | DOCUMENTS | LOGS
    return known or bool(EVENTS.fullmatch(Path(path).name) or _METRIC.fullmatch(path))


def is_part(path: str) -> bool:
    """Return whether a file is called as MLflow's and TensorBoard's are, whatever run it is of."""
    own = EVENTS.fullmatch(path.rpartition("/")[2])
    return bool(own or _TAGGED.fullmatch(path) or _METRIC.fullmatch(path))


def series_of_run(field: str) -> str | None:
    """Return the series in a W&B column's name `<run> - <series>`, or None."""
    match = _WANDB.fullmatch(field)
    return match["series"] if match else None


def sources_of(folder: Path, paths: Iterable[Path], fields: Sequence[str]) -> list[Source]:
    """Read the files at `paths`; text logs are searched for `fields`, words or expressions."""
    single: list[Source] = []
    joined: dict[str, list[tuple[str, str, Source]]] = {}
    for path in paths:
        relative = path.relative_to(folder).as_posix()
        try:
            content = path.read_bytes()
        except OSError as error:
            said = Unreadable(f"cannot be opened: {error.strerror}")
            single.append(Source(relative, relative, error=said))
            continue
        # An event file's own name is a date and a machine's: its folder says what it is.
        events = bool(EVENTS.fullmatch(path.name))
        label = f"{relative.rpartition('/')[0]}/events.tfevents" if events else relative
        source = Source(relative, label, hashlib.sha256(content).hexdigest())
        try:
            source = replace(source, sheet=_sheet(path, relative, content, fields))
        except Unreadable as error:
            single.append(replace(source, error=error))
            continue
        part = _part(folder, relative, source.sheet)
        if part:
            joined.setdefault(part[0], []).append((part[0], part[1], source))
        else:
            single += _runs(source)
    return sorted([*single, *_joined(joined)], key=lambda source: (source.path, source.run))


def _sheet(path: Path, relative: str, content: bytes, fields: Sequence[str]) -> Sheet:
    if EVENTS.fullmatch(path.name):
        return read_events(content)
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return _arrays(path)
    text = decode(content)
    if not text.strip():
        raise Unreadable("is empty", "truncated")
    if _METRIC.fullmatch(relative) and (sheet := _metric(text)):
        return sheet
    if suffix in DOCUMENTS or re.match(r'\s*(?:\[\s*)?\{\s*"', text):
        return read_json(text)
    if suffix in TABLES:
        return read_table(text)
    return _words_or_table(text, fields)


def _words_or_table(text: str, fields: Sequence[str]) -> Sheet:
    """Return a table where every line fits one, else the numbers behind words."""
    try:
        sheet = read_table(text)
    except Unreadable:
        return read_log(text, fields)
    numeric = [c for c in sheet.columns.values() if any(isinstance(v, float) for v in c)]
    return sheet if len(numeric) > 1 and len(sheet.columns) > 1 else read_log(text, fields)


def _metric(text: str) -> Sheet | None:
    """Return an MLflow metric, lines of `time value step`, as a sheet; None where it is none."""
    rows = [line.split() for line in text.split("\n") if line.strip()]
    if not all(len(row) == 3 for row in rows):
        return None
    cells = [[to_cell(cell)[0] for cell in row] for row in rows]
    if not all(isinstance(cell, float) for row in cells for cell in row):
        return None
    return Sheet("MLflow metric", {"step": [r[2] for r in cells], "value": [r[1] for r in cells]})


def _arrays(path: Path) -> Sheet:
    """Return the one-dimensional arrays of an .npz as columns; surfaces are `audit.surfaces`'s."""
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (*BROKEN, AttributeError, TypeError) as error:  # an .npy is no archive
        raise Unreadable(f"is no archive of plain arrays: {error}") from None
    columns = {
        name: [float(v) for v in array]
        for name, array in arrays.items()
        if array.ndim == 1 and array.dtype.kind in "fiu"
    }
    return Sheet("arrays of numpy", columns)


def _part(folder: Path, path: str, sheet: Sheet) -> tuple[str, str] | None:
    """Return (the run's label, the series' name) of a file that holds one series of a run."""
    match = _TAGGED.fullmatch(path)
    if match and {"Step", "Value"} <= set(sheet.columns):
        return f"{match['place']}{match['run']}.csv", match["series"]
    match = _METRIC.fullmatch(path)
    if match and sheet.format == "MLflow metric":
        tag = folder / match["run"] / "tags" / "mlflow.runName"
        place, _, own = match["run"].rpartition("/")
        try:
            own = tag.read_text(encoding="utf-8").strip().replace("/", "_") or own
        except OSError:
            pass  # a store without tags: the run is called by its number
        return f"{place}/{own}.mlflow".lstrip("/") + f"\0{match['run']}", match["series"]
    return None


def _joined(joined: Mapping[str, list[tuple[str, str, Source]]]) -> Iterator[Source]:
    """Yield one source for each run of several files, and the others as its parts."""
    for label, parts in joined.items():
        rows, words = [], "MLflow metrics"
        for _, series, source in parts:
            held = source.sheet.columns
            words = words if "value" in held else "TensorBoard CSV"
            steps = held.get("step") or held["Step"]
            values = held.get("value") or held["Value"]
            rows += [(s, series, v) for s, v in zip(steps, values, strict=True) if s is not None]
        sheet = long_sheet(words, rows)
        order = sorted(parts, key=lambda part: (not _speaks(part[1]), part[2].path))
        for place, (_, _, source) in enumerate(order):
            shown = label.partition("\0")[0]
            if place:
                yield replace(source, label=shown, sheet=None, part=True)
            else:
                yield replace(source, label=shown, sheet=sheet)


def _speaks(series: str) -> bool:
    lower = series.lower()
    return ("acc" in lower or "top1" in lower) and "train" not in lower


def _runs(source: Source) -> list[Source]:
    """Return the runs of a file: one, or those of a W&B export, or of a column that names runs."""
    sheet = source.sheet
    groups = _wandb(sheet) or _grouped(sheet)
    if not groups:
        return [source]
    return [replace(source, sheet=own, run=run) for run, own in groups.items()]


def _wandb(sheet: Sheet) -> dict[str, Sheet]:
    matches = {name: _WANDB.fullmatch(name) for name in sheet.columns}
    others = [name for name, match in matches.items() if not match]
    if len(matches) == len(others) or any(name.lower() not in _STEPS for name in others):
        return {}
    found: dict[str, dict[str, list[Cell]]] = {}
    percent: dict[str, set[str]] = {}
    for name, match in matches.items():
        if match and not match["bound"]:
            own = found.setdefault(match["run"], {o: sheet.columns[o] for o in others})
            own[match["series"]] = sheet.columns[name]
            signs = percent.setdefault(match["run"], set())
            signs |= {match["series"]} if name in sheet.percent else set()
    return {
        run: replace(sheet, format="W&B export", columns=own, percent=frozenset(percent[run]))
        for run, own in found.items()
    }


def _grouped(sheet: Sheet) -> dict[str, Sheet]:
    """Return the runs of a long table: a column of words that differ names each row's run."""
    lower = {name.lower().strip(): name for name in sheet.columns}
    naming = [lower[name] for name in RUNS if name in lower and _is_words(sheet, lower[name])]
    seeds = [lower["seed"]] if "seed" in lower and _differs(sheet, lower["seed"]) else []
    keys = [*naming[:1], *seeds]
    if not keys or len({len(column) for column in sheet.columns.values()}) > 1:
        return {}
    rows: dict[str, list[int]] = {}
    for row in range(len(sheet.columns[keys[0]])):
        cells = [sheet.columns[key][row] for key in keys]
        texts = [f"{c:g}" if isinstance(c, float) else str(c) for c in cells]
        run = (
            texts[0] if not seeds else f"{texts[0]}_seed{texts[1]}" if naming else f"seed{texts[0]}"
        )
        rows.setdefault(run, []).append(row)
    if len(rows) < 2:
        return {}
    return {
        run: replace(
            sheet,
            format=f"table with the run in column '{keys[0]}'",
            columns={n: [c[i] for i in own] for n, c in sheet.columns.items() if n not in keys},
            breaks=(),
        )
        for run, own in rows.items()
    }


def _is_words(sheet: Sheet, name: str) -> bool:
    cells = sheet.columns[name]
    return all(isinstance(c, str) for c in cells) and len(set(cells)) > 1


def _differs(sheet: Sheet, name: str) -> bool:
    cells = sheet.columns[name]
    return all(isinstance(c, float) for c in cells) and len(set(cells)) > 1
