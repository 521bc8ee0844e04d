"""What the runs are doing, from their files: `python -m perturb.jobs.status`.

It is asked while the workflow runs. A run's `progress.jsonl` has one line per epoch; its
`record.json` is there when it has ended. Pure, without torch.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturb.config_files import folders
from perturb.errors import PerturbError
from perturb.files import read_json
from perturb.jobs.progress import PUT_BACK

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 16
# A run is stalled when nothing came for this many of its median epochs, and never sooner than a
# minute; before its first epoch has ended nobody knows how long one takes.
STALLED_EPOCHS, STALLED_SECONDS, FIRST_EPOCH_SECONDS = 10, 60, 1800
CLOCKS_SECONDS = 5  # that two machines' clocks may differ by
ORDER = ("running", "stalled", "stopped", "failed", "diverged", "done")
SUFFIX = ".progress.jsonl"


@dataclass(frozen=True)
class Run:
    """A run: its state (one of `ORDER`), how far it is, seconds left, what it said.

    `curve` are values of the measure called `shown`.
    """

    name: str
    state: str
    epochs: int = 0
    of: int = 0
    shown: str = ""
    curve: tuple[float, ...] = ()
    left: float | None = None
    note: str = ""


def collect(results: Path, logs: Path | None = None, now: float | None = None) -> list[Run]:
    """Return every run that has begun, those that go on first.

    `logs` is `results/logs` where None, `now` the time in seconds since 1970.
    """
    logs, now = logs or results / "logs", time.time() if now is None else now
    names = {path.parent.relative_to(results / "runs").as_posix() for path in _records(results)}
    for path in (logs / "runs").glob("*/*/*/seed*.log"):
        names.add(path.relative_to(logs / "runs").with_suffix("").as_posix())
    for path in (logs / "runs").glob(f"*/*/*/seed*{SUFFIX}"):  # one that is paused has no log
        names.add(path.relative_to(logs / "runs").as_posix().removesuffix(SUFFIX))
    found = []
    for name in sorted(names):
        try:
            found.append(_run(results, logs, name, now))
        except (ValueError, KeyError, TypeError):
            found.append(Run(name, "failed", note=f"{name}{SUFFIX} is damaged"))
    return sorted(found, key=lambda run: ORDER.index(run.state))


def _records(results: Path) -> Iterable[Path]:
    return (results / "runs").glob("*/*/*/seed*/record.json")


def _run(results: Path, logs: Path, name: str, now: float) -> Run:
    path, log = results / "runs" / name / "record.json", logs / "runs" / f"{name}.log"
    epochs, start, end = read(log.with_suffix(SUFFIX))
    known = {"of": start.get("of", 0), "epochs": len(epochs), **_curve(epochs)}
    try:
        record = read_json(path) if path.exists() else None
    except PerturbError:
        return Run(name, "failed", **known, note="record.json is damaged or was edited")
    if record:
        # Runs without epochs have a line for each of their steps.
        known["epochs"] = max(record["epochs_completed"], len(epochs))
        if record["status"] == "diverged":
            return Run(name, "diverged", **known, note=f"at step {record['diverged_at_step']}")
        known["of"] = known["of"] or known["epochs"]  # put back where it was never trained
        note = PUT_BACK if end.get("end") == PUT_BACK else _unknown_method(name)
        return Run(name, "done", **known, note=note)
    if end:
        state = "stopped" if end["end"] == "stopped" else "failed"
        return Run(name, state, **known, note=end["message"].partition("\n")[0])
    if not start:  # it failed, or works, before its training began
        message = _message(log)
        return Run(name, "failed" if message else "running", note=message)
    return _going(name, epochs, start, known, now)


def running(name: str, log: Path, since: float, now: float) -> Run | None:
    """Return the run of a job that is known to run since then, by its log's name.

    None where the job trains nothing, or has not begun to.
    """
    epochs, start, end = read(log.with_suffix(SUFFIX))
    if end or start.get("time", 0.0) < since - CLOCKS_SECONDS:
        return None
    known = {"of": start["of"], "epochs": len(epochs), **_curve(epochs)}
    return _going(name, epochs, start, known, now)


def _going(
    name: str, epochs: list[bytes], start: dict[str, Any], known: dict[str, Any], now: float
) -> Run:
    """Return a run that has begun and not ended: running or stalled, and the time left."""
    recent = [json.loads(line) for line in epochs[-20:]]
    quiet = now - max(start["time"], recent[-1]["time"] if recent else 0)
    if not recent:
        return Run(name, "running" if quiet < FIRST_EPOCH_SECONDS else "stalled", **known)
    median = statistics.median(line["seconds"] for line in recent)
    if quiet > max(STALLED_EPOCHS * median, STALLED_SECONDS):
        return Run(name, "stalled", **known, note=f"no line for {duration(quiet)}")
    left = median * (known["of"] - len(epochs)) - min(quiet, median)
    return Run(name, "running", **known, left=max(left, 0.0))


def _unknown_method(name: str) -> str:
    """Say why no run of this name could be asked for today; nothing where one could."""
    from perturb import studies  # imports numpy: not for runs that have no record

    method = name.split("/")[2]
    try:
        studies.of_method(method).parse(method)
    except PerturbError as error:
        return f"no method of today: {error}".partition(". Closest")[0]
    return ""


def read(path: Path) -> tuple[list[bytes], dict[str, Any], dict[str, Any]]:
    """Return a progress file's epochs (a line each, unparsed), last start and how that ended.

    Epochs that a later start trained again are not there twice; half a line does not count.
    """
    epochs: list[bytes] = []
    start: dict[str, Any] = {}
    end: dict[str, Any] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        if not line.endswith(b"}"):
            continue
        if line.startswith(b'{"epoch"'):
            epochs.append(line)
        elif line.startswith(b'{"start"'):
            start, end = json.loads(line), {}
            del epochs[start["start"] :]
        elif line.startswith(b'{"end"'):
            end = json.loads(line)
    return epochs, start, end


def _curve(epochs: list[bytes]) -> dict[str, Any]:
    """Return the measure that the last epoch shows, and its values: `shown` and `curve` of a run.

    Up to `CURVE_WIDTH` epochs, evenly spaced, the last one last; nothing where there is none.
    """
    count = min(len(epochs), CURVE_WIDTH)
    places = [(i + 1) * len(epochs) // count - 1 for i in range(count)]
    lines = [json.loads(epochs[place]) for place in places]
    if not lines or "shown" not in lines[-1]:  # none, or those of an earlier version
        return {}
    shown = lines[-1]["shown"]
    return {"shown": shown, "curve": tuple(line["measures"][shown] for line in lines)}


def _message(log: Path) -> str:
    """Return the last message in a job's log, or nothing."""
    said = [line for line in log.read_text("utf-8").splitlines() if line.startswith("perturb: ")]
    return said[-1].removeprefix("perturb: ") if said else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def sparkline(values: Iterable[float]) -> str:
    """Return a bar of eight heights a value, from the lowest to the highest of them."""
    values = list(values)
    low, high = min(values, default=0.0), max(values, default=0.0)
    step = (high - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((value - low) / step)] for value in values)


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(runs: list[Run]) -> str:
    """Return the runs as lines of text, their number by state last."""
    if not runs:
        return "no run has begun"
    width = max(len(run.name) for run in runs)
    measured = {run: f"{_words(run.shown)} {run.curve[-1]:#.4g}" for run in runs if run.curve}
    wide = max(map(len, measured.values()), default=len("measure"))
    lines = [
        f"{'run':{width}}  state       epochs  {'measure':{wide}}  {'curve':{CURVE_WIDTH}}  left"
    ]
    for run in runs:
        left = "" if run.left is None else duration(run.left)
        epochs = f"{run.epochs}/{run.of or '?'}"
        lines.append(
            f"{run.name:{width}}  {run.state:8}  {epochs:>8}  {measured.get(run, ''):{wide}}  "
            f"{sparkline(run.curve):{CURVE_WIDTH}}  {left or run.note}".rstrip()
        )
    counts = Counter(run.state for run in runs)
    total = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    longest = max((run.left for run in runs if run.left is not None), default=None)
    left = "" if longest is None else f"; {duration(longest)} until the last of these has ended"
    return "\n".join([*lines, f"{len(runs)} runs: {total}{left}"])


def main(arguments: list[str] | None = None) -> None:
    """Print the table of a results folder's runs."""
    parser = argparse.ArgumentParser(prog="python -m perturb.jobs.status", description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, help="results folder")
    parser.add_argument("--logs", type=Path, help="where it is not RESULTS/logs")
    parser.add_argument(
        "--configfile", type=Path, nargs="*", default=[], help="whose folders, as for snakemake"
    )
    chosen = parser.parse_args(arguments)
    results, logs = chosen.results, chosen.logs
    if results is None:
        try:
            results, of_config, _ = folders(Path(), chosen.configfile)
        except PerturbError as error:
            sys.exit(f"perturb: {error}")
        logs = logs or of_config
    if not results.is_dir():
        sys.exit(f"perturb: no folder {results}. Name the results folder, or run `make`.")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    print(table(collect(results, logs)))


if __name__ == "__main__":
    main()
