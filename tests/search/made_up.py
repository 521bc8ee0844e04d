"""A search whose trials are made up: a record is what a function says of the trial's values."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perturb.errors import PerturbError
from perturb.files import write_json, write_npz
from perturb.runs import Run
from perturb.search.reading import read
from perturb.search.settings import Search, Stage
from perturb.search.steps import Step, advance


@dataclass
class MadeUp:
    """Runs the steps of a search; `score` gives accuracy of values and epochs, or raises.

    NaN is a run that diverged. `made` are the files that were asked for, in order.
    """

    results: Path
    stages: tuple[Stage, ...]
    score: object
    right: object = None
    made: list = field(default_factory=list)
    values: dict = field(default_factory=dict)

    @property
    def search(self) -> Search:
        return Search("fer", "fer_x", "X", "x", "m", self.stages)

    def naming(self, method, seed):
        if "refused" in method:
            raise PerturbError(f"{method} cannot be trained")
        return Run("x", "m", method, seed)

    def run(self) -> dict[str, Step]:
        last: dict[str, Step] = {}
        chosen: dict[str, Step] = {}
        for stage in self.stages:
            step = chosen.get(stage.after)
            for number in range(stage.last_step + 1):
                step = advance(self.search, stage, number, step, self.results, self.naming)
                for trial in step.trials:
                    self.values[trial.run] = (trial.values, trial.seed)
                for path in step.needs:
                    self._make(path)
                if number == stage.chosen_step:
                    chosen[stage.name] = step
            last[stage.name] = step
        return last

    def _make(self, path: str) -> None:
        if (self.results / path).exists():
            return
        self.made.append(path)
        if path.startswith("predictions/"):
            name = path.removeprefix("predictions/").removesuffix(".npz")
            labels = np.zeros(1000, dtype=np.int64)
            right = self.right(*self.values[name])
            write_npz(self.results / path, {"labels": labels, "predicted": 1 - right})
            return
        rung = path.startswith("search/rungs/")
        name = path.removeprefix("search/rungs/").removeprefix("runs/").rpartition("/")[0]
        values, seed = self.values[name]
        epochs = int(path.rpartition("epoch")[2][:-5]) if rung else values.get("epochs", 60)
        found = self.score(values, seed, epochs)
        row = {"validation_accuracy": found, "test_accuracy": found, "train_loss": 1.0}
        row["gradient_evaluations"] = 10.0 * epochs
        bad = math.isnan(found)
        if rung:
            status = "diverged" if bad else "paused"
            row = None if bad else row
            write_json(self.results / path, {"status": status, "diverged_at_step": 3 if bad else
                       None, "epochs": epochs, "row": row})  # fmt: skip
            return
        run = Run.of_folder(Path(path).parent)
        record = {
            "dataset": run.dataset, "model": run.model, "method": run.method, "seed": run.seed,
            "status": "diverged" if bad else "ok", "diverged_at_step": 3 if bad else None,
            "epochs_completed": epochs, "gradient_evaluations": 10 * epochs,
            "last": None if bad else row,
            "specification": {}, "sha256": {}, "device": "cpu", "versions": {},
        }  # fmt: skip
        write_json(self.results / path, record)


def stages(*given, seeds=(0,)):
    return read(given, seeds, "config, fer.searches.x")


LR = {
    "stage": "lr",
    "method": "adamw_lr-{lr}_depth-{depth}_{epochs}",
    "nuisance": {"lr": {"low": 1e-4, "high": 1e-1, "per_decade": 1}},
    "fixed": {"depth": 2, "epochs": 60},
}
DEPTH = {
    "stage": "depth",
    "after": "lr",
    "scientific": {"depth": [1, 2, 4]},
    "nuisance": {"lr": {"times": [0.1, 1, 10]}},
}
REPEATS = {"stage": "repeats", "after": "depth", "repeat": [5, 6, 7]}


def bowl(best, values, noise=0.0):
    """An accuracy that is highest at lr `best`, with a little for depth 2."""
    off = math.log10(float(values["lr"]) / best)
    return 0.9 - 0.1 * off**2 - 0.02 * abs(math.log2(values.get("depth", 2)) - 1) + noise
