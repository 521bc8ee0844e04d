"""Values that no run of a search can have, told before anything runs, from the runs' names alone.

A number out of its range (beta = 1, an infinite learning rate) is an answer that a search may find:
its trials are infeasible. Text where a number is wanted is a slip, and would look like one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from perturb import studies
from perturb.errors import PerturbError
from perturb.runs import Run
from perturb.search.points import points
from perturb.search.settings import Parameter, Search, Stage, Value, is_number
from perturb.search.steps import Naming, Trial, sentence, trials_of

_MOST_TRIED = 1_000  # a value that so many trials refuse is not asked further, and stays a row


def check(search: Search, naming: Naming, asked: bool) -> None:
    """Raise PerturbError for a value of the wrong type, and for rungs that are no part of a run.

    Where the search is `asked` for, also for a stage all of whose trials are refused; another one
    may be refused for settings of all chapters, which are not about it.
    """
    tried = _Tried(search, naming)
    where = f"config, {search.study}.searches.{search.chapter.removeprefix(f'{search.study}_')}"
    for stage in search.stages:
        if stage.repeat:
            continue
        found = list(itertools.islice(tried.until_accepted(stage), _MOST_TRIED))
        for parameter in stage.parameters:
            _check_whole(tried, stage, parameter, f"{where}, stage {stage.name}")
        if not found[-1].run:
            if asked and len(found) < _MOST_TRIED and not tried.depends_on_answers(stage):
                raise PerturbError(_all_refused(f"{where}, stage {stage.name}", found))
            return  # nothing is known of what starts from this stage
        _check_rungs(tried, stage, f"{where}, stage {stage.name}")
        for parameter in stage.parameters:
            _check_values(tried, stage, parameter, f"{where}, stage {stage.name}")


@dataclass(frozen=True)
class _Tried:
    """The trials that a search could have, whatever its stages choose: each at its first seed."""

    search: Search
    naming: Naming
    chosen: dict[str, Iterator[Mapping[str, Value]]] = field(default_factory=dict)

    def trials(self, stage: Stage, given: Mapping[str, Value]) -> Iterator[Trial]:
        """Yield a stage's trials with some values given, whatever the stage before has chosen."""
        if stage.repeat:
            yield from self.trials(self.search.stage(stage.after), given)
            return
        sampler = "sobol" if stage.sampler == "tpe" else stage.sampler
        one = replace(stage, seeds=stage.seeds[:1], sampler=sampler)
        for before in self._chosen(stage):
            for point in points(one, before):
                yield from trials_of(one, [{**point, **given}], before, self.naming, None)

    def until_accepted(self, stage: Stage) -> Iterator[Trial]:
        """Yield a stage's trials up to the first that can be trained."""
        for trial in self.trials(stage, {}):
            yield trial
            if trial.run:
                return

    def refusal(self, stage: Stage, given: Mapping[str, Value]) -> str:
        """Say why every trial with these values is refused; "" where one is not."""
        reason = ""
        for number, trial in enumerate(self.trials(stage, given)):
            if trial.run or number == _MOST_TRIED:
                return ""
            reason = reason or trial.refused
        return reason

    def depends_on_answers(self, stage: Stage) -> bool:
        """Whether a sampler that learns decides which points there are, here or before."""
        before = self.search.stage(stage.after) if stage.after else None
        return stage.sampler == "tpe" or (before is not None and self.depends_on_answers(before))

    def _chosen(self, stage: Stage) -> Iterator[Mapping[str, Value]]:
        if not stage.after:
            yield {}
            return
        # Named once: a chain of ten stages would name those of its first one again for each.
        every = self.chosen.get(stage.after) or (
            trial.values for trial in self.trials(self.search.stage(stage.after), {}) if trial.run
        )
        self.chosen[stage.after], own = itertools.tee(every)
        yield from own


def _check_values(tried: _Tried, stage: Stage, parameter: Parameter, where: str) -> None:
    """Raise PerturbError for text that every trial refuses, and for a number where text is taken.

    Of a stage with a trial that is not refused. Numbers among numbers are of the right type.
    """
    name = parameter.name
    text = [value for value in parameter.values if not is_number(value)]
    for value in parameter.values if text else ():
        if not (why := tried.refusal(stage, {name: value})):
            continue
        says = f"{sentence(why)} Change it, or leave it out."
        if value in text:
            raise PerturbError(f"{where}: {name} cannot be {_shown(value)}. {says}")
        if any(not tried.refusal(stage, {name: one}) for one in text):
            raise PerturbError(f"{where}: {name} is text, not {_shown(value)}. {says}")


def _check_whole(tried: _Tried, stage: Stage, parameter: Parameter, where: str) -> None:
    """Raise PerturbError for a fraction that is refused, and whose whole neighbours are not."""
    name = parameter.name
    for value in parameter.values or _some_of_range(parameter):
        number = float(value) if is_number(value) else math.nan
        if not math.isfinite(number) or number.is_integer():
            continue
        whole = (math.floor(number), math.ceil(number))
        if tried.refusal(stage, {name: value}) and not any(
            tried.refusal(stage, {name: one}) for one in whole
        ):
            help = "Set integer: true of its range." if parameter.is_range else "Give such ones."
            raise PerturbError(f"{where}: {name} is a whole number, not {_shown(value)}. {help}")


def _some_of_range(parameter: Parameter) -> tuple[Value, ...]:
    """Return a few values of a range that is not of whole numbers: one would tell that it is."""
    if parameter.times or parameter.integer:
        return ()
    return tuple(parameter.at(share) for share in (0.31, 0.62))


def _check_rungs(tried: _Tried, stage: Stage, where: str) -> None:
    """Raise PerturbError where a rung is no shorter than every run: its survivors go nowhere."""
    if not stage.halving:
        return
    longest, last = 0, stage.halving.epochs[-1]
    for trial in itertools.islice(tried.trials(stage, {}), _MOST_TRIED):
        if trial.run:
            method = Run.of_folder(trial.run).method
            longest = max(longest, studies.of_method(method).epochs(method))
        if longest > last:
            return
    raise PerturbError(
        f"{where}: the last rung of halving is at {last} epochs, and its runs have {longest}. Give "
        "rungs below that alone: what survives the last one goes on to the end by itself."
    )


def _all_refused(where: str, trials: list[Trial]) -> str:
    reasons = list(dict.fromkeys(trial.refused for trial in trials))
    return (
        f"{where}: every trial is refused, so nothing can be chosen. "
        f"{' '.join(map(sentence, reasons[:2]))} Change the values of its parameters."
    )


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else str(value)
