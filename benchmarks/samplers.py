"""Which sampler finds how good a point in how many trials: three functions, and real trials.

Grid, Sobol, successive halving and Optuna's TPE choose points as a search does
(`perturb.search.points`), each 20 times: the grid and Sobol's points are shifted by their seed. A
trial's value follows a learning curve to the function's; halving sees its beginning, and its
trials are counted in whole runs. Regret is the distance to the known optimum. The figure is
results/bench_samplers.png; docs/tune.md follows from it.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from perturb.search.points import ask, points
from perturb.search.settings import Parameter, Stage

REPEATS, TRIALS, ROUND = 20, 32, 4
SECONDS = 120  # the whole, on two cores
QUICK = {"repeats": 2}
SAMPLERS = ("grid", "sobol", "halving", "tpe")
AT = (8, 16, 32)
RUNGS, KEEP = (1 / 9, 1 / 3), 1 / 3
ROOT = Path(__file__).resolve().parent.parent
# `results/tables/fer_ckplus48_trials.csv`, where that has been made.
REAL = ROOT / "results" / "tables" / "fer_ckplus48_trials.csv"


@dataclass(frozen=True)
class Problem:
    """A function to be maximised over parameters, its optimum, and how fast its curves rise."""

    name: str
    parameters: tuple[Parameter, ...]
    value: Callable[[Mapping[str, float]], float]
    optimum: float

    def at(self, point: Mapping[str, float], share: float = 1.0) -> float:
        """Return the value of a point after a share of its epochs; some points rise later."""
        slow = 2 + 4 * zlib.crc32(repr(list(point.values())).encode()) / 2**32
        final = self.value(point)
        return final - 0.5 * (math.exp(-slow * share) - math.exp(-slow))


def _range(name: str, low: float, high: float, scale: str = "log") -> Parameter:
    return Parameter(name, "nuisance", low=low, high=high, scale=scale, points=8)


def valley(point: Mapping[str, float]) -> float:
    """A learning rate that matters and a weight decay that hardly does, tied to each other."""
    lr, decay = math.log10(point["lr"]) + 3, math.log10(point["decay"]) + 4
    return 0.9 - 0.15 * (lr + 0.3 * decay) ** 2 - 0.01 * decay**2


def branin(point: Mapping[str, float]) -> float:
    """Branin's function, whose minimum 0.397887 stands at three places; scaled to accuracies."""
    x, y = point["x"], point["y"]
    a = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    found = a**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
    return 1 - found / 100


_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
               [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])  # fmt: skip
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(point: Mapping[str, float]) -> float:
    """Hartmann's function of six parameters, of maximum 3.32237, divided by that."""
    x = np.array(list(point.values()))
    inner = (_A * (x - _P) ** 2).sum(1)
    return float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-inner)) / 3.32237


PROBLEMS = (
    Problem("lr and decay", (_range("lr", 1e-5, 1e-1), _range("decay", 1e-6, 1e-2)), valley, 0.9),
    Problem(
        "Branin",
        (_range("x", -5, 10, "linear"), _range("y", 0, 15, "linear")),
        branin,
        1 - 0.397887 / 100,
    ),
    Problem(
        "Hartmann 6",
        tuple(_range(f"x{at}", 0, 1, "linear") for at in range(6)),
        hartmann,
        1.0,
    ),
)


def stage_of(problem: Problem, sampler: str, seed: int, trials: int) -> Stage:
    """Return the stage by which a search would ask for points."""
    return Stage("bench", "", problem.parameters, sampler=sampler, trials=trials, sampler_seed=seed)


def trace(problem: Problem, sampler: str, seed: int) -> np.ndarray:
    """Return the best value after 1, 2, ... TRIALS whole runs' worth of epochs [TRIALS]."""
    if sampler == "tpe":
        told: list = []
        while len(told) < TRIALS:
            stage = stage_of(problem, "tpe", 1000 * seed, TRIALS)
            told += [(p, problem.at(p)) for p in ask(stage, told, min(ROUND, TRIALS - len(told)))]
        return np.maximum.accumulate([value for _, value in told])
    if sampler == "halving":
        return _halving(problem, seed)
    if sampler == "grid":
        found = _grid(problem, seed)
    else:
        found = points(stage_of(problem, sampler, seed, TRIALS), {})
    return np.maximum.accumulate([problem.at(point) for point in found[:TRIALS]])


def _grid(problem: Problem, seed: int) -> list[dict[str, float]]:
    """Return a grid of about TRIALS points, its places shifted and its order drawn by the seed."""
    random = np.random.default_rng(seed)
    each = max(2, math.ceil(TRIALS ** (1 / len(problem.parameters))))
    shares = [(np.arange(each) + random.random()) / each for _ in problem.parameters]
    every = np.stack(np.meshgrid(*shares), -1).reshape(-1, len(shares))
    chosen = every[random.permutation(len(every))]
    return [
        {one.name: one.at(float(s)) for one, s in zip(problem.parameters, row, strict=True)}
        for row in chosen
    ]


def _halving(problem: Problem, seed: int) -> np.ndarray:
    """Return the best whole run over whole runs' worth of epochs, of brackets one after another."""
    best = np.full(TRIALS, -np.inf)
    spent, bracket = 0.0, 0
    wide = points(stage_of(problem, "sobol", seed, 16 * TRIALS), {})
    while spent < TRIALS:
        group = wide[9 * bracket : 9 * (bracket + 1)]
        done = 0.0
        for share in RUNGS:
            spent += len(group) * (share - done)
            done = share
            group = sorted(group, key=lambda point: -problem.at(point, share))
            group = group[: math.ceil(len(group) * KEEP)]
        for point in group:
            spent += 1 - done
            if math.ceil(spent) <= TRIALS:
                at = math.ceil(spent) - 1
                best[at:] = np.maximum(best[at:], problem.at(point))
        bracket += 1
    return best


def real_problem(path: Path = REAL) -> Problem | None:
    """Return a table of real trials: a point's value is that of the trial nearest to it."""
    if not path.exists():
        return None
    frame = pd.read_csv(path)
    frame = frame[(frame["stage"] == "joint") & (frame["status"] == "ok")]
    depths = sorted(frame["depth"].unique())
    parameters = (
        Parameter("lr", "nuisance", low=float(frame["lr"].min()), high=float(frame["lr"].max())),
        Parameter("depth", "scientific", values=tuple(float(d) for d in depths)),
        Parameter("block", "scientific", values=tuple(sorted(frame["block"].unique()))),
    )

    def value(point: Mapping[str, float]) -> float:
        own = frame[(frame["depth"] == point["depth"]) & (frame["block"] == point["block"])]
        off = np.abs(np.log(own["lr"] / point["lr"]))
        return float(own.loc[off.idxmin(), "validation_accuracy"])

    return Problem(
        "CK+48, real trials", parameters, value, float(frame["validation_accuracy"].max())
    )


def regrets(problem: Problem, repeats: int = REPEATS) -> dict[str, np.ndarray]:
    """Return the distance to the optimum [repeats, TRIALS] of each sampler."""
    found = {}
    for sampler in SAMPLERS:
        rows = [trace(problem, sampler, seed) for seed in range(repeats)]
        rows = [np.pad(row, (0, TRIALS - len(row)), mode="edge") for row in rows]
        gaps = problem.optimum - np.stack(rows)
        gaps[np.isinf(gaps)] = np.nan  # no whole run yet
        found[sampler] = np.clip(gaps, 0, None)  # of rounding
    return found


def run(problems: tuple[Problem, ...] = PROBLEMS, repeats: int = REPEATS) -> list[dict]:
    """Return regrets after 8, 16 and 32 trials, set against Sobol's; draw the figure."""
    real = real_problem()
    every = {p.name: regrets(p, repeats) for p in (*problems, *([real] if real else []))}
    draw(every, ROOT / "results" / "bench_samplers.png", repeats)
    rows = []
    for name, found in every.items():
        for sampler in SAMPLERS:
            for at in AT:
                own, against = (found[key][:, at - 1] for key in (sampler, "sobol"))
                low, high = np.quantile(own, [0.25, 0.75])
                reached = np.median(against)  # 0: Sobol is there, and no ratio to it
                rows.append(
                    {
                        "benchmark": "samplers",
                        "what": f"{name}: {sampler}, regret after {at} trials",
                        "value": float(np.median(own)),
                        "ratio": float(np.median(own) / reached) if reached else None,
                        "spread": float(high - low),
                        "repeats": repeats,
                        "against": "sobol" if sampler != "sobol" else "",
                    }
                )
    return rows


def draw(every: Mapping[str, Mapping[str, np.ndarray]], path: Path, repeats: int) -> None:
    """Draw the median regret over trials with its quartiles, a panel a problem."""
    from perturb.figures.sheet import make_sheet
    from perturb.figures.style import line_style, save, style

    looks = {sampler: line_style(at) for at, sampler in enumerate(SAMPLERS)}
    with style():
        sheet = make_sheet(
            -(-len(every) // 2), 2, panel_height=2.3, legend=list(looks.items()),
            note=f"Median and quartiles of {repeats} repeats. "
            "Halving's trials are counted in whole runs.",
        )  # fmt: skip
        trials = np.arange(1, TRIALS + 1)
        for axes in sheet.axes.flat[len(every) :]:
            axes.set_visible(False)
        for axes, (name, found) in zip(sheet.axes.flat, every.items(), strict=False):
            for sampler, rows in found.items():
                low, middle, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
                axes.plot(trials, middle, **looks[sampler].line())
                axes.fill_between(trials, low, high, alpha=0.15,
                                  color=looks[sampler].colour, linewidth=0)  # fmt: skip
            if any((np.median(rows, axis=0) == 0).any() for rows in found.values()):
                axes.set_ylim(bottom=0)  # found: a table of trials is searched to its end
            else:
                axes.set_yscale("log")
            axes.set_title(name)
            axes.set_xlabel("trials")
            axes.set_ylabel("regret")
    save(sheet.figure, path)
