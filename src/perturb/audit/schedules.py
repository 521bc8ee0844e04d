"""Whether a run's training loss is that of the schedule in its name, told from its neighbours.

A perturbed step that reaches further leaves a higher training loss: at equal epochs the loss of
the first epoch rises with the radius that the schedule starts from, that of the last epoch with
the radius that it ends at. The files of one model themselves say how much, without a formula: the
law asked for is only that the loss does not fall with the radius (isotonic regression; Robertson,
Wright and Dykstra, Order Restricted Statistical Inference, 1988). A file whose loss breaks that
order where its name puts it, and keeps it under another reading of the name, contradicts its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.ndimage import median
from scipy.optimize import isotonic_regression

from perturb import names
from perturb.audit.reading import ResultFile

# An end of the curves is evidence where so many files, at so many different radii, follow the law
# at this level (Spearman's test, one-sided).
FILES, RADII, LEVEL = 8, 3, 0.05
# Evidence is the logarithm of a likelihood ratio under Laplace errors, which exceeds x by chance
# with probability exp(-x) at most (Markov's inequality). So much is asked for that one of all the
# readings tried does so with this probability.
CHANCE = 0.01
SCATTER = 0.02  # the smallest scatter believed, as a share of the loss

READINGS = {
    "as named": "as its name says",
    "reciprocal": "alpha where its name says 1/alpha, or the other way round",
    "reversed": "its shape run backwards",
    "constant": "no schedule: a radius of 1 throughout",
}
_FLIPPED = {"cos": "icos", "sin": "isin", "icos": "cos", "isin": "sin"}
_REVERSED = {"cos": "sin", "sin": "cos", "icos": "isin", "isin": "icos"}


@dataclass(frozen=True)
class Expectation:
    """One end of one curve: radius as named and as run, the loss found, the neighbours' losses.

    `expected` is the neighbours' loss at the named radius, `fitted` at the radius as run (nats).
    """

    end: str
    epochs: int
    named_radius: float
    run_radius: float
    found: float
    expected: float
    fitted: float


@dataclass(frozen=True)
class Verification:
    """What the curve of one file says of its name.

    `reading` is a key of READINGS, the one that fits best where the name does not; `run` the
    method that this makes of it; `evidence` how much better it fits than the name (log likelihood
    ratio); `others` the further readings that fit about as well; `ends` the ends that could be
    tested; `scheduled` whether the name has a schedule of the radius at all.
    """

    path: str
    reading: str
    run: names.Method
    evidence: float
    others: tuple[str, ...]
    ends: tuple[Expectation, ...]
    scheduled: bool

    @property
    def tested(self) -> bool:
        """Whether the name has a schedule of the radius, and an end of the curve speaks of it."""
        return bool(self.ends) and self.scheduled

    @property
    def contradicts(self) -> bool:
        """Whether the name must be doubted."""
        return self.reading != "as named"


def readings_of(method: names.Method) -> dict[str, names.Method]:
    """Return what may have been run under a name: the name itself, and its misreadings.

    Only radius schedules are read otherwise: a scale hardly moves the training loss, since the
    update is normalised.
    """
    found = {"as named": method}
    radius = method.radius
    if radius is None or radius.shape == "const":
        return found
    for reading, shapes in (("reciprocal", _FLIPPED), ("reversed", _REVERSED)):
        other = replace(radius, shape=shapes[radius.shape])
        if other.shape in ("cos", "sin") or min(radius.minimum, radius.maximum) > 0:
            found[reading] = replace(method, radius=other)
    found["constant"] = replace(method, radius=names.Schedule("const", 1.0))
    return found


def radius_at(method: names.Method, last: bool) -> float:
    """Return the radius of the first or of the last epoch; 1, PUGD's own, without a schedule."""
    if method.radius is None:
        return 1.0
    # Rounded, for cos and sin of equal values are to count as equal.
    return round(method.radius.value(method.epochs - 1 if last else 0, method.epochs), 9)


def rises(method: names.Method) -> bool:
    """Return whether radius or scale grows over the last tenth of the epochs."""
    late = 0.9 * method.epochs
    return any(
        schedule.value(method.epochs, method.epochs) > schedule.value(late, method.epochs) * 1.01
        for schedule in (method.radius, method.scale)
        if schedule is not None
    )


@dataclass(frozen=True)
class _End:
    """One end of the curves of files that share a model (and, at the last epoch, a length).

    `members` are the files' places in their group, `loss` [members] the logarithms of their losses,
    `radius` their radii under each reading, `scatter` the losses' distance from the law by chance.
    """

    label: str
    epochs: int
    members: tuple[int, ...]
    loss: np.ndarray
    radius: tuple[Mapping[str, float], ...]
    scatter: float = SCATTER

    def radii(self, reading: Sequence[str]) -> np.ndarray:
        """Return the radii [members] under the readings [files] of all names."""
        own = zip(self.members, self.radius, strict=True)
        return np.array([radius[reading[member]] for member, radius in own])


def verify(files: Sequence[ResultFile]) -> list[Verification]:
    """Return what the curves say of the names of the files that a perturbed rule ran throughout.

    Readings are exchanged one at a time, the one that most brings the losses into order first,
    until none is left that would do so with the evidence asked for.
    """
    testable = [file for file in files if _testable(file)]
    found = []
    for key in dict.fromkeys((file.dataset, file.model) for file in testable):
        group = [file for file in testable if (file.dataset, file.model) == key]
        found += _verify_group(group)
    return sorted(found, key=lambda item: item.path)


def _testable(file: ResultFile) -> bool:
    method, loss = file.method, file.curve("train_loss")
    if method is None or method.rule != "pugd" or method.timing or loss is None:
        return False
    return bool(np.isfinite(loss[[0, -1]]).all() and (loss[[0, -1]] > 0).all())


def _verify_group(files: Sequence[ResultFile]) -> list[Verification]:
    choices = [readings_of(file.method) for file in files]
    reading = ["as named"] * len(files)
    seen = {(index, "as named") for index in range(len(files))}
    while True:
        # Files that are read otherwise may bring out the law at an end where it was hidden.
        ends = _ends(files, choices, reading)
        better = _most_evident(ends, choices, reading, seen)
        if better is None:
            reading = _one_cause(ends, choices, reading)
            return [_verification(files, choices, reading, ends, i) for i in range(len(files))]
        reading[better[0]] = better[1]
        seen.add(better)


def _most_evident(
    ends: Sequence[_End],
    choices: Sequence[Mapping[str, names.Method]],
    reading: Sequence[str],
    seen: Set[tuple[int, str]],
) -> tuple[int, str] | None:
    """Return the unseen (index, reading) that lowers the misfit most, if by the evidence needed."""
    now = _misfit(ends, reading)
    gains = {
        (index, name): now - _misfit(ends, _changed(reading, index, name))
        for index, options in enumerate(choices)
        for name in options
        if (index, name) not in seen
    }
    best = max(gains, key=gains.get, default=None)
    return best if best is not None and gains[best] >= _needed(choices) else None


def _needed(choices: Sequence[Mapping[str, names.Method]]) -> float:
    """Return the evidence that a reading needs among this number of readings."""
    tried = sum(len(options) - 1 for options in choices)
    return float(np.log(max(tried, 1) / CHANCE))


def _one_cause(
    ends: Sequence[_End], choices: Sequence[Mapping[str, names.Method]], reading: list[str]
) -> list[str]:
    """Return the readings with the commonest misreading wherever a file's own fits no better."""
    doubted = [index for index, name in enumerate(reading) if name != "as named"]
    if not doubted:
        return reading
    common = Counter(reading[index] for index in doubted).most_common(1)[0][0]
    now, chosen = _misfit(ends, reading), list(reading)
    for index in doubted:
        loss = _misfit(ends, _changed(reading, index, common)) - now
        if common in choices[index] and loss < _needed(choices):
            chosen[index] = common
    return chosen


def _changed(reading: Sequence[str], index: int, name: str) -> list[str]:
    return [*reading[:index], name, *reading[index + 1 :]]


def _ends(
    files: Sequence[ResultFile],
    choices: Sequence[Mapping[str, names.Method]],
    reading: Sequence[str],
) -> list[_End]:
    """Return the ends that are evidence: first epochs together, last epochs by their number."""
    groups: list[tuple[str, int, Sequence[int]]] = [("first", 0, range(len(files)))]
    for epochs in sorted({file.method.epochs for file in files}):
        same = [i for i, f in enumerate(files) if f.method.epochs == epochs == len(f.curves)]
        groups.append(("last", epochs, same))
    found = []
    for label, epochs, members in groups:
        last = label == "last"
        loss = np.log([files[i].curve("train_loss")[-1 if last else 0] for i in members])
        radius = tuple({k: radius_at(m, last) for k, m in choices[i].items()} for i in members)
        end = _End(label, epochs, tuple(members), loss, radius)
        radii = end.radii(reading)
        if len(members) >= FILES and len(set(radii)) >= RADII and np.ptp(loss) > 0:
            law = stats.spearmanr(radii, loss, alternative="greater")
            if law.pvalue < LEVEL:
                found.append(replace(end, scatter=_scatter(radii, loss)))
    return found


def _scatter(radii: np.ndarray, loss: np.ndarray) -> float:
    """Return the mean absolute deviation of log losses from the median of their radius.

    Radii that one file alone has say nothing. The median over radii is unmoved by the few whose
    files were not run as named.
    """
    deviations = []
    for radius in np.unique(radii):
        own = loss[radii == radius]
        if len(own) > 1:
            spread = np.abs(own - np.median(own)).sum() / (len(own) - 1)
            deviations += [spread] * len(own)
    return max(SCATTER, float(np.median(deviations))) if deviations else 5 * SCATTER


def _fit(radii: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct radii and the isotonic fit to the median log loss at each."""
    distinct, place, counts = np.unique(radii, return_inverse=True, return_counts=True)
    medians = median(loss, labels=place, index=np.arange(len(distinct)))
    return distinct, isotonic_regression(medians, weights=counts).x


def _misfit(ends: Sequence[_End], reading: Sequence[str]) -> float:
    """Return the losses' distance from the law under these readings, in units of their scatter."""
    total = 0.0
    for end in ends:
        radii = end.radii(reading)
        distinct, fit = _fit(radii, end.loss)
        total += np.abs(end.loss - fit[np.searchsorted(distinct, radii)]).sum() / end.scatter
    return total


def _verification(
    files: Sequence[ResultFile],
    choices: Sequence[Mapping[str, names.Method]],
    reading: Sequence[str],
    ends: Sequence[_End],
    index: int,
) -> Verification:
    """Return the outcome for one file, with what its neighbours say at its radii."""
    options, chosen = choices[index], reading[index]
    misfits = {name: _misfit(ends, _changed(reading, index, name)) for name in options}
    own = misfits[chosen]
    losses = {n: value - own for n, value in misfits.items() if n not in (chosen, "as named")}
    if chosen == "as named":
        evidence, close = -min(losses.values(), default=0.0), ()
    else:
        evidence = misfits["as named"] - own
        close = tuple(name for name, loss in losses.items() if loss < _needed(choices))
    found = tuple(_expectation(end, reading, index) for end in ends if index in end.members)
    return Verification(
        files[index].path, chosen, options[chosen], evidence, close, found, len(options) > 1
    )


def _expectation(end: _End, reading: Sequence[str], index: int) -> Expectation:
    """Return what the neighbours' losses are at one file's radii, and what its own is."""
    at = end.members.index(index)
    neighbours = np.arange(len(end.members)) != at
    distinct, fit = _fit(end.radii(reading)[neighbours], end.loss[neighbours])
    radii = [end.radius[at][name] for name in ("as named", reading[index])]
    expected, fitted = np.exp(np.interp(radii, distinct, fit))
    found = float(np.exp(end.loss[at]))
    return Expectation(end.label, end.epochs, *radii, found, float(expected), float(fitted))
