"""How far runs of one method differ: the noise floor, pooled over the repeats in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from perturb import names
from perturb.analysis.statistics import CONFIDENCE
from perturb.audit.reading import ResultFile, canonical

DEFINITIONS = {
    "same_name": "files of one name",
    "near_name": "files whose names differ in beta_min only",
    "near_run": "files whose schedules as run differ in beta_min only",
}
GIVEN = "given in the configuration"
POWER = 0.8
# Repeats by name only: an effect of what differs in the names may be in a group's spread. One that
# spreads more than all others together would by chance at this level (F test, Bonferroni over the
# groups) is left out, and what rests almost on one group is no floor.
DOMINATES, ALONE = 0.01, 0.9
RESTS = 0.8  # share of the variance in one group from which a verdict says so


@dataclass(frozen=True)
class RepeatGroup:
    """Runs that count as repeats of each other: their files and their values, fractions of 1."""

    label: str
    epochs: int | None
    paths: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def degrees_of_freedom(self) -> int:
        """Runs less one."""
        return len(self.values) - 1

    @property
    def sum_of_squares(self) -> float:
        """Squared distances from the group's own mean, summed."""
        return float(np.var(self.values) * len(self.values))


@dataclass(frozen=True)
class NoiseFloor:
    """The standard deviation between repeats, a fraction of 1, and how well it is known.

    `low` and `high` are the ends of its chi-square interval. `sd` is None without repeats.
    """

    definition: str
    sd: float | None = None
    degrees_of_freedom: int = 0
    low: float | None = None
    high: float | None = None
    groups: tuple[RepeatGroup, ...] = ()
    excluded: tuple[RepeatGroup, ...] = ()

    @property
    def share(self) -> float:
        """The share of the variance that the widest group alone holds."""
        squares = [group.sum_of_squares for group in self.groups]
        return max(squares) / sum(squares) if sum(squares) > 0 else 0.0

    @property
    def epochs(self) -> set[int | None]:
        """The numbers of epochs of the runs that it is from."""
        return {group.epochs for group in self.groups}

    def half_width(self, first: int, second: int) -> float:
        """Return half the t interval of the difference between means of these numbers of runs."""
        quantile = stats.t.ppf((1 + CONFIDENCE) / 2, self.degrees_of_freedom)
        return float(quantile * self.sd * np.sqrt(1 / first + 1 / second))

    def runs_to_resolve(self, difference: float) -> int:
        """Return the runs an arm that show `difference` with 80 % power (t test, two-sided)."""
        test, effect, alpha = TTestIndPower(), difference / self.sd, 1 - CONFIDENCE
        least = test.power(effect, nobs1=2, alpha=alpha)
        if not least < POWER:  # NaN where the effect is beyond what the distribution computes
            return 2
        return int(np.ceil(test.solve_power(effect, alpha=alpha, power=POWER)))


def floor_of(definition: str, sd: float, degrees_of_freedom: int) -> NoiseFloor:
    """Return a noise floor with its chi-square interval: df s^2 / sigma^2 is chi-square."""
    tail = (1 - CONFIDENCE) / 2
    quantiles = stats.chi2.ppf([1 - tail, tail], degrees_of_freedom)
    low, high = sd * np.sqrt(degrees_of_freedom / quantiles)
    return NoiseFloor(definition, sd, degrees_of_freedom, float(low), float(high))


def pooled(definition: str, groups: Sequence[RepeatGroup]) -> NoiseFloor:
    """Return the noise floor pooled over groups of repeats, each about its own mean.

    Without `sd` where there are no repeats, or where those by name only rest on one group.
    """
    excluded: tuple[RepeatGroup, ...] = ()
    if definition.startswith("near"):
        groups, excluded = _without_dominating(groups)
    freedom = sum(group.degrees_of_freedom for group in groups)
    if not freedom:
        return NoiseFloor(definition, excluded=excluded)
    sd = float(np.sqrt(sum(group.sum_of_squares for group in groups) / freedom))
    if sd == 0:  # values so coarse that they cannot differ say nothing of noise
        return NoiseFloor(definition, excluded=excluded)
    floor = replace(
        floor_of(definition, sd, freedom), groups=tuple(groups), excluded=tuple(excluded)
    )
    if definition.startswith("near") and floor.share > ALONE:
        return NoiseFloor(definition, excluded=(*excluded, *groups))
    return floor


def _without_dominating(
    groups: Sequence[RepeatGroup],
) -> tuple[list[RepeatGroup], tuple[RepeatGroup, ...]]:
    """Return the groups whose spread may be of one size, and those that spread far more."""
    kept, excluded = sorted(groups, key=lambda group: group.label), []
    while len(kept) > 1:
        # That group, not another, which most exceeds the others' pooled variance.
        tails = [_tail(kept, group) for group in kept]
        least = int(np.argmin(tails))
        if tails[least] * len(kept) >= DOMINATES:
            break
        excluded.append(kept.pop(least))
    return kept, tuple(excluded)


def _tail(groups: Sequence[RepeatGroup], group: RepeatGroup) -> float:
    """Return the chance that a group spreads so much more than the others (F test)."""
    others = [other for other in groups if other is not group]
    freedom = sum(other.degrees_of_freedom for other in others)
    rest = sum(other.sum_of_squares for other in others) / freedom
    own = group.sum_of_squares / group.degrees_of_freedom
    if rest == 0:  # coarse accuracies are equal by chance: nothing can be said
        return 1.0
    return float(stats.f.sf(own / rest, group.degrees_of_freedom, freedom))


def repeats(
    files: Sequence[ResultFile],
    value: Callable[[ResultFile], float],
    definition: str,
    run: Mapping[str, names.Method],
) -> list[RepeatGroup]:
    """Return the groups of two files or more that are repeats under a definition (DEFINITIONS).

    `files` are healthy and of one data set and model; `run` is what was run by path, where that is
    not what the name says. Names outside the grammar are repeats where they are equal.
    """
    found: dict[str, list[ResultFile]] = {}
    for file in files:
        method = run.get(file.path, file.method) if definition == "near_run" else file.method
        key = file.name if method is None else canonical(method)
        if method is not None and definition != "same_name":
            key = _without_minimum(method)
        found.setdefault(key, []).append(file)
    return [
        RepeatGroup(
            label,
            members[0].epochs,
            tuple(file.path for file in members),
            tuple(value(file) for file in members),
        )
        for label, members in sorted(found.items())
        if len(members) > 1
    ]


def _without_minimum(method: names.Method) -> str:
    """Return a label that methods share which differ in beta_min only."""
    if method.radius is None and method.scale is None:
        return canonical(method)
    parts = [
        f"{axis} {schedule.shape} {schedule.maximum:g}/*"
        for axis, schedule in (("radius", method.radius), ("scale", method.scale))
        if schedule is not None
    ]
    return f"{', '.join(parts)}, {method.epochs} epochs"
