"""What a search is: stages with roles of their parameters, and how points are chosen. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perturb import slugs
from perturb.errors import PerturbError, did_you_mean

Value = float | int | str | bool
SCIENTIFIC, NUISANCE = "scientific", "nuisance"
SAMPLERS = ("grid", "sobol", "halton", "tpe")
SELECTION = "validation_accuracy"
MOST_TRIALS = 10_000  # of a stage: each is a run with a name, and a job of the workflow
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w-]*)\}", re.ASCII)


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


def read(
    stages: Sequence[Mapping[str, Any]], seeds: Sequence[int], where: str
) -> tuple[Stage, ...]:
    """Return the stages that the configuration describes, each completed by the one it is after.

    PerturbError, which begins with `where`, for a stage that does not fit together.
    """
    found: dict[str, Stage] = {}
    for given in stages:
        stage = _stage(given, found, seeds, f"{where}, stage {given['stage']}")
        if stage.name in found:
            raise PerturbError(f"{where}: there are two stages '{stage.name}'. Rename one.")
        found[stage.name] = stage
    return tuple(found.values())


def _stage(
    given: Mapping[str, Any], known: Mapping[str, Stage], seeds: Sequence[int], where: str
) -> Stage:
    after = given.get("after", "")
    if after and after not in known:
        raise PerturbError(
            f"{where}: after '{after}' must name a stage above it.{did_you_mean(after, known)}"
        )
    base = known.get(after)
    repeat = tuple(given.get("repeat", ()))
    if repeat and not base:
        raise PerturbError(f"{where}: repeat needs `after`, the stage whose points are repeated.")
    template = given.get("method") or (base.template if base else "")
    if not template:
        raise PerturbError(f"{where}: missing key 'method', such as sgd_{{epochs}}.")
    parameters = tuple(
        _parameter(name, role, spec, where)
        for role in (SCIENTIFIC, NUISANCE)
        for name, spec in given.get(role, {}).items()
    )
    if repeat and base:
        if parameters:
            raise PerturbError(f"{where}: a stage that repeats has no parameters of its own.")
        parameters = base.of_role(SCIENTIFIC)
    fixed = {name: _value(name, one, where) for name, one in given.get("fixed", {}).items()}
    stage = Stage(
        name=given["stage"],
        template=template,
        parameters=parameters,
        fixed=fixed,
        after=after,
        repeat=repeat,
        sampler=given.get("sampler", "sobol" if "trials" in given else "grid"),
        trials=given.get("trials", 0),
        rounds=given.get("rounds", 1),
        halving=_halving(given.get("halving"), where),
        seeds=repeat or tuple(given.get("seeds", seeds[:1])),
        sampler_seed=given.get("sampler_seed", 0),
    )
    _check_ignored(given, stage, where)
    _check(stage, base, _named_by(base, known), where)
    for one in parameters:
        if one.times and (text := _text_of(one.name, base, known)):
            raise PerturbError(
                f"{where}: `times` of {one.name} multiplies numbers, and it is {text} before."
            )
    _check_number(stage, known, where)
    return stage


def _named_by(stage: Stage | None, known: Mapping[str, Stage]) -> set[str]:
    """Return what has a value when a stage has chosen: its own names, and those before it."""
    found: set[str] = set()
    while stage:
        found |= {*stage.fixed, *(one.name for one in stage.parameters)}
        stage = known.get(stage.after)
    return found


def _text_of(name: str, stage: Stage | None, known: Mapping[str, Stage]) -> str:
    """Return a value of a name that is no number, of the last stage that gives it; "" for none."""
    while stage:
        values = [stage.fixed[name]] if name in stage.fixed else []
        values += [value for one in stage.parameters if one.name == name for value in one.values]
        if values or name in {one.name for one in stage.parameters}:
            return next((str(v) for v in values if not is_number(v)), "")
        stage = known.get(stage.after)
    return ""


def placeholders(template: str, where: str) -> set[str]:
    """Return the parameters that a method's name has in braces.

    PerturbError where a brace is anything else: alone, empty, or around more than a name.
    """
    if re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
        raise PerturbError(
            f"{where}: the braces of the method '{template}' do not fit. Write each parameter as "
            "its name alone in a pair of braces, such as {lr}, and no other brace."
        )
    return set(_PLACEHOLDER.findall(template))


def _parameter(name: str, role: str, spec: Any, where: str) -> Parameter:
    if isinstance(spec, list):
        return Parameter(name, role, values=tuple(_value(name, one, where) for one in spec))
    both = [key for key in ("points", "per_decade") if key in spec]
    if len(both) > 1 or ("times" in spec and len(spec) > 1):
        what = "points or per_decade" if len(both) > 1 else "times or a range"
        raise PerturbError(f"{where}: {name} has either {what}, not both. Leave one out.")
    numbers: dict[str, Any] = {k: plain(value) for k, value in spec.items() if k != "times"}
    times = tuple(_number(f"times of {name}", one, where) for one in spec.get("times", ()))
    for end in {"low", "high"} & set(numbers):
        numbers[end] = _number(f"{end} of {name}", numbers[end], where)
    found = Parameter(name, role, times=times, **numbers)
    if times:
        return found
    if not (found.low < found.high and math.isfinite(found.high)):
        raise PerturbError(
            f"{where}: the range of {name} must have a low below a finite high; it goes from "
            f"{found.low:g} to {found.high:g}."
        )
    if found.scale == "log" and found.low <= 0:
        raise PerturbError(f"{where}: {name} has a logarithmic scale; its low must be above 0.")
    if found.scale == "log" and not math.isfinite(found.high / found.low):
        raise PerturbError(
            f"{where}: the range of {name}, {found.low:g} to {found.high:g}, is wider than numbers "
            "can say. Give it a higher low or a lower high."
        )
    if found.scale != "log" and found.per_decade:
        raise PerturbError(
            f"{where}: per_decade of {name} goes with a logarithmic scale. Give it points."
        )
    return found


def _value(name: str, given: Any, where: str) -> Value:
    """Return a value of a parameter; PerturbError where it is a list, a mapping or nothing."""
    if not isinstance(given, str | bool | int | float):
        shown = "null" if given is None else given
        raise PerturbError(
            f"{where}: {name} cannot be {shown}. Each of its values is one number, text, true or "
            "false."
        )
    return plain(given)


def _number(what: str, given: Any, where: str) -> float:
    """Return a number, infinity too; PerturbError where it is none."""
    try:
        return float("none" if isinstance(given, bool) else plain(given))
    except (TypeError, ValueError):
        raise PerturbError(f"{where}: {what} is no number: {given}. Give one.") from None


def _halving(given: Mapping[str, Any] | None, where: str) -> Halving | None:
    if given is None:
        return None
    epochs = tuple(given["epochs"])
    if list(epochs) != sorted(set(epochs)):
        raise PerturbError(f"{where}: the epochs of halving's rungs must rise, not {epochs}.")
    return Halving(epochs, float(given.get("keep", 1 / 3)))


def _check(stage: Stage, base: Stage | None, before: set[str], where: str) -> None:
    """Raise PerturbError where a stage's parts contradict each other.

    `before` are the names that have a value when `base`, the stage that it is after, has chosen.
    """
    wanted = placeholders(stage.template, where)
    own = [one.name for one in stage.parameters]
    twice = {name for name in own if own.count(name) > 1 or name in stage.fixed}
    if twice:
        raise PerturbError(f"{where}: {sorted(twice)[0]} has two roles. Give it one.")
    unknown = sorted({*own, *stage.fixed} - wanted)
    if unknown:
        raise PerturbError(
            f"{where}: the method {stage.template} has no {{{unknown[0]}}}."
            f"{did_you_mean(unknown[0], wanted)}"
        )
    missing = sorted(wanted - {*own, *stage.fixed} - before)
    if missing:
        raise PerturbError(
            f"{where}: nothing says what {{{missing[0]}}} of {stage.template} is. Put it under "
            "scientific, nuisance or fixed."
        )
    if stage.sampler == "grid":
        for one in stage.parameters if not stage.repeat else ():
            if one.is_range and not (one.points or one.per_decade):
                raise PerturbError(f"{where}: a grid of {one.name} needs points or per_decade.")
    elif any(one.times for one in stage.parameters):
        raise PerturbError(f"{where}: `times` goes with the sampler grid alone.")
    elif stage.trials < 1:
        raise PerturbError(f"{where}: sampler {stage.sampler} needs trials, their number.")
    for one in stage.parameters:
        if one.times and not base:
            raise PerturbError(
                f"{where}: `times` needs `after`, the stage whose choice is multiplied."
            )
        if one.times and one.name not in before:
            raise PerturbError(
                f"{where}: `times` of {one.name} has nothing to multiply: no stage before this one "
                f"chose {one.name}. Give it values or a range."
            )
    if stage.halving and stage.sampler == "tpe":
        raise PerturbError(f"{where}: halving goes with the samplers {', '.join(SAMPLERS[:3])}.")
    if not 1 <= stage.rounds <= max(1, stage.trials):
        raise PerturbError(
            f"{where}: {stage.rounds} rounds of {stage.trials} trials, but each round asks for one "
            f"trial or more. Give at most {stage.trials} rounds, or more trials."
        )


def _check_ignored(given: Mapping[str, Any], stage: Stage, where: str) -> None:
    """Raise PerturbError for a key that would change nothing beside the stage's other keys."""
    grid = stage.sampler == "grid"
    ignored = {
        f"a stage with repeat has no {{}}: it trains the points that stage {stage.after} has, at "
        "the seeds of repeat": ("seeds", "sampler", "trials", "rounds", "sampler_seed", "halving")
        if stage.repeat
        else (),
        "sampler grid has no {}: it tries every combination": ("trials", "rounds", "sampler_seed")
        if grid
        else (),
        f"sampler {stage.sampler} has no {{}}: it asks for all trials at once": ("rounds",)
        if stage.sampler != "tpe"
        else (),
    }
    for why, keys in ignored.items():
        for key in keys:
            if key in given:
                raise PerturbError(f"{where}: {why.format(key)}. {_instead(key, stage)}")
    for one in stage.parameters if not stage.repeat else ():
        for key in ("points", "per_decade"):
            if not grid and getattr(one, key):
                raise PerturbError(
                    f"{where}: {key} of {one.name} is for a grid, and sampler {stage.sampler} "
                    f"takes points between. Leave {key} out, or set sampler: grid without trials."
                )


def _instead(key: str, stage: Stage) -> str:
    """Return what to do about a key that has no meaning in a stage."""
    if key == "trials" and not stage.repeat:
        return "Leave trials out, or set sampler: sobol."
    if key in ("rounds", "sampler_seed") and not stage.repeat:
        return f"Leave {key} out, or set sampler: {'tpe' if key == 'rounds' else 'sobol'}."
    return f"Leave {key} out."


def check_fresh(stages: Sequence[Stage], where: str) -> None:
    """Raise PerturbError where points are repeated at a seed that helped to choose them.

    `where` is the search. Such a mean would hold the very run that the point was chosen for.
    """
    known = {stage.name: stage for stage in stages}
    for stage in stages:
        taken: set[int] = set()
        before = known.get(stage.after)
        while stage.repeat and before:
            taken |= set(before.seeds)
            before = known.get(before.after)
        if set(stage.repeat) & taken:
            raise PerturbError(not_fresh(f"{where}, stage {stage.name}", stage, taken))


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


def _check_number(stage: Stage, known: Mapping[str, Stage], where: str) -> None:
    """Raise PerturbError where a stage lists too many trials; none of them is listed for it."""
    each = _points_at_most(stage, known)
    rungs = [each]
    if stage.halving:
        for _ in stage.halving.epochs:
            rungs.append(stage.halving.survivors(rungs[-1]))
    trials = sum(rungs) * len(stage.seeds)
    if trials <= MOST_TRIALS:
        return
    product = [f"{each:,} points"]
    product += [f"{sum(rungs):,} with those that go on from a rung"] if stage.halving else []
    product += [f"{len(stage.seeds):,} seeds"] if len(stage.seeds) > 1 else []
    raise PerturbError(
        f"{where}: {trials:,} trials ({', '.join(product)}); a stage has {MOST_TRIALS:,} at most. "
        "Give its parameters fewer values, or ask for fewer trials or seeds."
    )


def _points_at_most(stage: Stage, known: Mapping[str, Stage]) -> int:
    """Return how many points a stage lists at most, each before its seeds are counted."""
    if stage.repeat:
        # The best of each combination of scientific values that the stage before has tried.
        of_base = _points_at_most(known[stage.after], known)
        if any(one.is_range and not (one.points or one.per_decade) for one in stage.parameters):
            return of_base
        return min(of_base, math.prod(one.grid_size for one in stage.parameters))
    if stage.sampler != "grid":
        return stage.trials
    return math.prod(one.grid_size for one in stage.parameters)


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
