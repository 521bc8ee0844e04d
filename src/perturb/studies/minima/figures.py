"""The figures of a chapter: files that its runs left in, panels out (`panels.Sheet`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from perturb.analysis.plan import Plan
from perturb.analysis.statistics import summarise
from perturb.studies.minima import panels
from perturb.studies.minima.chapters import INDEPENDENT
from perturb.studies.minima.names import parse
from perturb.studies.minima.panels import GUIDE, Line, Panel, Sheet
from perturb.studies.minima.reading import Left, left_by, measured, of_method
from perturb.studies.minima.tables import law_row

Settings = Mapping[str, Any]
Inputs = Mapping[str, Sequence[Path]]
SMOKE = "Smoke run: shortened, its numbers are no result of the study"
ERROR, D = "Error, %", "D (squared)"


def make(settings: Settings, inputs: Inputs, results: Path) -> Figure:
    """Return a figure of a chapter (`Part.make`)."""
    return panels.draw(sheet(settings, inputs))


def texts(settings: Settings, inputs: Inputs) -> dict[str, str]:
    """Return the same figure as `csv`, and as `tex` that compiles as it is."""
    shown = sheet(settings, inputs)
    return {"csv": panels.csv_text(shown), "tex": panels.pgfplots(shown)}


def sheet(settings: Settings, inputs: Inputs) -> Sheet:
    """Return the panels of the figure `settings["figure"]`."""
    found = FIGURES[settings["figure"]](settings, inputs)
    mark = SMOKE if settings["scale"] == "smoke" else ""
    return Sheet(found.panels, found.columns, found.height, found.note, mark)


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the running mean over the last `window` values, fewer at the start; NaN is left out.

    It looks back only, so that no curve bends before its cause.
    """
    series = pd.Series(values).rolling(window, min_periods=1).mean()
    return series.where(pd.Series(values).notna()).to_numpy()


def _over_epochs(
    label: str,
    runs: Sequence[Left],
    values: Callable[[Left], Any],
    look: int,
    window: int,
    factor: float = 1.0,
) -> list[Line]:
    """Return a curve over epochs: mean over seeds, band of one deviation, the raw one faint."""
    if not runs:
        return []
    stacked = np.array([np.asarray(values(run), dtype=float) for run in runs]) * factor
    mean = stacked.mean(0)
    known = np.isfinite(mean)
    if not known.any():
        return []
    spread = stacked.std(0, ddof=1) if len(stacked) > 1 else np.zeros_like(mean)
    x, raw = np.arange(1, len(mean) + 1)[known], mean[known]
    faint = raw if window > 1 else ()
    return [
        Line(label, x, smoothed(raw, window), smoothed(spread[known], window), faint, look=look)
    ]


def _looks(plan: Plan) -> dict[str, tuple[str, int]]:
    """Return a label and a look for each method: the reference black, others in their order."""
    found, at = {}, 0
    for row in plan.rows:
        if row.method == plan.reference:
            found[row.method] = (row.label or row.method, -1)
        else:
            found[row.method] = (row.label or row.method, at)
            at += 1
    return found


def _accuracy(run: Left) -> Any:
    return run.epochs["test_accuracy"]


def _column(name: str) -> Callable[[Left], Any]:
    return lambda run: run.epochs[name]


def distance(settings: Settings, inputs: Inputs) -> Sheet:
    """Accuracy and D over epochs."""
    plan, left, window = _read(settings, inputs)
    curves: list[list[Line]] = [[], []]
    for method, (label, look) in _looks(plan).items():
        runs = of_method(left, method)
        curves[0] += _over_epochs(label, runs, _accuracy, look, window, 100)
        curves[1] += _over_epochs(label, runs, lambda run: run.newest, look, 1)
    return Sheet(
        [
            Panel("Accuracy", "Epoch", "Test accuracy, %", curves[0]),
            Panel("Distance", "Epoch", D, curves[1]),
        ]
    )


GRADIENTS = {
    "cross_entropy_gradient_squared": "Cross-entropy",
    "kernel_gradient_squared": "Kernel",
    "gradient_squared": "Sum",
    "gradient_cosine": "Cosine to the last epoch",
}


def gradients(settings: Settings, inputs: Inputs) -> Sheet:
    """Squared norms of the gradients, and the cosine of successive epochs."""
    plan, left, window = _read(settings, inputs)
    found = []
    for column, title in GRADIENTS.items():
        lines: list[Line] = []
        for method, (label, look) in _looks(plan).items():
            runs = of_method(left, method)
            lines += _over_epochs(label, runs, _column(column), look, window)
        cosine = column == "gradient_cosine"
        y = "Cosine" if cosine else "Squared norm"
        found.append(Panel(title, "Epoch", y, lines, logarithmic_y=not cosine))
    return Sheet(found, height=1.9)


def predicted_distances(settings: Settings, inputs: Inputs) -> Sheet:
    """Measured D against predicted, and against the strength for each width."""
    plan, left, _ = _read(settings, inputs)
    base = _mean_last(of_method(left, plan.reference))
    rows = [law_row(row.method, of_method(left, row.method), base) for row in plan.rows]
    frame = pd.DataFrame(rows)
    frame = frame[(frame["strength"] > 0) & frame["distance_mean"].notna()]
    widths = sorted(frame["width"].unique())
    against: list[Line] = []
    grid: list[Line] = []
    for (width, kernel), one in frame.groupby(["width", "kernel"]):
        look = {"look": widths.index(width), "hollow": kernel == "tanh"}
        label, one = f"w {width:g}, {kernel}", one.sort_values("strength")
        grid.append(_marks(label, one, "strength", **look))
        grid += [] if kernel == "tanh" else [replace(grid[-1], label="", marks=False, spread=())]
        settled = one[one["settled"] & one["predicted_distance"].notna()]
        if len(settled):
            against.append(_marks(label, settled, "predicted_distance", **look))
    if against:
        ends = np.concatenate([[*line.x, *line.y] for line in against])
        span = [0.8 * float(ends.min()), 1.25 * float(ends.max())]
        against.append(Line("equality", span, span, look=GUIDE))
    return Sheet(
        [
            Panel("Measured and predicted", "D by the law", D, against, True, True),
            Panel("Strength and width", "Strength s", D, grid, True, True),
        ],
        height=2.6,
        note="" if against else "No run has settled: there is nothing to compare the law with.",
    )


def _marks(label: str, rows: pd.DataFrame, x: str, look: int, hollow: bool) -> Line:
    """Return measured distances as marks with bars of one deviation."""
    spread = rows["distance_sd"].astype(float).fillna(0.0).tolist()
    return Line(
        label,
        rows[x].astype(float).tolist(),
        rows["distance_mean"].tolist(),
        spread,
        marks=True,
        look=look,
        hollow=hollow,
    )


def _place(plan: Plan, name: Any) -> int:
    return next(at for at, row in enumerate(plan.rows) if parse(row.method) == name)


def learning_rates(settings: Settings, inputs: Inputs) -> Sheet:
    """Accuracy against the learning rate, by schedule, without the kernel and with it."""
    plan, left, _ = _read(settings, inputs)
    chance = settings["chance"]
    found = []
    names = [parse(row.method) for row in plan.rows]
    usual = {"decay": 1e-3, "normalised": False}
    names = [n for n in names if n.head == "repel"]
    names = [n for n in names if all(n.values[k] == v for k, v in usual.items())]
    epochs = min((name.epochs for name in names), default=0)
    for schedule in ("fixed", "step", "cosine"):
        lines = []
        for pushed, label, look in ((False, "plain", -1), (True, "with the kernel", 0)):
            chosen = [
                name
                for name in names
                if name.values["schedule"] == schedule
                and bool(name.values["strength"]) is pushed
                and name.epochs == epochs
            ]
            chosen.sort(key=lambda name: name.values["lr"])
            points = []
            for name in chosen:
                method = plan.rows[_place(plan, name)].method
                runs = [run for run in left if run.method == method]
                last = [
                    float(run.epochs["test_accuracy"].iloc[-1]) if run.status == "ok" else chance
                    for run in runs
                ]
                told = summarise(last)
                if told.mean is not None:
                    points.append((name.values["lr"], 100 * told.mean, 100 * (told.sd or 0)))
            if points:
                x, y, spread = zip(*points, strict=True)
                lines += [Line(label, x, y, spread, marks=True, look=look)]
                lines += [Line("", x, y, look=look)]
        if lines:
            found.append(
                Panel(f"Rate {schedule}", "Learning rate", "Test accuracy, %", lines, True)
            )
    return Sheet(found, columns=max(1, len(found)), height=2.2)


def checkpoints(settings: Settings, inputs: Inputs) -> Sheet:
    """D_c(t) of each stored checkpoint, a panel a method that keeps all."""
    plan, left, _ = _read(settings, inputs)
    found = []
    for row in plan.rows:
        runs = of_method(left, row.method)
        if not runs or not runs[0].distances.shape[1]:
            continue
        mean = np.mean([run.distances.to_numpy() for run in runs], axis=0)
        x = np.arange(1, len(mean) + 1)
        lines = []
        for at in range(mean.shape[1]):
            known = np.isfinite(mean[:, at])
            if known.any():
                lines.append(Line(f"checkpoint {at + 1}", x[known], mean[known, at], look=at))
        found.append(Panel(row.label or row.method, "Epoch", D, lines))
    return Sheet(found, columns=2, height=1.7)


def cycles(settings: Settings, inputs: Inputs) -> Sheet:
    """Test accuracy over epochs, and the learning rate's restarts in it."""
    plan, left, window = _read(settings, inputs)
    accuracy: list[Line] = []
    moved: list[Line] = []
    for method, (label, look) in _looks(plan).items():
        runs = of_method(left, method)
        accuracy += _over_epochs(label, runs, _accuracy, look, window, 100)
        moved += _over_epochs(label, runs, lambda run: run.newest, look, 1)
    return Sheet(
        [
            Panel("Accuracy", "Epoch", "Test accuracy, %", accuracy),
            Panel("Distance to the newest checkpoint", "Epoch", D, moved),
        ],
        height=2.6,
    )


def ensemble_scores(settings: Settings, inputs: Inputs) -> Sheet:
    """Accuracy and NLL of ensembles beside their members'."""
    found = measured(inputs["measured"])
    labels = list(dict.fromkeys(found["label"]))

    def line(name: str, label: str, chosen: pd.DataFrame, look: int, shift: float) -> Line:
        factor = 100 if "accuracy" in name else 1
        told = [(labels.index(k), summarise(v.tolist())) for k, v in chosen.groupby("label")[name]]
        told.sort(key=lambda one: one[0])
        return Line(
            label,
            [at + shift for at, _ in told],
            [factor * (one.mean or 0) for _, one in told],
            [factor * (one.sd or 0) for _, one in told],
            marks=True,
            look=look,
            hollow=look == 2,
        )

    shown = {"probabilities": "mean of probabilities", "logits": "mean of logits"}
    shown |= {"weights": "mean of weights"}
    kinds = [(k, label, found[found["average"] == k]) for k, label in shown.items()]
    kinds = [one for one in kinds if len(one[2])]
    one_each = found.drop_duplicates(["label", "seed"])
    accuracy = [
        line("member_accuracy_mean", "members, mean", one_each, -1, -0.2),
        line("member_accuracy_best", "members, best", one_each, 2, -0.1),
        *(line("accuracy", label, c, at, 0.1 * at) for at, (_, label, c) in enumerate(kinds)),
    ]
    nll = [line("nll", label, c, at, 0.1 * at) for at, (_, label, c) in enumerate(kinds)]
    return Sheet(
        [
            Panel("Accuracy", "", "Test accuracy, %", accuracy, ticks=labels),
            Panel("Negative log-likelihood", "", "NLL, nats", nll, ticks=labels),
        ],
        columns=1,
        height=2.5,
    )


def traces(settings: Settings, inputs: Inputs) -> Sheet:
    """Error and D along the path of each clone."""
    left = left_by(inputs["records"])
    found = measured(inputs["measured"])
    start = 100 * found.loc[found["share"] == 0, "error"].mean()
    error: list[Line] = []
    moved: list[Line] = []
    longest = 1.0
    for look, (label, method) in enumerate(settings["clones"]):
        runs = of_method(left, method)
        if not runs or not parse(method).values["trace"]:
            continue
        told = [run.series() for run in runs]
        values = {
            name: np.mean([one[name].reshape(-1) for one in told], axis=0)
            for name in ("trace_error", "trace_distance")
        }
        known = np.isfinite(values["trace_error"])
        x = (np.arange(len(known)) / runs[0].steps)[known]
        longest = max(longest, float(x.max()))
        error.append(Line(label, x, 100 * values["trace_error"][known], look=look))
        moved.append(Line(label, x, values["trace_distance"][known], look=look))
    level = start + 100 * settings["threshold"]
    error.append(Line("theta_c + threshold", [0, longest], [level, level], look=GUIDE))
    return Sheet(
        [
            Panel("Error on the path", "Epochs after theta_c", ERROR, error, logarithmic_y=True),
            Panel("Distance from theta_c", "Epochs after theta_c", D, moved),
        ],
        columns=1,
        height=2.3,
    )


def paths(settings: Settings, inputs: Inputs) -> Sheet:
    """Error along the line and the curve from theta_c to each clone's end."""
    found = measured(inputs["measured"])
    looks = {"line": (-1, "straight line"), "curve": (0, "Bezier curve")}
    looks["matched"] = (1, "line after matching")
    shown = []
    for label in [*dict(settings["clones"]), INDEPENDENT]:
        of_label = found[found["label"] == label]
        lines = []
        for path, (look, name) in looks.items():
            chosen = of_label[of_label["path"] == path].groupby("share")["error"]
            if len(chosen):
                mean, spread = chosen.mean(), chosen.std().fillna(0)
                lines.append(
                    Line(name, mean.index.tolist(), 100 * mean, (100 * spread).tolist(), look=look)
                )
        if lines:
            shown.append(Panel(label, "Share of the way", ERROR, lines))
    return Sheet(shown, columns=3, height=1.7)


def _read(settings: Settings, inputs: Inputs) -> tuple[Plan, list[Left], int]:
    return Plan.of(settings["plan"]), left_by(inputs["records"]), settings["smoothing"]


def _mean_last(runs: Sequence[Left]) -> float | None:
    return summarise([float(run.newest.iloc[-1]) for run in runs]).mean


FIGURES: dict[str, Callable[[Settings, Inputs], Sheet]] = {
    "distance": distance,
    "gradients": gradients,
    "predicted_distances": predicted_distances,
    "learning_rates": learning_rates,
    "checkpoints": checkpoints,
    "cycles": cycles,
    "ensemble_scores": ensemble_scores,
    "traces": traces,
    "paths": paths,
}
