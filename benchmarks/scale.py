"""What a short run costs as their number grows: one epoch on the digits, 60 to 600 runs.

Draws results/bench_scale.png.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.workflow import CORES, ROOT, run_workflow

NUMBERS = (60, 190, 600)
METHODS = 10
BOUND = 1.2
SECONDS = 420  # the whole, on two cores
QUICK = {"numbers": (20, 60)}


def study(runs: int) -> dict:
    """Return a config with this number of runs of one epoch: `METHODS` radii, the rest seeds."""
    rules = ["sgd_1", "pugd_1", *(f"pugdr_const_{n / 10:g}_1" for n in range(1, METHODS - 1))]
    digits = {
        "reference": "pugd_1",
        "sgd": "sgd_1",
        "landscape": {"methods": []},
        "methods": [{"method": rule} for rule in rules],
    }
    return {"seeds": list(range(runs // METHODS)), "rts": {"datasets": {"digits": digits}}}


def run(numbers: tuple[int, ...] = NUMBERS) -> list[dict]:
    """Return a row for each number of runs: wall seconds a run, against those of the fewest."""
    found = {}
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            seconds = run_workflow(Path(folder), ["results/tables/digits.csv"], study(number))
        found[number] = seconds["wall"] / seconds["runs"]
    draw(found, ROOT / "results" / "bench_scale.png")
    fewest = numbers[0]
    return [
        {
            "benchmark": "scale",
            "what": f"{number} runs of one epoch on digits, {CORES} cores: wall time a run",
            "value": value,
            "unit": "s",
            "ratio": value / found[fewest],
            "against": f"{fewest} runs",
            "expected": "" if number == fewest else f"<= {BOUND}",
        }
        for number, value in found.items()
    ]


def draw(found: dict[int, float], path: Path) -> None:
    """Draw wall seconds a run over the number of runs."""
    figure = Figure(figsize=(3.4, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(list(found), list(found.values()), marker="o", color="#0072B2")
    axes.set(
        xlabel="Runs in the study",
        ylabel="Wall time a run (s)",
        ylim=(0, 1.1 * max(found.values())),
    )
    axes.set_xscale("log")
    axes.set_xticks(list(found), labels=[str(number) for number in found])
    axes.minorticks_off()
    axes.set_title(f"One epoch on digits, {CORES} cores", fontsize=9, loc="left")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    for row in run():
        print(row)
