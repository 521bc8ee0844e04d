"""The tables of a chapter: one or two for each section of the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perturb.analysis import display, provenance, tables
from perturb.analysis.plan import Plan
from perturb.analysis.statistics import Summary, summarise
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.ensembles.barrier import barrier
from perturb.studies.minima import cells, law
from perturb.studies.minima.chapters import INDEPENDENT, describe
from perturb.studies.minima.names import parse
from perturb.studies.minima.reading import Left, collect, left_by, measured, of_method
from perturb.studies.minima.reading import provenance as traced
from perturb.studies.minima.verdict import KINDS, Evidence

Settings = Mapping[str, Any]
Inputs = Mapping[str, Sequence[Path]]
SETTLED = 0.05  # a run has settled where D changed by less than this share in its last quarter


def compared(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return the comparison of a section's runs, with the distance that each reached."""
    plan = Plan.of(settings["plan"])
    runs = collect(inputs["records"])
    table = display.table_of(tables.build(plan, runs), provenance.of_table(plan, runs, results))
    left = left_by(inputs["records"])
    reached = {row.method: summarise(cells.last(of_method(left, row.method))) for row in plan.rows}
    order = iter(table.frame["method"])
    groups = [
        Group(group.heading, [[*row, cells.spread(reached[next(order)], 1)] for row in group.rows])
        for group in table.groups
    ]
    frame = table.frame.assign(
        distance_mean=[reached[m].mean for m in table.frame["method"]],
        distance_sd=[reached[m].sd for m in table.frame["method"]],
        chance=settings["chance"],
    )
    text = (
        " D: squared distance to the checkpoint that was stored last, after the last epoch: mean "
        "and standard deviation over seeds."
    )
    return replace(
        table,
        title=f"{plan.sections[0]}: {settings['title']}",
        frame=frame,
        columns=[*table.columns, Column("D")],
        groups=groups,
        caption=cells.marked(settings, table.caption + text),
    )


def law_table(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return predicted and measured distances of a grid of strengths and widths."""
    plan, left = Plan.of(settings["plan"]), left_by(inputs["records"])
    base = summarise(cells.last(of_method(left, plan.reference)))
    rows = [
        law_row(row.method, of_method(left, row.method), base.mean)
        for row in plan.rows
        if parse(row.method).values["strength"]
    ]
    frame = pd.DataFrame(rows).assign(scale=settings["scale"])
    settled = frame[frame["settled"] & frame["relative_error"].notna()]
    error = settled["relative_error"].abs()
    rough = settled["relative_error_of_simple_law"].abs()
    text = (
        "Squared distance D to the checkpoint, after the last epoch, beside the law's prediction "
        "from the plain run's own drift over the same epochs, D_base"
        f"{'' if base.mean is None else f' = {base.mean:.4g}'}. Nothing is gated on it. Mean "
        f"error of the law over {len(settled)} settled points (D within {100 * SETTLED:.0f} % of "
        f"its last over the last quarter): {cells.percent(error.mean())}; of D_base + pole: "
        f"{cells.percent(rough.mean())} (thesis's 27 points: 7.6 % and 16.8 %). Epochs to 90 %: "
        "from the checkpoint on. E-fold: epochs in which a small distance grows by e; never: "
        "weight decay is as strong as the push everywhere."
    )
    columns = (
        Column("Method", "code", width=44),
        Column("k", "text"),
        Column("s"),
        Column("w"),
        Column("D"),
        Column("Law"),
        Column("Off by", unit="%"),
        Column("D_base + pole"),
        Column("Epochs to 90 %"),
        Column("E-fold, epochs"),
        Column("Settled", "text"),
    )
    return Table(
        name=settings["table"],
        title=f"The law of the distance: {settings['title']}",
        frame=frame,
        columns=columns,
        groups=[Group("", [_law_cells(row) for row in rows])],
        caption=cells.marked(settings, text),
        provenance=traced(inputs["records"], results),
    )


def law_row(method: str, runs: Sequence[Left], base: float | None) -> dict[str, Any]:
    """Return a row of the law's table; numbers that are not known are None."""
    values = parse(method).values
    given = (values["strength"], values["width"], values["decay"], values["kernel"])
    found = summarise(cells.last(runs))
    predicted = law.distance(base, *given) if base else None
    simple = law.simple_distance(base, *given) if base else None
    steps = law.escape_steps(*given[:3], values["lr"], values["momentum"])
    return {
        "method": method,
        "kernel": values["kernel"],
        "strength": values["strength"],
        "width": values["width"],
        "seeds": found.n,
        "distance_mean": found.mean,
        "distance_sd": found.sd,
        "distance_ci95_low": found.low,
        "distance_ci95_high": found.high,
        "distance_of_plain_run": base,
        "predicted_distance": predicted,
        "relative_error": cells.off(predicted, found.mean),
        "simple_prediction": simple,
        "relative_error_of_simple_law": cells.off(simple, found.mean),
        "epochs_to_90_percent": cells.mean([epochs_to(run, 0.9) for run in runs]),
        "escape_steps": steps,
        "escape_epochs": steps / runs[0].steps if steps and runs else None,
        "settled": bool(runs) and all(map(settled, runs)),
    }


def _law_cells(row: Mapping[str, Any]) -> list[Cell]:
    error = row["relative_error"]
    return [
        Cell(row["method"]),
        Cell(row["kernel"]),
        Cell(f"{row['strength']:g}"),
        Cell(f"{row['width']:g}"),
        cells.spread(Summary(row["seeds"], row["distance_mean"], row["distance_sd"]), 1),
        Cell(cells.number(row["predicted_distance"], 1)),
        Cell("" if error is None else cells.minus(f"{100 * error:+.1f}")),
        Cell(cells.number(row["simple_prediction"], 1)),
        Cell(cells.number(row["epochs_to_90_percent"], 1)),
        Cell(
            "never"
            if row["escape_steps"] is None
            else ""
            if row["escape_epochs"] is None
            else f"{row['escape_epochs']:.2g}"
        ),
        Cell("yes" if row["settled"] else "no"),
    ]


def epochs_to(run: Left, share: float) -> float | None:
    """Return the epochs from the first checkpoint until D has reached a share of its last value."""
    start, distance = run.pushed_from, run.newest.to_numpy()
    if start is None:
        return None
    reached = np.flatnonzero(distance[start:] >= share * distance[-1])
    return float(reached[0] + 1)


def settled(run: Left) -> bool:
    """Return whether D has come to rest: see `SETTLED`."""
    start, distance = run.pushed_from, run.newest.to_numpy()
    if start is None or len(distance) - start < 4:
        return False
    quarter = distance[-max(1, (len(distance) - start) // 4) - 1 :]
    return bool(np.ptp(quarter) <= SETTLED * distance[-1])


def cycles(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return each method's best accuracy by cycle, its slope, and what became of old distances."""
    plan, left = Plan.of(settings["plan"]), left_by(inputs["records"])
    rows = [
        row
        for method in (row.method for row in plan.rows)
        if (row := cycles_row(method, of_method(left, method)))
    ]
    frame = pd.DataFrame(rows).assign(scale=settings["scale"])
    most = max((len(row["best_by_cycle"].split()) for row in rows), default=0)
    text = (
        f"Test accuracy in each of the {most} cycles, at its epoch of the best validation accuracy "
        "(mean over seeds), and its slope over cycles in points per cycle with the 95 % t interval "
        "over seeds. D to the first checkpoint: its largest value, and the "
        "last as a share of it: below 1 the old distance shrinks."
    )
    columns = (
        Column("Method", "code", width=44),
        Column("What", "text", width=30),
        Column("Best by cycle", "text", unit="%", width=40),
        Column("Slope", unit="points per cycle"),
        Column("Largest D_1"),
        Column("Last / largest"),
    )
    return Table(
        name=settings["table"],
        title=f"{plan.sections[0]}, by cycle: {settings['title']}",
        frame=frame,
        columns=columns,
        groups=[Group("", [_cycles_cells(row) for row in rows])],
        caption=cells.marked(settings, text),
        provenance=traced(inputs["records"], results),
    )


def cycles_row(method: str, runs: Sequence[Left]) -> dict[str, Any] | None:
    """Return a row of the cycles' table; None where a method has none or no finished run."""
    every = parse(method).values["every"]
    if not every or not runs:
        return None
    best = np.array([_best_by_cycle(run, every) for run in runs])  # [seeds, cycles]
    many = best.shape[1] > 1
    slopes = [float(np.polyfit(np.arange(len(one)), one, 1)[0]) for one in best] if many else []
    slope = summarise(slopes)
    firsts = [run.distances.iloc[:, 0].to_numpy() for run in runs if run.distances.shape[1]]
    largest = [float(np.nanmax(one)) for one in firsts]
    shares = [float(one[-1] / np.nanmax(one)) for one in firsts]
    return {
        "method": method,
        "label": describe(parse(method)),
        "seeds": len(runs),
        "best_by_cycle": " ".join(f"{value:.6g}" for value in best.mean(0)),
        "slope_mean": slope.mean,
        "slope_ci95_low": slope.low,
        "slope_ci95_high": slope.high,
        "largest_distance_1_mean": cells.mean(largest),
        "last_share_of_distance_1_mean": cells.mean(shares),
    }


def _best_by_cycle(run: Left, every: int) -> list[float]:
    """Return the test accuracy of each whole cycle's epoch of the best validation accuracy."""
    starts = range(0, len(run.epochs) - every + 1, every)
    cycles = [run.epochs.iloc[start : start + every] for start in starts]
    best = [one["validation_accuracy"].idxmax() for one in cycles]
    return [float(run.epochs["test_accuracy"][at]) for at in best]


def _cycles_cells(row: Mapping[str, Any]) -> list[Cell]:
    best = " ".join(f"{100 * float(value):.2f}" for value in row["best_by_cycle"].split())
    low, high = row["slope_ci95_low"], row["slope_ci95_high"]
    interval = "" if low is None else cells.minus(f"[{100 * low:+.2f}, {100 * high:+.2f}]")
    slope = row["slope_mean"]
    return [
        Cell(row["method"]),
        Cell(row["label"]),
        Cell(best),
        Cell("" if slope is None else cells.minus(f"{100 * slope:+.3f}"), interval),
        Cell(cells.number(row["largest_distance_1_mean"], 1)),
        Cell(cells.number(row["last_share_of_distance_1_mean"], 3)),
    ]


def ensembles(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return every ensemble, by what is averaged, beside its members."""
    found = measured(inputs["measured"])
    rows = [
        ensemble_row(label, average, one)
        for (label, average), one in found.groupby(["label", "average"], sort=False)
    ]
    frame = pd.DataFrame(rows).assign(scale=settings["scale"])
    text = (
        "Each ensemble of networks, each network once, at the epochs of one network that its "
        "members took together (Epochs). Accuracy of the mean of probabilities, of the mean of "
        "logits, or of one network at the mean of the weights: mean over seeds with the 95 % t "
        "interval. Gain: over the mean of its members, and over the last of them. NLL in nats, "
        "expected calibration error over 15 bins, Brier score. Relative disagreement: share of "
        "images on which two members differ, over 1 - their accuracy. All agree: images on which "
        f"all members choose the same, of {int(found['images'].iloc[0]):,}. Cosine: of the "
        "members' weights."
    )
    columns = (
        Column("Ensemble", "text", width=34),
        Column("Method", "code", paper=False),
        Column("Mean of", "text"),
        Column("n", "count"),
        Column("Epochs"),
        Column("Accuracy", unit="%"),
        Column("Gain, mean", unit="points"),
        Column("Gain, last", unit="points"),
        Column("NLL"),
        Column("ECE"),
        Column("Brier"),
        Column("Rel. disagreement"),
        Column("All agree"),
        Column("Cosine"),
    )
    return Table(
        name=settings["table"],
        title=f"Ensembles: {settings['title']}",
        frame=frame,
        columns=columns,
        groups=[Group("", [_ensemble_cells(row) for row in rows])],
        caption=cells.marked(settings, text),
        provenance=traced(inputs["records"], results),
    )


def ensemble_row(label: str, average: str, found: pd.DataFrame) -> dict[str, Any]:
    """Return a row of the ensembles' table, from its rows by seed."""
    row: dict[str, Any] = {
        "label": label,
        "method": found["method"].iloc[0],
        "average": average,
        "members": int(found["members"].iloc[0]),
        "epochs": int(found["gradient_evaluations_epochs"].iloc[0]),
        "seeds": len(found),
    }
    gains = {
        "gain_over_mean": found["accuracy"] - found["member_accuracy_mean"],
        "gain_over_last": found["accuracy"] - found["member_accuracy_last"],
        "gain_over_best": found["accuracy"] - found["member_accuracy_best"],
    }
    scored = ("accuracy", "nll", "ece", "brier", "relative", "all_agree", "weight_cosine")
    for name, values in {**{key: found[key] for key in scored}, **gains}.items():
        told = summarise(values.dropna().tolist())
        row |= {f"{name}_mean": told.mean, f"{name}_sd": told.sd}
        row |= {f"{name}_ci95_low": told.low, f"{name}_ci95_high": told.high}
    return row | {"images": int(found["images"].iloc[0])}


def _ensemble_cells(row: Mapping[str, Any]) -> list[Cell]:
    def share(name: str, sign: str = "") -> Cell:
        low, high = row[f"{name}_ci95_low"], row[f"{name}_ci95_high"]
        width = "" if low is None else f"± {50 * (high - low):.2f}"
        mean = row[f"{name}_mean"]
        return Cell("" if mean is None else cells.minus(f"{100 * mean:{sign}.2f}"), width)

    return [
        Cell(row["label"]),
        Cell(row["method"]),
        Cell(row["average"]),
        Cell(str(row["members"])),
        Cell(f"{row['epochs']:,}"),
        share("accuracy"),
        share("gain_over_mean", "+"),
        share("gain_over_last", "+"),
        *(Cell(cells.number(row[f"{name}_mean"], 4)) for name in ("nll", "ece", "brier")),
        Cell(cells.number(row["relative_mean"], 2)),
        Cell(cells.number(row["all_agree_mean"], 0)),
        Cell(cells.number(row["weight_cosine_mean"], 3)),
    ]


def valley(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return the verdict of each clone, its numbers and the threshold beside it."""
    found, left = measured(inputs["measured"]), left_by(inputs["records"])
    threshold = settings["threshold"]
    rows = [
        row
        for label in dict.fromkeys(found["label"])
        for row in valley_rows(
            label,
            dict(settings["clones"]).get(label, ""),
            found[found["label"] == label],
            left,
            threshold,
        )
    ]
    frame = pd.DataFrame(rows).assign(scale=settings["scale"])
    told = [
        _valley_cells(label, one) for label, one in frame.groupby("label", sort=False, dropna=False)
    ]
    kinds = "; ".join(f"{kind}: {meaning}" for kind, meaning in KINDS.items())
    text = (
        f"Clones of {settings['parent']} and controls. D: squared distance between theta_c and "
        "theta_T. B: largest error on the straight line less the mean of its ends, on a Bezier "
        "curve, and for the independent network after its units were matched. P: largest error on "
        "the path less that of the worse end. Forces: largest norm of the kernel's gradient over "
        "the cross-entropy's on one batch. All in percentage points of error on fixed test "
        f"images, means over seeds; threshold {100 * threshold:g} points. By seed: {kinds}."
    )
    columns = (
        Column("From theta_c", "text", width=38),
        Column("Method", "code", paper=False),
        Column("D"),
        Column("B, line", unit="points"),
        Column("B, curve", unit="points"),
        Column("B, matched", unit="points"),
        Column("P", unit="points"),
        Column("Error at ends", "text", unit="%"),
        Column("Forces"),
        Column("Threshold", unit="points"),
        Column("Verdict", "text", width=30),
    )
    return Table(
        name=settings["table"],
        title=f"Valley or jump: {settings['title']}",
        frame=frame,
        columns=columns,
        groups=[Group("", told)],
        caption=cells.marked(settings, text),
        provenance=traced(inputs["records"], results),
    )


def valley_rows(
    label: str, method: str, found: pd.DataFrame, runs: Sequence[Left], threshold: float
) -> list[dict[str, Any]]:
    """Return a row per seed of a clone, or of the independent network, which has no path."""
    rows = []
    for seed, of_seed in found.groupby("seed"):
        errors = {
            path: one.sort_values("share")["error"].tolist()
            for path, one in of_seed.groupby("path")
        }
        run = next((r for r in runs if r.method == method and r.seed == seed), None)
        trace = run.series() if run else {}
        highest = float(np.nanmax(trace["trace_error"])) if "trace_error" in trace else None
        evidence = Evidence(
            start_error=errors["line"][0],
            end_error=errors["line"][-1],
            line=barrier(errors["line"]),
            curve=barrier(errors["curve"]),
            highest_error=highest,
        )
        ratio = trace.get("trace_force_ratio")
        rows.append(
            {
                "label": label,
                "method": method,
                "seed": int(str(seed)),
                "status": run.status if run else "ok",
                "distance": float(of_seed["distance"].iloc[0]),
                "barrier_line": evidence.line,
                "barrier_curve": evidence.curve,
                "barrier_matched": barrier(errors["matched"]) if "matched" in errors else None,
                "path_height": evidence.height,
                "start_error": evidence.start_error,
                "end_error": evidence.end_error,
                "largest_force_ratio": None if ratio is None else _largest(ratio),
                "threshold": threshold,
                "verdict": evidence.verdict(threshold),
            }
        )
    return rows


def _largest(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else None


def _valley_cells(label: str, rows: pd.DataFrame) -> list[Cell]:
    def points(name: str) -> Cell:
        known = rows[name].dropna().astype(float)
        return Cell(cells.minus(f"{100 * known.mean():.2f}") if len(known) else "")

    counts = rows["verdict"].value_counts(sort=False)
    verdict = ", ".join(
        f"{kind} ({count} of {len(rows)})" if count < len(rows) else str(kind)
        for kind, count in counts.items()
    )
    ends = f"{100 * rows['start_error'].mean():.2f} to {100 * rows['end_error'].mean():.2f}"
    ratio = rows["largest_force_ratio"].dropna().astype(float)
    alerts = tuple(
        f"diverged at seed {row.seed}" for row in rows.itertuples() if row.status != "ok"
    )
    return [
        Cell(label),
        Cell(rows["method"].iloc[0] or (INDEPENDENT if label != INDEPENDENT else "")),
        Cell(cells.number(rows["distance"].mean(), 1)),
        points("barrier_line"),
        points("barrier_curve"),
        points("barrier_matched"),
        points("path_height"),
        Cell(ends),
        Cell(f"{ratio.mean():.2g}" if len(ratio) else ""),
        Cell(f"{100 * rows['threshold'].iloc[0]:g}"),
        Cell(verdict, alerts=alerts),
    ]
