"""The steps of a stage: trials are listed, measured, chosen from, compared. Files in, a file out.

Step 0 lists trials. Each step after it measures what the one before has listed, and lists the next
ones: the survivors of a rung, a sampler's next round. Then one step says which point is chosen,
and the last one compares predictions by image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from perturb import slugs
from perturb.errors import PerturbError
from perturb.files import read_json, write_json
from perturb.runs import Run, read_record
from perturb.search.points import Point, ask, points
from perturb.search.settings import SCIENTIFIC, Search, Stage, Value, not_fresh

HUGE_LOSS = 10.0  # nats; chance on a thousand classes is 6.9
# Name of a method, checked, from its text; PerturbError where it cannot be trained.
Naming = Callable[[str, int], Run]


@dataclass(frozen=True)
class Trial:
    """A point at a seed, and the run that it is; `refused` says why there is none.

    `until`: the epochs of a rung; None for the whole run.
    """

    values: Point
    seed: int
    run: str = ""
    refused: str = ""
    until: int | None = None

    @property
    def needs(self) -> str:
        """The file that measures it, relative to the results; "" where it was refused."""
        if not self.run:
            return ""
        if self.until is None:
            return f"runs/{self.run}/record.json"
        return f"search/rungs/{self.run}/epoch{self.until}.json"


@dataclass(frozen=True)
class Measured:
    """What a trial came to.

    `status`: `ok`, `paused` (a rung's), or infeasible: `diverged`, `huge` (a training loss above
    `HUGE_LOSS`), `refused`. `value` is what is chosen by, `reported` what is reported; None where
    it is infeasible. `epochs` that it was trained for, `work` its gradient evaluations.
    """

    trial: Trial
    status: str
    value: float | None = None
    reported: float | None = None
    epochs: int = 0
    work: float = 0.0
    note: str = ""

    @property
    def feasible(self) -> bool:
        """Whether there is a number."""
        return self.value is not None


@dataclass(frozen=True)
class Best:
    """A point, by its mean over seeds; `scientific` are the values that it is the best of."""

    values: Point
    scientific: Point
    value: float
    reported: float
    work: float
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """Two points by test image, at one seed: images that one alone gets right, and McNemar's p."""

    scientific: Point
    run: str
    against: str
    images: int
    only_this: int
    only_chosen: int
    p_value: float


@dataclass(frozen=True)
class Step:
    """What a step's file holds.

    `trials` are listed for the next step, `needs` its files; `measured` all trials so far, each as
    it was measured last. `chosen` and `best` (of each scientific value) are there when all of
    them are. `epochs_trained` counts the epochs of all trials, each once.
    """

    stage: str
    number: int
    trials: tuple[Trial, ...] = ()
    needs: tuple[str, ...] = ()
    measured: tuple[Measured, ...] = ()
    chosen: Best | None = None
    best: tuple[Best, ...] = ()
    compared: tuple[Compared, ...] = ()
    epochs_trained: int = 0
    before: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Step:
        """Read a step's file."""
        return msgspec.convert(read_json(path)["step"], cls)

    def write(self, path: Path) -> None:
        """Write the step's file."""
        write_json(path, {"step": msgspec.to_builtins(self)})


def first_trials(stage: Stage, naming: Naming) -> tuple[Trial, ...]:
    """Return the trials of a stage that is after no other: known before anything runs."""
    return trials_of(stage, points(stage, {}), {}, naming, _until(stage, 0))


def advance(
    search: Search, stage: Stage, number: int, before: Step | None, results: Path, naming: Naming
) -> Step:
    """Return step `number` of a stage.

    Args:
        search, stage: what is searched.
        number: of the step.
        before: the step before it; for step 0 the step of `stage.after` that has chosen, or None.
        results: the folder below which everything that the step before needs lies.
        naming: names a run.

    Raises PerturbError where no trial of a stage can be chosen from, and where a stage repeats at a
    seed that has chosen already.
    """
    if number == 0:
        return _begin(search, stage, before, naming)
    assert before is not None
    if number > stage.chosen_step:
        return _compare(before, number, results)
    measured = _merged(before.measured, [measure(t, search, results) for t in before.trials])
    trained = before.epochs_trained + _newly_trained(before, measured)
    trials = _next(stage, number, measured, before, naming)
    step = Step(stage.name, number, trials, epochs_trained=trained, before=before.before)
    if number < stage.chosen_step:
        needs = tuple(dict.fromkeys(filter(None, (trial.needs for trial in trials))))
        return replace(step, measured=measured, needs=needs)
    ranked = rank(stage, measured)
    if not ranked:
        raise PerturbError(_nothing_feasible(search, stage, measured))
    best = best_of_each(stage, ranked)
    compared = [one for one in best if one.runs[0] != ranked[0].runs[0]]
    runs = [ranked[0].runs[0], *(one.runs[0] for one in compared)] if compared else []
    return replace(
        step,
        measured=measured,
        chosen=ranked[0],
        best=tuple(best),
        needs=tuple(f"predictions/{run}.npz" for run in runs),
    )


def _begin(search: Search, stage: Stage, after: Step | None, naming: Naming) -> Step:
    before = dict(after.chosen.values) if after and after.chosen else {}
    if stage.repeat:
        assert after is not None
        taken = {one.trial.seed for one in after.measured}
        if taken & set(stage.repeat):
            raise PerturbError(not_fresh(f"{search.chapter}, stage {stage.name}", stage, taken))
        every = [dict(best.values) for best in after.best]
        trials = trials_of(stage, every, before, naming, None)
    elif stage.sampler == "tpe":
        trials = trials_of(stage, ask(stage, [], _in_round(stage, 0)), before, naming, None)
    else:
        trials = trials_of(stage, points(stage, before), before, naming, _until(stage, 0))
    needs = tuple(dict.fromkeys(filter(None, (trial.needs for trial in trials))))
    return Step(stage.name, 0, trials, needs, before=before)


def trials_of(
    stage: Stage,
    every: Sequence[Point],
    before: Mapping[str, Value],
    naming: Naming,
    until: int | None,
) -> tuple[Trial, ...]:
    """Return the trials of some points at every seed; two points of one name are one trial."""
    found: dict[tuple[str, int], Trial] = {}
    for point in every:
        values: Point = {**before, **stage.fixed, **point}
        for seed in stage.seeds:
            try:
                texts = {name: slugs.value_text(value) for name, value in values.items()}
                run = str(naming(stage.template.format(**texts), seed))
                trial = Trial(values, seed, run, until=until)
            except PerturbError as error:
                trial = Trial(values, seed, refused=str(error))
            found.setdefault((trial.run or str(values), seed), trial)
    return tuple(found.values())


def _until(stage: Stage, rung: int) -> int | None:
    if stage.halving is None or rung >= len(stage.halving.epochs):
        return None
    return stage.halving.epochs[rung]


def _in_round(stage: Stage, number: int) -> int:
    """Return how many trials a round has: as even as can be, the first ones larger."""
    each, more = divmod(stage.trials, stage.rounds)
    return each + (number < more)


def measure(trial: Trial, search: Search, results: Path) -> Measured:
    """Return what a trial came to, from its record or its rung's file."""
    if not trial.run:
        return Measured(trial, "refused", note=trial.refused)
    if trial.until is not None:
        rung = read_json(results / trial.needs)
        row, epochs = rung["row"], rung["epochs"]
        status, step = rung["status"], rung["diverged_at_step"]
        work = float(row.get("gradient_evaluations", 0)) if row else 0.0
    else:
        record = read_record(results / trial.needs)
        row, epochs = record["last"], record["epochs_completed"]
        status, step = record["status"], record["diverged_at_step"]
        work = float(record.get("gradient_evaluations") or 0)
    if status == "diverged":
        return Measured(trial, status, epochs=epochs, work=work, note=f"at step {step}")
    value, reported = (row.get(name) for name in (search.selection, search.reported))
    if value is None:
        raise PerturbError(
            f"{trial.needs}: no column '{search.selection}' to choose by. Runs of a search need "
            "protocol holdout."
        )
    loss = row.get("train_loss")
    if loss is not None and not loss < HUGE_LOSS:
        return Measured(trial, "huge", epochs=epochs, work=work, note=f"training loss {loss:.3g}")
    return Measured(trial, status, value, reported, epochs, work)


def _merged(before: Sequence[Measured], new: Sequence[Measured]) -> tuple[Measured, ...]:
    """Return every trial as it was measured last, in the order in which they were listed."""
    found = {_key(one.trial): one for one in before}
    found |= {_key(one.trial): one for one in new}
    return tuple(found.values())


def _key(trial: Trial) -> tuple[str, int]:
    return trial.run or str(trial.values), trial.seed


def _newly_trained(before: Step, measured: Sequence[Measured]) -> int:
    """Return by how many epochs the trials of a step have gone on since they were last measured."""
    then = {_key(one.trial): one.epochs for one in before.measured}
    now = {_key(one.trial): one.epochs for one in measured}
    return sum(now[_key(t)] - then.get(_key(t), 0) for t in before.trials)


def _next(
    stage: Stage, number: int, measured: Sequence[Measured], before: Step, naming: Naming
) -> tuple[Trial, ...]:
    """Return the trials that a step lists: a rung's survivors, a sampler's next round, or none."""
    if number >= stage.chosen_step:
        return ()
    if stage.halving:
        ranked = rank(stage, measured, until=_until(stage, number - 1))
        every = [dict(best.values) for best in ranked[: stage.halving.survivors(len(ranked))]]
        return trials_of(stage, every, before.before, naming, _until(stage, number))
    names = [one.name for one in stage.parameters]
    told = [
        ({name: one.trial.values[name] for name in names}, one.value if one.feasible else None)
        for one in measured
    ]
    return trials_of(stage, ask(stage, told, _in_round(stage, number)), before.before, naming, None)


def rank(stage: Stage, measured: Sequence[Measured], until: int | None = None) -> list[Best]:
    """Return the points by their mean over seeds, the best first; feasible at every seed only.

    Of equal ones the one with less work is first, then the one that was listed first. `until`: of
    the trials of a rung; None: of whole runs.
    """
    groups: dict[str, list[Measured]] = {}
    for one in measured:
        if one.trial.until == until:
            groups.setdefault(str(sorted(one.trial.values.items())), []).append(one)
    names = [one.name for one in stage.of_role(SCIENTIFIC)]
    found = []
    for group in groups.values():
        if len(group) < len(stage.seeds) or not all(one.feasible for one in group):
            continue
        values = group[0].trial.values
        found.append(
            Best(
                values=values,
                scientific={name: values[name] for name in names},
                value=sum(one.value or 0.0 for one in group) / len(group),
                reported=sum(one.reported or 0.0 for one in group) / len(group),
                work=sum(one.work for one in group) / len(group),
                runs=tuple(one.trial.run for one in group),
            )
        )
    return sorted(found, key=lambda best: (-best.value, best.work))


def best_of_each(stage: Stage, ranked: Sequence[Best]) -> list[Best]:
    """Return the best point of each combination of scientific values, in the stage's order."""
    found: dict[str, Best] = {}
    for best in ranked:
        found.setdefault(str(best.scientific), best)
    order = {
        str(one.scientific): tuple(
            _place(parameter, one) for parameter in stage.of_role(SCIENTIFIC)
        )
        for one in found.values()
    }
    return sorted(found.values(), key=lambda best: order[str(best.scientific)])


def _place(parameter: Any, best: Best) -> float:
    value = best.scientific[parameter.name]
    if parameter.values:
        return float(parameter.values.index(value)) if value in parameter.values else math.inf
    return float(value)


def _compare(before: Step, number: int, results: Path) -> Step:
    """Return the last step: the chosen point against the best of each other scientific value."""
    import numpy as np

    from perturb.search.flags import mcnemar

    compared: list[Compared] = []
    chosen = before.chosen
    assert chosen is not None
    if before.needs:
        files = {path: np.load(results / path) for path in before.needs}
        right = {
            path.removeprefix("predictions/").removesuffix(".npz"): file["predicted"]
            == file["labels"]
            for path, file in files.items()
        }
        for one in before.best:
            if one.runs[0] == chosen.runs[0]:
                continue
            this, that = right[one.runs[0]], right[chosen.runs[0]]
            only_this, only_chosen = int((this & ~that).sum()), int((that & ~this).sum())
            p_value = mcnemar(only_this, only_chosen)
            compared.append(
                Compared(one.scientific, one.runs[0], chosen.runs[0], len(this), only_this,
                         only_chosen, p_value)
            )  # fmt: skip
    return replace(before, number=number, trials=(), needs=(), compared=tuple(compared))


def _nothing_feasible(search: Search, stage: Stage, measured: Sequence[Measured]) -> str:
    """Say why nothing can be chosen."""
    reasons = list(dict.fromkeys(_reason(one) for one in measured))
    return (
        f"{search.chapter}, stage {stage.name}: none of its {len(measured)} trials can be chosen "
        f"from. {' '.join(map(sentence, reasons[:3]))} Change the values of its parameters."
    )


def _reason(one: Measured) -> str:
    return f"{one.status}: {one.note}" if one.status == "refused" else f"{one.status} {one.note}"


def sentence(text: str) -> str:
    """Return a text with a capital and an end, so that others can stand beside it."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
