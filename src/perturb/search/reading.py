"""A search as its section of the configuration describes it, read and checked. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from perturb.errors import PerturbError, did_you_mean
from perturb.search.settings import (
    NUISANCE,
    SAMPLERS,
    SCIENTIFIC,
    Halving,
    Parameter,
    Stage,
    Value,
    is_number,
    not_fresh,
    plain,
)

MOST_TRIALS = 10_000  # of a stage: each is a run with a name, and a job of the workflow
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w-]*)\}", re.ASCII)


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
