"""What a search is: stages with roles of their parameters, and how points are chosen. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perturb import slugs
from perturb.errors import PerturbError, did_you_mean

Value = float | int | str | bool
SCIENTIFIC, NUISANCE = "scientific", "nuisance"
SAMPLERS = ("grid", "sobol", "halton", "tpe")
SELECTION = "validation_accuracy"


@dataclass(frozen=True)
class Parameter:
    """One of a stage's parameters: its role, and the values that it may take.

    Either `values`, in the order that breaks ties (cheap ones first); or a range from `low` to
    `high`, `scale` `log` or `linear`, whose grid has `points` values or `per_decade` to a decade
    (4: quarter decades); or `times`, factors of the value that the stage before has chosen.
    """

    name: str
    role: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    scale: str = "log"
    points: int = 0
    per_decade: int = 0
    integer: bool = False
    times: tuple[float, ...] = ()

    @property
    def is_range(self) -> bool:
        """Whether it is a range of numbers, not a list."""
        return not self.values and not self.times

    @property
    def grid_size(self) -> int:
        """How many values its grid has at most, told without listing them."""
        if not self.is_range:
            return len(self.values or self.times)
        return self.points or 1 + round(math.log10(self.high / self.low) * self.per_decade)

    def grid(self, before: Mapping[str, Value]) -> tuple[Value, ...]:
        """Return its values on a grid; `before` are those that the stage before has chosen."""
        if self.times:
            return tuple(rounded(float(before[self.name]) * factor) for factor in self.times)
        if self.values:
            return self.values
        count = self.grid_size
        steps = [at / (count - 1) if count > 1 else 0.0 for at in range(count)]
        return tuple(dict.fromkeys(self.at(share) for share in steps))

    def at(self, share: float) -> Value:
        """Return the value at a share of the range (or the list) from 0 to 1."""
        if not self.is_range:
            values = self.values
            return values[min(int(share * len(values)), len(values) - 1)]
        if self.scale == "log":
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return round(value) if self.integer else rounded(value)


@dataclass(frozen=True)
class Halving:
    """Successive halving: epochs at which each rung ends, and the share that goes on from it.

    All are below the epochs of a run: what goes on from the last rung is trained to the end.
    """

    epochs: tuple[int, ...]
    keep: float

    def survivors(self, points: int) -> int:
        """Return how many of a rung's points go on."""
        return max(1, math.ceil(points * self.keep))


@dataclass(frozen=True)
class Stage:
    """One stage of a search.

    Args:
        name: of the stage, unique in its search.
        template: a method's name with parameters in braces: `adamw_lr-{lr}_depth-{depth}_{epochs}`.
        parameters: scientific and nuisance ones, in the order of the configuration.
        fixed: values of the other parameters; those that are missing are what `after` has chosen.
        after: the stage that this one starts from, "" for none.
        repeat: seeds: the best point of each scientific value of `after` is trained at these.
        sampler: one of `SAMPLERS`, by default `sobol` where the configuration says how many
            `trials`, else `grid`; for `tpe` in `rounds`.
        halving: or None.
        seeds: of each trial.
        sampler_seed: of the quasi-random and the Bayesian sampler.
    """

    name: str
    template: str
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    after: str = ""
    repeat: tuple[int, ...] = ()
    sampler: str = "grid"
    trials: int = 0
    rounds: int = 1
    halving: Halving | None = None
    seeds: tuple[int, ...] = (0,)
    sampler_seed: int = 0

    @property
    def rounds_of_trials(self) -> int:
        """How often trials are listed: once, for each rung, or in each round of a sampler."""
        if self.halving:
            return len(self.halving.epochs) + 1
        return self.rounds if self.sampler == "tpe" else 1

    @property
    def chosen_step(self) -> int:
        """The step that says which point is chosen."""
        return self.rounds_of_trials

    @property
    def last_step(self) -> int:
        """The step after it, which compares predictions."""
        return self.rounds_of_trials + 1

    @property
    def known(self) -> bool:
        """Whether the list of its trials is known before the first one runs."""
        return not self.after and not self.halving and self.sampler != "tpe"

    def of_role(self, role: str) -> tuple[Parameter, ...]:
        """Return the parameters of a role."""
        return tuple(one for one in self.parameters if one.role == role)


@dataclass(frozen=True)
class Search:
    """The stages of a chapter: on one data set, with one model.

    `selection` is the column of a record's last epoch that a point is chosen by, `reported` the one
    that is reported beside it; larger is better of both.
    """

    study: str
    chapter: str
    title: str
    dataset: str
    model: str
    stages: tuple[Stage, ...]
    scale: str = "full"
    selection: str = SELECTION
    reported: str = "test_accuracy"

    def stage(self, name: str) -> Stage:
        """Return the stage of that name; PerturbError where there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        names = [stage.name for stage in self.stages]
        raise PerturbError(f"{self.chapter}: no stage '{name}'.{did_you_mean(name, names)}")

    def step_file(self, stage: Stage, step: int) -> str:
        """Return the file of a stage's step, relative to the results."""
        return f"search/{self.chapter}/{stage.name}/step{step}.json"

    @property
    def files(self) -> list[str]:
        """The last step's file of each stage, relative to the results."""
        return [self.step_file(stage, stage.last_step) for stage in self.stages]

    def values(self) -> dict[str, Any]:
        """Return the search as plain values; `of` reads them back."""
        return msgspec.to_builtins(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Search:
        """Read what `values` returned, or its JSON's values."""
        return msgspec.convert(values, cls)


def not_fresh(where: str, stage: Stage, taken: set[int]) -> str:
    """Say that a stage repeats at seeds that are taken, and which are free."""
    twice = ", ".join(map(str, sorted(set(stage.repeat) & taken)))
    listed = ", ".join(map(str, sorted(taken)))
    free = [seed for seed in range(len(stage.repeat) + len(taken)) if seed not in taken]
    return (
        f"{where}: repeat has {twice}, but the stages before it chose their points at seeds "
        f"{listed}, and the mean would hold the very runs that were chosen. Give fresh seeds, such "
        f"as repeat: {free[: len(stage.repeat)]}."
    )


def plain(value: Any) -> Value:
    """Return a value of YAML, where `1e-4` is text, as the number that it means.

    One that is not finite comes back as text, which no name of a run takes for a number.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and re.fullmatch(slugs.NUMBER, value):
        return float(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return int(value)
    return value


def is_number(value: Value) -> bool:
    """Whether a value is a number; one that is not finite stands as text (`plain`)."""
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def rounded(value: float) -> float:
    """Return a number to three significant digits, as names of runs have it: `1.78e-4`."""
    return float(f"{value:.3g}")
