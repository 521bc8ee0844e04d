"""The main table of a chapter: what the thesis log says, and what comes out, claim by claim."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perturb.analysis.statistics import FEW_SEEDS, summarise
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.studies.minima.chapters import INDEPENDENT
from perturb.studies.minima.names import Name, parse
from perturb.studies.minima.reading import provenance as traced

Settings = Mapping[str, Any]
Frames = Mapping[str, pd.DataFrame]
YES, NO, OPEN = "comes out", "does not come out", "open"
SMOKE = "Smoke run, not a result of the study."


@dataclass(frozen=True)
class Answer:
    """What came out: a verdict (`YES`, `NO`, `OPEN`) and the numbers that it follows from."""

    verdict: str
    ours: str


@dataclass(frozen=True)
class Claim:
    """What the log says: its key, its section of the results, the sentence, who answers it."""

    key: str
    section: str
    text: str
    answer: Callable[[Frames], Answer | None]


def make(settings: Settings, inputs: Mapping[str, Sequence[Path]], results: Path) -> Table:
    """Return every claim that the chapter's tables can answer (`Part.make`)."""
    frames = {
        name: pd.read_csv(path)
        for name, path in zip(settings["tables"], inputs["tables"], strict=True)
    }
    rows = []
    for claim in CLAIMS:
        answer = claim.answer(frames)
        if answer is None:
            continue
        log = settings["claims"].get(claim.key, "")
        verdict = answer.verdict if settings["seeds"] >= FEW_SEEDS else OPEN
        rows.append(
            {"section": claim.section, "claim": claim.text, "verdict": verdict}
            | {"ours": answer.ours, "log": log, "scale": settings["scale"]}
        )
    tones = {YES: "better", NO: "worse", OPEN: ""}
    cells = [
        [
            Cell(row["claim"]),
            Cell(row["verdict"], tone=tones[row["verdict"]]),
            Cell(row["ours"]),
            Cell(row["log"]),
        ]
        for row in rows
    ]
    sections = list(dict.fromkeys(row["section"] for row in rows))
    text = (
        "What the thesis log says, section by section, whether it comes out here, and the numbers. "
        "Differences are paired by seed; their verdicts, in brackets, are those of each section's "
        "table, after Holm's correction. Where a claim is of two means alone, their order decides. "
        f"Open: the runs show neither, as all runs of fewer than {FEW_SEEDS} seeds."
    )
    return Table(
        name=settings["name"],
        title=settings["title"],
        frame=pd.DataFrame(rows, columns=["section", "claim", "verdict", "ours", "log", "scale"]),
        columns=(
            Column("Claim", "text", width=44),
            Column("Verdict", "text", width=18),
            Column("Ours", "text", width=66),
            Column("Log", "text", width=38),
        ),
        groups=[
            Group(s, [c for c, row in zip(cells, rows, strict=True) if row["section"] == s])
            for s in sections
        ],
        caption=f"{SMOKE} {text}" if settings["scale"] == "smoke" else text,
        provenance=traced(inputs["records"], results),
    )


def _pushed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of runs that are pushed."""
    return frame[[bool(parse(method).values["strength"]) for method in frame["method"]]]


def _difference(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return a row's difference to its reference and its interval, in points."""
    stem = next(
        name.removesuffix("_mean")
        for name in row
        if str(name).startswith("difference_to_") and str(name).endswith("_mean")
    )
    return tuple(100 * row[f"{stem}_{end}"] for end in ("mean", "ci95_low", "ci95_high"))


def _told(row: Mapping[str, Any]) -> str:
    mean, low, high = _difference(row)
    interval = "" if np.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    return _minus(f"{mean:+.2f}{interval} points ({row['verdict']})")


def _accuracy(row: Mapping[str, Any]) -> float:
    return 100 * row["last_epoch_test_accuracy_mean"]


def accuracy_stays(frames: Frames) -> Answer | None:
    """The accuracy stays while the network moves on: equivalent, or better."""
    if "baseline" not in frames:
        return None
    rows = _pushed(frames["baseline"]).to_dict("records")
    verdicts = [row["verdict"] for row in rows]
    good = ("equivalent", "better", "better within margin", "worse within margin")
    if all(verdict in good for verdict in verdicts):
        found = YES
    else:
        found = NO if "worse" in verdicts else OPEN
    return Answer(found, "; ".join(_told(row) for row in rows))


def moves_on(frames: Frames) -> Answer | None:
    """The kernel takes the network further away than plain SGD goes."""
    if "baseline" not in frames:
        return None
    frame = frames["baseline"]
    plain = frame[frame["method"] == frame["reference"]]["distance_mean"].iloc[0]
    rows = _pushed(frame)
    further = rows["distance_mean"] > plain
    ours = f"D {', '.join(f'{d:.1f}' for d in rows['distance_mean'])} against {plain:.1f}"
    return Answer(YES if further.all() else NO, ours)


def strength_moves(frames: Frames) -> Answer | None:
    """At a width, a larger strength ends further away."""
    if "law" not in frames:
        return None
    frame = frames["law"]
    frame = frame[frame["kernel"] == "rbf"].dropna(subset=["distance_mean"])
    steps, up = 0, 0
    for _, one in frame.groupby("width"):
        distances = one.sort_values("strength")["distance_mean"].to_numpy()
        steps += len(distances) - 1
        up += int((np.diff(distances) > 0).sum())
    if not steps:
        return None
    span = f"D from {frame['distance_mean'].min():.1f} to {frame['distance_mean'].max():.1f}"
    return Answer(YES if up == steps else NO, f"in {up} of {steps} steps of the grid; {span}")


def law_holds(frames: Frames) -> Answer | None:
    """The law's mean error is the smaller one of the two formulas, on settled points."""
    if "law" not in frames:
        return None
    frame = frames["law"]
    frame = frame[frame["settled"] & frame["relative_error"].notna()]
    if frame.empty:
        return Answer(OPEN, "no point of the grid has settled")
    law, simple = (
        100 * frame[name].abs().mean()
        for name in ("relative_error", "relative_error_of_simple_law")
    )
    ours = f"mean error {law:.1f} % against {simple:.1f} % on {len(frame)} settled points"
    return Answer(YES if law < simple else NO, ours)


def rates_are_stabilised(frames: Frames) -> Answer | None:
    """Over fixed learning rates, the spread of accuracy is smaller with the kernel, seed by seed.

    Open where the interval of the difference of the two ranges has 0 in it.
    """
    if "hyperparameters" not in frames:
        return None
    pairs = _by_rate(frames["hyperparameters"])
    if len(pairs) < 2:
        return None
    seeds = sorted(set.intersection(*(set(of) for pair in pairs.values() for of in pair)))
    if not seeds:
        return None
    plain, kernel = (
        np.array([np.ptp([pair[at][seed] for pair in pairs.values()]) for seed in seeds])
        for at in (0, 1)
    )
    found = summarise((kernel - plain).tolist())
    ours = (
        f"range over lr {', '.join(f'{lr:g}' for lr in pairs)}: plain {plain.mean():.2f}, kernel "
        f"{kernel.mean():.2f} points; difference {found.mean:+.2f}"
    )
    if found.low is None or found.high is None:
        return Answer(OPEN, _minus(f"{ours} points"))
    verdict = YES if found.high < 0 else NO if found.low > 0 else OPEN
    return Answer(verdict, _minus(f"{ours} [{found.low:+.2f}, {found.high:+.2f}] points"))


def _by_rate(frame: pd.DataFrame) -> dict[float, tuple[dict[int, float], dict[int, float]]]:
    """Return accuracy by seed, without and with the kernel, by fixed learning rate, in percent.

    A run that diverged counts as chance.
    """
    found: dict[float, dict[bool, dict[int, float]]] = {}
    usual = {"schedule": "fixed", "decay": 1e-3, "normalised": False}
    names = [(parse(row["method"]), row) for row in frame.to_dict("records")]
    names = [(n, r) for n, r in names if all(n.values[k] == v for k, v in usual.items())]
    names = [(n, r) for n, r in names if n.head == "repel"]
    epochs = min((name.epochs for name, _ in names), default=0)
    every = {seed for _, row in names for seed in _seeds(row)}
    for name, row in names:
        if name.epochs == epochs:
            values = dict.fromkeys(every, 100 * row["chance"]) if row["diverged_runs"] else {}
            values |= _seeds(row)
            found.setdefault(name.values["lr"], {})[bool(name.values["strength"])] = values
    both = {lr: one for lr, one in found.items() if len(one) == 2}
    return {lr: (one[False], one[True]) for lr, one in sorted(both.items())}


def _seeds(row: Mapping[str, Any]) -> dict[int, float]:
    """Return a row's accuracy by seed, in percent, of the runs that finished."""
    named = (
        str(row[name]).split() if row[name] == row[name] else [] for name in ("seeds", "by_seed")
    )
    seeds, values = named
    return {int(seed): 100 * float(value) for seed, value in zip(seeds, values, strict=False)}


def epochs_do_not_help(frames: Frames) -> Answer | None:
    """More epochs at the fixed rate with the kernel do not raise the accuracy by half a point."""
    if "hyperparameters" not in frames:
        return None
    usual = {"schedule": "fixed", "decay": 1e-3, "normalised": False, "lr": 0.01}
    rows = [(parse(r["method"]), r) for r in frames["hyperparameters"].to_dict("records")]
    told = sorted(
        (name.epochs, _accuracy(row))
        for name, row in rows
        if name.head == "repel"
        and name.values["strength"]
        and all(name.values[k] == v for k, v in usual.items())
    )
    if len(told) < 2:
        return None
    gain = told[-1][1] - told[0][1]
    ours = "; ".join(f"{epochs} epochs {value:.2f}" for epochs, value in told)
    return Answer(YES if gain < 0.5 else NO, _minus(f"{ours} ({gain:+.2f} points)"))


def several_help(frames: Frames) -> Answer | None:
    """Several checkpoints end better than one."""
    if "several" not in frames:
        return None
    return _against(frames["several"], lambda name: name.values["keep"] == "all", "several")


def _against(frame: pd.DataFrame, chosen: Callable[[Name], bool], what: str) -> Answer | None:
    rows = [
        row
        for row in _pushed(frame).to_dict("records")
        if chosen(parse(row["method"])) and row["method"] != row["reference"]
    ]
    if not rows:
        return None
    verdicts = {row["verdict"] for row in rows}
    if verdicts <= {"better", "better within margin"}:
        found = YES
    elif verdicts & {"worse", "equivalent", "worse within margin"}:
        found = NO
    else:
        found = OPEN
    return Answer(found, "; ".join(_told(row) for row in rows))


def old_distance_shrinks(frames: Frames) -> Answer | None:
    """With weight decay the distance to the first checkpoint shrinks, without it does not."""
    if "several_cycles" not in frames:
        return None
    frame = frames["several_cycles"].dropna(subset=["last_share_of_distance_1_mean"])
    shares: dict[bool, list[float]] = {True: [], False: []}
    for row in frame.to_dict("records"):
        values = parse(row["method"]).values
        if values["keep"] == "all" and values["strength"]:
            shares[bool(values["decay"])].append(row["last_share_of_distance_1_mean"])
    if not shares[True] or not shares[False]:
        return None
    decayed, free = (float(np.mean(shares[key])) for key in (True, False))
    ours = f"last D_1 over its largest: {decayed:.3f} with weight decay, {free:.3f} without"
    return Answer(YES if decayed < 0.98 <= free else NO, ours)


def restarts_beat_the_kernel(frames: Frames) -> Answer | None:
    """Cosine restarts end better than the kernel at a fixed rate."""
    if "restarts" not in frames:
        return None
    rows = {row["method"]: row for row in frames["restarts"].to_dict("records")}
    names = {method: parse(method) for method in rows}
    cosine = [m for m, n in names.items() if n.values["schedule"] == "cosine"]
    cosine = [m for m in cosine if not names[m].values["strength"]]
    kernel = [
        m
        for m, n in names.items()
        if n.values["schedule"] == "fixed" and n.values["strength"] and not n.values["boost"]
    ]
    if not cosine or not kernel:
        return None
    accuracies = _accuracy(rows[cosine[0]]), _accuracy(rows[kernel[0]])
    ours = f"cosine {accuracies[0]:.2f}, kernel {accuracies[1]:.2f}; to the plain run: cosine "
    ours += f"{_told(rows[cosine[0]])}, kernel {_told(rows[kernel[0]])}"
    return Answer(YES if accuracies[0] > accuracies[1] else NO, ours)


def ensembles_beat_members(frames: Frames) -> Answer | None:
    """Every ensemble of probabilities is better than the mean of its members."""
    if "ensembles" not in frames:
        return None
    frame = frames["ensembles"]
    frame = frame[frame["average"] == "probabilities"]
    above = frame["gain_over_mean_mean"] > 0
    gains = "; ".join(
        f"{row.label} {100 * row.gain_over_mean_mean:+.2f}" for row in frame.itertuples()
    )
    return Answer(
        YES if above.all() else NO, _minus(f"{int(above.sum())} of {len(frame)}: {gains}")
    )


def repelled_ensemble_is_no_match(frames: Frames) -> Answer | None:
    """An ensemble of independent networks is better than one of repelled snapshots."""
    if "ensembles" not in frames:
        return None
    frame = frames["ensembles"]
    frame = frame[frame["average"] == "probabilities"]
    pushed = _pushed(frame[[parse(m).head != "wgd" for m in frame["method"]]])
    independent = frame[frame["label"].str.startswith("independent")]
    if pushed.empty or independent.empty:
        return None
    ours = [
        f"{row.label} {100 * row.accuracy_mean:.2f}"
        for part in (independent, pushed)
        for row in part.itertuples()
    ]
    better = independent["accuracy_mean"].iloc[0] > pushed["accuracy_mean"].max()
    return Answer(YES if better else NO, "; ".join(ours))


def follows_the_valley(frames: Frames) -> Answer | None:
    """The repelled clones follow the valley: no jump, at any seed."""
    if "valley" not in frames:
        return None
    frame = frames["valley"]
    chosen = [bool(method) and _is_kernels(parse(method)) for method in frame["method"].fillna("")]
    rows = frame[chosen]
    if rows.empty:
        return None
    counts = rows["verdict"].value_counts()
    ours = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    stays = set(rows["verdict"]) <= {"same basin", "curved valley"}
    found = YES if stays else NO if "jump" in set(rows["verdict"]) else OPEN
    return Answer(found, f"{len(rows)} clones: {ours}")


def _is_kernels(name: Name) -> bool:
    values = name.values
    return bool(values["strength"]) and not (values["boost"] or values["displace"])


def controls_come_out(frames: Frames) -> Answer | None:
    """The controls come out as they are built."""
    if "valley" not in frames:
        return None
    frame, told, right = frames["valley"], [], []
    for label, rows in frame.groupby("label", sort=False):
        method = rows["method"].fillna("").iloc[0]
        if label == INDEPENDENT:
            lower = rows["barrier_matched"] < rows["barrier_line"]
            known = rows["barrier_matched"].notna()
            right.append(bool((rows["verdict"] == "barrier").all() and lower[known].all()))
            told.append(
                f"{label}: B {100 * rows['barrier_line'].mean():.2f}"
                + (f", matched {100 * rows['barrier_matched'].mean():.2f}" if known.any() else "")
            )
            continue
        values = parse(method).values
        if values["strength"] or (not values["displace"] and values["schedule"] != "fixed"):
            continue
        expected = "jump" if values["displace"] else "same basin"
        right.append(bool((rows["verdict"] == expected).all()))
        counts = ", ".join(f"{k} {n}" for k, n in rows["verdict"].value_counts().items())
        told.append(f"{label}: {counts} (expected {expected})")
    return Answer(YES if all(right) else NO, "; ".join(told)) if told else None


CLAIMS = (
    Claim("accuracy_stays", "Baseline", "The accuracy stays", accuracy_stays),
    Claim("moves_on", "Baseline", "The network moves further than by plain SGD", moves_on),
    Claim("strength", "Parameters", "A larger strength ends further away", strength_moves),
    Claim("law", "Parameters", "The law predicts D better than D_base + pole", law_holds),
    Claim(
        "learning_rate", "Hyperparameters", "It stabilises the learning rate", rates_are_stabilised
    ),
    Claim("epochs", "Hyperparameters", "More epochs do not help", epochs_do_not_help),
    Claim("several", "Several minima", "More minima help", several_help),
    Claim(
        "shrinks",
        "Several minima",
        "Weight decay makes the old distance shrink",
        old_distance_shrinks,
    ),
    Claim(
        "restarts",
        "Warm restarts",
        "Cosine restarts are better than the kernel",
        restarts_beat_the_kernel,
    ),
    Claim(
        "ensembles",
        "Ensembles",
        "An ensemble is better than its members",
        ensembles_beat_members,
    ),
    Claim(
        "independent",
        "Ensembles",
        "Independent networks are the better ensemble",
        repelled_ensemble_is_no_match,
    ),
    Claim("valley", "Valley or jump", "The network follows the valley", follows_the_valley),
    Claim("controls", "Valley or jump", "Controls come out as built", controls_come_out),
)


def _minus(text: str) -> str:
    """Return a text with minus signs before its numbers, and hyphens where they are."""
    return re.sub(r"(?<![\w])-(?=\d)", "−", text)
