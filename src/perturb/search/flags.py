"""What a reader of a search must be warned of, each told from its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from perturb.search.settings import NUISANCE, SCIENTIFIC, Parameter, Stage, Value, rounded
from perturb.search.steps import Best, Compared, Measured, Step, rank

LEVEL = 0.05
FEW_TRIALS = 3  # feasible ones of a scientific value, for each of its nuisance parameters
NORMAL_QUANTILE = 1.96
MOST_LISTED = 4  # infeasible points; the table of trials has all


@dataclass(frozen=True)
class Flag:
    """A warning: its kind, and the words.

    Kinds are `edge`, `infeasible`, `few trials`, `not resolved` and `between seeds`.
    """

    kind: str
    stage: str
    words: str


def flags(stage: Stage, step: Step) -> list[Flag]:
    """Return the warnings of a stage, from its last step."""
    return [
        *_edges(stage, step),
        *_infeasible(stage, step.measured),
        *_few(stage, step),
        *_unresolved(stage, step),
        *_between_seeds(stage, step),
    ]


def mcnemar(first: int, second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (McNemar 1947; binomial).

    `first` and `second` count the images that one of two classifiers alone gets right.
    """
    if first + second == 0:
        return 1.0
    return float(stats.binomtest(first, first + second, 0.5).pvalue)


def resolution(compared: Compared) -> float:
    """Return the gap between two accuracies that the test set resolves at 5 %, a fraction.

    1.96 sqrt(d) / n for d images of n that one of the two alone gets right.
    """
    discordant = compared.only_this + compared.only_chosen
    return NORMAL_QUANTILE * math.sqrt(max(discordant, 1)) / compared.images


def values_of(stage: Stage, parameter: Parameter, measured: Sequence[Measured]) -> list[Value]:
    """Return the values that a parameter had in a stage's trials, in order."""
    found = dict.fromkeys(one.trial.values[parameter.name] for one in measured)
    numeric = all(isinstance(value, int | float) for value in found)
    return sorted(found, key=float) if numeric else list(found)


def _edges(stage: Stage, step: Step) -> list[Flag]:
    """Flag a chosen value at the end of those that were tried, and name the next ones to try.

    Not where another value comes to the same: then nothing rises towards that end.
    """
    if step.chosen is None or stage.repeat:
        return []
    found, ranked = [], rank(stage, step.measured)
    for parameter in stage.parameters:
        values = values_of(stage, parameter, step.measured)
        at = step.chosen.values[parameter.name]
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        if not numeric or len(values) < 2 or at not in (values[0], values[-1]):
            continue
        if any(
            one.values[parameter.name] != at and one.value >= step.chosen.value for one in ranked
        ):
            continue
        low = at == values[0]
        numbers = _steps(stage, parameter, values, low)
        following = next_values(numbers, low, isinstance(at, int))
        if following:
            end = "lowest" if low else "highest"
            listed = ", ".join(f"{value:g}" for value in following)
            words = (
                f"the chosen {parameter.name}, {at:g}, is the {end} that was tried, so the best "
                f"may lie beyond it; next to try: {listed}"
            )
            found.append(Flag("edge", stage.name, words))
    return found


def _steps(stage: Stage, parameter: Parameter, values: Sequence[Value], low: bool) -> list[float]:
    """Return the values whose steps lead beyond an end: those tried, or a grid where none was.

    How far apart a sampler's points happen to lie says nothing: there a step is a quarter of the
    range, on the range's scale.
    """
    tried = [float(value) for value in values]
    if stage.sampler == "grid" or not parameter.is_range:
        return tried
    end = tried[0] if low else tried[-1]
    inwards = 1 if low else -1
    if parameter.scale == "log":
        step = (parameter.high / parameter.low) ** 0.25
        found = [end * step ** (inwards * power) for power in range(3)]
    else:
        step = (parameter.high - parameter.low) / 4
        found = [end + inwards * step * times for times in range(3)]
    return sorted(found)


def next_values(values: Sequence[float], low: bool, whole: bool = False) -> list[float]:
    """Return two values beyond an end of a rising sequence, which goes on as it does there.

    Geometrically where the last three are nearer to that than to even steps, or all are above 0
    and there are two; none below 0.
    """
    ends = list(values[:3] if low else values[-3:][::-1])
    step, positive = ends[0] - ends[1], all(value > 0 for value in ends)
    geometric = positive
    if positive and len(ends) == 3:
        ratios = ends[0] / ends[1], ends[1] / ends[2]
        even = abs((ends[0] - ends[1]) / (ends[1] - ends[2]) - 1)
        geometric = abs(ratios[0] / ratios[1] - 1) <= even
    found = [
        ends[0] * (ends[0] / ends[1]) ** power if geometric else ends[0] + power * step
        for power in (1, 2)
    ]
    found = [round(value) if whole else rounded(value) for value in found]
    return [value for value in dict.fromkeys(found) if value > 0 and value not in values]


def infeasible_shares(
    stage: Stage, measured: Sequence[Measured]
) -> list[tuple[str, Value, int, int]]:
    """Return parameter, value, trials and infeasible trials, for each value that was tried."""
    found = []
    for parameter in stage.parameters:
        for value in values_of(stage, parameter, measured):
            own = [one for one in measured if one.trial.values[parameter.name] == value]
            bad = sum(not one.feasible for one in own)
            found.append((parameter.name, value, len(own), bad))
    return found


def values_repeat(parameter: Parameter, measured: Sequence[Measured]) -> bool:
    """Return whether values of a parameter were tried at several points, as on a grid.

    Quasi-random points have values of their own: what one of them came to is told of the point.
    """
    points = {str(one.trial.values): one.trial.values[parameter.name] for one in measured}
    return 2 * len(set(points.values())) <= len(points)


def _infeasible(stage: Stage, measured: Sequence[Measured]) -> list[Flag]:
    """Flag trials without a number: by value where values repeat, else the trials themselves."""
    lost = [one for one in measured if not one.feasible]
    if not lost:
        return []
    repeated = [one.name for one in stage.parameters if values_repeat(one, measured)]
    bad = [
        f"{bad} of {number} with {words_of({name: value})}"
        for name, value, number, bad in infeasible_shares(stage, measured)
        if bad and name in repeated
    ]
    told = "; ".join(bad) or _trials_lost(stage, lost, len(measured))
    kinds = ", ".join(sorted({one.status for one in lost}))
    return [Flag("infeasible", stage.name, f"infeasible ({kinds}): {told}")]


def _trials_lost(stage: Stage, lost: Sequence[Measured], number: int) -> str:
    """Return how many trials of `number` have no result, and at which points, some of many."""
    own = [one.name for one in stage.parameters]
    points = list(
        dict.fromkeys(words_of({n: one.trial.values[n] for n in own}) for one in lost if own)
    )
    listed = "; ".join(points[:MOST_LISTED])
    more = f"; and {len(points) - MOST_LISTED} further points" if points[MOST_LISTED:] else ""
    trials = f"{len(lost)} of {number} trial{'' if number == 1 else 's'}"
    return f"{trials}: {listed}{more}" if points else trials


def _few(stage: Stage, step: Step) -> list[Flag]:
    """Flag scientific values that have too few trials for their best ones to be compared."""
    nuisances = stage.of_role(NUISANCE)
    if stage.repeat or not stage.of_role(SCIENTIFIC) or not nuisances:
        return []
    wanted = FEW_TRIALS * len(nuisances)
    found = []
    for best in step.best:
        points = {
            str(one.trial.values)
            for one in step.measured
            if one.feasible
            and all(one.trial.values[name] == value for name, value in best.scientific.items())
        }
        if len(points) < wanted:
            found.append(f"{len(points)} for {words_of(best.scientific)}")
    if not found:
        return []
    words = f"too few feasible trials to compare (below {wanted}): {'; '.join(found)}"
    return [Flag("few trials", stage.name, words)]


def _unresolved(stage: Stage, step: Step) -> list[Flag]:
    """Flag scientific values that McNemar's test does not tell from the chosen one."""
    close = [one for one in step.compared if one.p_value >= LEVEL]
    if not close:
        return []
    words = "; ".join(
        f"{words_of(one.scientific)} differs by "
        f"{100 * abs(one.only_this - one.only_chosen) / one.images:.2f} points, p "
        f"{one.p_value:.2f}, where {one.images:,} images resolve {100 * resolution(one):.2f}"
        for one in close
    )
    return [Flag("not resolved", stage.name, f"the test set does not tell apart: {words}")]


def _between_seeds(stage: Stage, step: Step) -> list[Flag]:
    """Flag scientific values whose differences to the chosen one change sign between seeds.

    By the 95 % t interval of the differences paired by seed. McNemar's test is about two trained
    networks; this is about the settings.
    """
    if step.chosen is None or len(stage.seeds) < 2:
        return []
    chosen = _by_seed(step, step.chosen.values)
    close = []
    for best in step.best:
        if best.runs == step.chosen.runs:
            continue
        own = _by_seed(step, best.values)
        differences = np.array([own[seed] - chosen[seed] for seed in own.keys() & chosen.keys()])
        if len(differences) < 2 or np.ptp(differences) == 0:
            continue
        if stats.ttest_1samp(differences, 0.0).pvalue >= LEVEL:
            close.append(f"{words_of(best.scientific)} ({100 * differences.mean():+.2f} points)")
    if not close:
        return []
    words = f"{len(stage.seeds)} seeds do not tell apart from the chosen one: {'; '.join(close)}"
    return [Flag("between seeds", stage.name, words)]


def _by_seed(step: Step, values: Mapping[str, Value]) -> dict[int, float]:
    """Return what a point's whole runs reported, by seed."""
    return {
        one.trial.seed: one.reported
        for one in step.measured
        if one.trial.until is None and one.reported is not None and one.trial.values == values
    }


def words_of(values: dict[str, Value] | Best) -> str:
    """Return values as a reader has them: `depth 2, lr 1e-3`."""
    if isinstance(values, Best):
        values = values.values
    return ", ".join(
        f"{name} {value if isinstance(value, str) else f'{value:g}'}"
        for name, value in values.items()
    )
