"""From rows in a file's order to one row per epoch: sorted, merged, restarts told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perturb.audit.text import Unreadable

MAIN = "test_accuracy"
_DENSE = 50  # epochs for each row, at most: beyond, the numbers are steps or dates
_SHOWN = 6


@dataclass(frozen=True)
class Rows:
    """Series of one length in a file's order; None is a cell that is blank.

    `epoch` and `step` are what the file says of its rows, None where it says nothing; `breaks` the
    rows before which a header stands again; `names` what the file calls each series.
    """

    series: Mapping[str, Sequence[float | None]]
    names: Mapping[str, str]
    epoch: Sequence[float | None] | None = None
    step: Sequence[float | None] | None = None
    breaks: tuple[int, ...] = ()
    several: bool = False  # a series may have several values in one epoch, the last counts

    def __len__(self) -> int:
        return len(self.series[MAIN])


@dataclass(frozen=True)
class Arranged:
    """One row per epoch: `curves` [epochs x series], NaN where a series has no value or NaN.

    `measured` says, by series, in which epochs [epochs] the file has a value at all; `notes` are
    (kind of finding, text).
    """

    curves: pd.DataFrame
    measured: Mapping[str, np.ndarray]
    notes: tuple[tuple[str, str], ...]


def arrange(rows: Rows, named: int | None = None) -> Arranged:
    """Return the rows of the run that counts, one per epoch; `named`: the epochs in its name.

    Raises Unreadable where one epoch has two accuracies that nothing tells apart.
    """
    key, kind = _key(rows)
    values = {
        name: np.array([np.nan if v is None else v for v in cells], dtype=np.float64)
        for name, cells in rows.series.items()
    }
    present = {
        name: np.array([v is not None for v in cells]) for name, cells in rows.series.items()
    }
    used = np.any(list(present.values()), axis=0) & np.isfinite(key)
    order, notes = _order(key, used, present[MAIN], values[MAIN], rows.breaks, kind)
    if not present[MAIN][order].any():
        raise Unreadable(f"has no value of '{rows.names[MAIN]}'", "truncated")
    grid, place = _grid(key[order], present[MAIN][order], kind, named)
    curves, measured = {}, {}
    for name in values:
        column, has = np.full(len(grid), np.nan), np.zeros(len(grid), dtype=bool)
        for row, at in zip(order, place, strict=True):
            if at < 0 or not present[name][row]:
                continue
            value = values[name][row]
            clash = has[at] and not _same(column[at], value)
            if (
                clash
                and name == MAIN
                and not rows.several
                and not _told_apart(rows, order, place, at)
            ):
                raise Unreadable(
                    f"{kind} {grid[at]:g} has two values of '{rows.names[name]}', {column[at]:g} "
                    f"and {value:g}, and no step that orders them: does it hold several runs?"
                )
            column[at], has[at] = value, True
        curves[name], measured[name] = column, has
    frame = pd.DataFrame(curves)
    notes += _gaps(grid, measured, kind, rows.names)
    return Arranged(frame, measured, tuple(notes))


def _same(one: float, two: float) -> bool:
    return one == two or (np.isnan(one) and np.isnan(two))


def _told_apart(rows: Rows, order: Sequence[int], place: Sequence[int], at: int) -> bool:
    """Return whether the rows of one epoch have steps of their own."""
    if rows.step is None:
        return False
    here = [r for r, p in zip(order, place, strict=True) if p == at]
    steps = [rows.step[r] for r in here if rows.series[MAIN][r] is not None]
    return None not in steps and len(set(steps)) == len(steps)


def _key(rows: Rows) -> tuple[np.ndarray, str]:
    """Return what orders the rows, and what that is: epoch, step or row."""
    for cells, kind in ((rows.epoch, "epoch"), (rows.step, "step")):
        if cells is None or all(cell is None for cell in cells):
            continue
        key = np.array([np.nan if c is None else c for c in cells], dtype=np.float64)
        known = np.isfinite(key)
        if kind == "epoch" and np.ptp(key[known]) > _DENSE * max(known.sum(), 20):
            apart = np.diff(np.unique(key[known]))
            if np.median(apart) <= 1:
                odd = key[known][np.abs(key[known]).argmax()]
                raise Unreadable(f"epoch {odd:g} does not follow on the others")
            kind = "step"
        return pd.Series(key).ffill().to_numpy(), kind
    return np.arange(len(rows), dtype=np.float64), "row"


def _order(
    key: np.ndarray,
    used: np.ndarray,
    has_main: np.ndarray,
    main: np.ndarray,
    breaks: Sequence[int],
    kind: str,
) -> tuple[list[int], list[tuple[str, str]]]:
    """Return the rows that count, by epoch: those of the last complete attempt."""
    rows = [int(i) for i in np.flatnonzero(used)]
    if not rows:
        raise Unreadable("has no row with a value", "truncated")
    steps = np.diff(key[rows])
    if kind != "row" and not breaks and len(rows) > 2 and (steps <= 0).all() and (steps < 0).any():
        rows = rows[::-1]  # newest first
        steps = -steps[::-1]
    starts = [0] + [
        i
        for i in range(1, len(rows))
        if (kind != "row" and steps[i - 1] < 0) or any(rows[i - 1] < b <= rows[i] for b in breaks)
    ]
    if kind != "row" and not _repeated(key, rows, has_main, main):
        return sorted(rows, key=lambda row: key[row]), []
    if len(starts) == 1:
        return rows, []
    attempts = [rows[a:b] for a, b in zip(starts, [*starts[1:], len(rows)], strict=True)]
    if len(attempts) > max(4, len(rows) / 6):
        raise Unreadable(
            f"{kind}s fall back {len(attempts) - 1} times and have several values each: "
            "are there several runs in one file?"
        )
    if kind == "row":
        longest = max(len(attempt) for attempt in attempts)
        chosen = [a for a in attempts if len(a) == longest][-1]
        said = ", ".join(str(len(attempt)) for attempt in attempts)
        note = f"{len(attempts)} attempts of {said} rows; the last of {longest} counts"
        return chosen, [("restart", note)]
    return _composed(key, attempts, kind)


def _composed(
    key: np.ndarray, attempts: Sequence[Sequence[int]], kind: str
) -> tuple[list[int], list[tuple[str, str]]]:
    """Return the last attempt that reaches the end, with what it was resumed from before it."""
    first = min(key[attempt[0]] for attempt in attempts)
    end = max(key[attempt[-1]] for attempt in attempts)
    complete = [i for i, attempt in enumerate(attempts) if key[attempt[-1]] == end]
    at = complete[-1]
    chosen = list(attempts[at])
    for attempt in reversed(attempts[:at]):
        start = key[chosen[0]]
        if start <= first:
            break
        chosen = [row for row in attempt if key[row] < start] + chosen
    spans = ", ".join(f"{key[a[0]]:g} to {key[a[-1]]:g}" for a in attempts)
    note = f"started again: {kind}s {spans} in one file; what counts is attempt {at + 1}" + (
        ", with what it was resumed from" if key[attempts[at][0]] > first else ""
    )
    return chosen, [("restart", note)]


def _repeated(key: np.ndarray, rows: Sequence[int], has_main: np.ndarray, main: np.ndarray) -> bool:
    """Return whether an epoch has two different accuracies."""
    seen: dict[float, float] = {}
    for row in rows:
        if has_main[row] and not _same(seen.setdefault(key[row], main[row]), main[row]):
            return True
    return False


def _grid(
    key: np.ndarray, has_main: np.ndarray, kind: str, named: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the epochs [epochs] and each row's place among them [rows], -1 for none.

    Whole epochs are counted from the run's first, 0 or 1, whether each has a row or not; steps and
    fractions of epochs by the rows that have an accuracy.
    """
    measured = np.unique(key[has_main])
    whole = kind == "epoch" and np.allclose(measured, np.round(measured))
    if not whole:
        grid = np.unique(key) if kind == "row" else measured
        place = np.searchsorted(grid, key)
        return grid, np.where(place < len(grid), place, -1)
    last = float(np.ceil(key.max() - 1e-9))
    gaps = np.diff(measured)
    every = float(np.median(gaps)) if len(gaps) else 1.0
    first = float(np.ceil(key.min() - 1e-9))
    base = (
        0.0 if first == 0 or (every > 1 and measured[0] == every - 1) or last + 1 == named else 1.0
    )
    grid = np.arange(min(base, first), last + 1)
    return grid, (np.ceil(key - 1e-9) - grid[0]).astype(int)


def _gaps(
    grid: np.ndarray, measured: Mapping[str, np.ndarray], kind: str, names: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Say where a series is not: accuracies every k-th epoch are all there, other gaps are not."""
    notes = []
    for name, has in measured.items():
        at = np.flatnonzero(has)
        if not len(at):
            notes.append(("other_series", f"{name} ('{names[name]}') has no value"))
            continue
        steps = np.diff(at)
        every = int(np.median(steps)) if len(steps) else 1
        missing = len(grid) - 1 - at[-1]
        if missing >= max(every, 1) and name == MAIN:
            notes.append(
                ("truncated", f"{name} ends at {kind} {grid[at[-1]]:g}, the file at {grid[-1]:g}")
            )
        wide = [i for i, step in enumerate(steps) if step != every and i < len(steps) - 1]
        wide += [len(steps) - 1] if len(steps) and steps[-1] > every else []
        lacking = [int(grid[at[i]] + d) for i in wide for d in range(every, int(steps[i]), every)]
        if at[0] >= max(every, 1) and name == MAIN:
            lacking = [*map(int, grid[: at[0]]), *lacking]
        if lacking and name == MAIN:
            shown = ", ".join(map(str, lacking[:_SHOWN])) + (
                " ..." if len(lacking) > _SHOWN else ""
            )
            said = f"no accuracy at {kind} {shown}" + (
                f" (else every {every})" if every > 1 else ""
            )
            notes.append(("gaps", said))
    return notes
