"""What is claimed, that a method is above its baseline, and what the noise floor leaves of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from perturb import names
from perturb.analysis.display import percent, points
from perturb.analysis.statistics import CONFIDENCE, holm
from perturb.audit.curves import Ends
from perturb.audit.findings import KINDS, NOT_THE_METHOD
from perturb.audit.noise import RESTS, NoiseFloor
from perturb.audit.plan import AuditPlan
from perturb.audit.reading import ResultFile
from perturb.errors import PerturbError, did_you_mean

HOLDS, NOISE, REVERSED, UNKNOWN = "holds", "within noise", "reversed", "cannot be told"
# What makes a difference of any size meaningless.
STOPS = {"values", "never_learned"}
VERDICTS = (HOLDS, NOISE, REVERSED, UNKNOWN)
# What is found in a file, and leaves it the run that its name says.
NOTED = {
    "restart": "was started again (its last complete attempt counts)",
    "gaps": "has epochs without accuracy",
}


@dataclass(frozen=True)
class Arm:
    """One side of a claim: the files of one method, and what is wrong with any of them."""

    name: str
    files: tuple[ResultFile, ...]
    ends: tuple[Ends, ...]
    doubts: tuple[str, ...] = ()

    def mean(self, end: str) -> float:
        """Return the mean over the files of an end of `Ends`, a fraction of 1."""
        return float(np.mean([getattr(ends, end) for ends in self.ends]))


@dataclass(frozen=True)
class Variants:
    """The methods whose names differ from one method's in numbers only, itself among them.

    `mean` is that of their last epochs, a fraction of 1; `best` whether this one is above all.
    """

    count: int
    mean: float
    best: bool

    @property
    def tried(self) -> int:
        """Of how many methods this one was chosen: it counts as chosen where it is the best."""
        return self.count if self.best else 1

    def gain(self, sd: float, runs: int) -> float:
        """Return what the best of so many is above their mean by chance alone (Blom, 1958)."""
        return float(stats.norm.ppf((self.count - 0.375) / (self.count + 0.25)) * sd / runs**0.5)


@dataclass(frozen=True)
class Claim:
    """A method against its baseline. Differences are method less baseline, fractions of 1.

    `best_difference` compares maxima over epochs, as is claimed; `difference` (with its interval
    `low` to `high` and p-values) the last epochs, `last_ten_difference` the means of the last ten.
    `selection` is the part of the claimed gain that the last epoch does not show. `verdicts` are
    those under each definition of a repeat; `verdict` is that of the audit's own.
    """

    dataset: str
    model: str
    epochs: int | None
    method: Arm
    baseline: Arm
    headline: bool
    published: float | None
    best_difference: float
    difference: float
    last_ten_difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    verdict: str = UNKNOWN
    reason: str = ""
    verdicts: Mapping[str, str] | None = None
    variants: Variants | None = None

    @property
    def selection(self) -> float:
        """The claimed gain less the gain at the last epoch."""
        return self.best_difference - self.difference


def arms(
    files: Sequence[ResultFile],
    ends: Mapping[str, Ends],
    kinds: Mapping[str, Set[str]],
) -> dict[tuple[str, str, str], Arm]:
    """Return the arms by data set, model and method: equal runs once, doubts from the findings."""
    found: dict[tuple[str, str, str], list[ResultFile]] = {}
    for file in files:
        found.setdefault((file.dataset, file.model, file.canonical), []).append(file)
    return {key: _arm(key[2], members, ends, kinds) for key, members in found.items()}


def _arm(
    name: str,
    files: Sequence[ResultFile],
    ends: Mapping[str, Ends],
    kinds: Mapping[str, Set[str]],
) -> Arm:
    present = {file.path for file in files}
    distinct: dict[bytes, ResultFile] = {}
    for file in files:
        distinct.setdefault(file.curves.to_numpy().tobytes(), file)
    kept = tuple(distinct.values())
    doubts = {kind for path in present for kind in kinds.get(path, ())}
    order = [kind for kind in KINDS if kind in doubts]
    return Arm(name, kept, tuple(ends[file.path] for file in kept), tuple(order))


def variants(
    known: Mapping[tuple[str, str, str], Arm],
) -> dict[tuple[str, str, str], Variants]:
    """Return each method's variants, of its data set and model: names that differ in numbers."""
    families: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for key, arm in known.items():
        families.setdefault((*key[:2], _family(arm)), []).append(key)
    found = {}
    for members in families.values():
        last = {key: known[key].mean("last") for key in members}
        finite = [value for value in last.values() if np.isfinite(value)]
        for key, value in last.items():
            best = bool(finite) and value == max(finite)
            mean = float(np.mean(finite)) if finite else np.nan
            found[key] = Variants(len(members), mean, best)
    return found


def _family(arm: Arm) -> str:
    """Return what a method's name is without its numbers, but with its epochs."""
    file = arm.files[0]
    words = re.sub(r"\d+(?:\.\d+)?", "#", file.canonical)
    return f"{words} {file.epochs}" if file.method else words


def pairs(
    plan: AuditPlan, known: Mapping[tuple[str, str, str], Arm]
) -> tuple[list[tuple[tuple[str, str, str], tuple[str, str, str], bool]], list[str]]:
    """Return (method, baseline, asked for by the configuration) to compare, each a key of `known`.

    And the methods whose baseline has no file. Raises PerturbError where the configuration's claim
    names a method that the folder does not have.
    """
    found = {}
    for claim in plan.claims:
        matches = [
            (_key(known, claim.method, key), _key(known, claim.baseline, key))
            for key in dict.fromkeys((d, m) for d, m, _ in known)
            if not claim.dataset or claim.dataset == key[0]
        ]
        matches = [(one, two) for one, two in matches if one and two]
        if not matches:
            _missing(plan, claim.method, claim.baseline, known)
        found |= dict.fromkeys(matches, True)
    alone = []
    for key, arm in sorted(known.items()):
        baseline = _baseline(plan, arm)
        if baseline is None:
            continue
        other = (*key[:2], baseline)
        if other in known:
            found.setdefault((key, other), False)
        else:
            alone.append(key[2])
    return [(*pair, asked) for pair, asked in found.items()], alone


def _key(
    known: Mapping[tuple[str, str, str], Arm], name: str, place: tuple[str, str]
) -> tuple[str, str, str] | None:
    """Return the key of the method that a claim calls `name`, in whatever spelling."""
    for key, arm in known.items():
        if key[:2] == place and (name == key[2] or name in {file.name for file in arm.files}):
            return key
    return None


def _missing(
    plan: AuditPlan, method: str, baseline: str, known: Mapping[tuple[str, str, str], Arm]
) -> None:
    names_there = sorted({file.name for arm in known.values() for file in arm.files})
    absent = next((n for n in (method, baseline) if n not in names_there), None)
    hint = did_you_mean(absent, names_there) if absent else " They have no data set in common."
    raise PerturbError(
        f"config, audits.{plan.name}.claims: no file for '{method}' against '{baseline}' with one "
        f"data set and model.{hint}"
    )


def _baseline(plan: AuditPlan, arm: Arm) -> str | None:
    """Return the name of the baseline that the rule gives a method; None where there is none."""
    method = arm.files[0].method
    if method is None:
        return None
    plain = [f"{rule}_{method.epochs}" for rule in plan.baselines]
    plain = [names.format(names.parse(name)) for name in plain]
    place = plain.index(arm.name) + 1 if arm.name in plain else 0
    return plain[place] if place < len(plain) else None


def compare(
    method: Arm, baseline: Arm, floor: NoiseFloor, headline: bool, published: float | None
) -> Claim:
    """Return the claim with its interval under a noise floor; its verdict comes from `judge`."""
    file = method.files[0]
    best, last, ten = (method.mean(e) - baseline.mean(e) for e in ("best", "last", "last_ten"))
    epochs = file.epochs
    claim = Claim(
        file.dataset, file.model, epochs, method, baseline, headline, published, best, last, ten
    )
    if floor.sd is None or not np.isfinite(last):
        return claim
    half = floor.half_width(len(method.files), len(baseline.files))
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, floor.degrees_of_freedom)
    p_value = 2 * stats.t.sf(abs(last) / (half / quantile), floor.degrees_of_freedom)
    return replace(claim, low=last - half, high=last + half, p_value=float(p_value))


def judge(claims: Sequence[Claim], floors: Mapping[tuple[str, str], NoiseFloor]) -> list[Claim]:
    """Return the claims with verdicts, corrected over all of them and over what was tried.

    Holm's correction is over the comparisons. Where a method is the best of N variants, its p is at
    least N times its own too: it was chosen among them, compared or not.

    An interval with 0 in it is within noise. One without holds, or is reversed, where that outlives
    Holm's correction and both files are what their names say; else it cannot be told. `floors` are
    by data set and model.
    """
    corrected = holm([claim.p_value for claim in claims])
    return [
        _judged(
            replace(claim, p_value_holm=_of_tried(claim, p)), floors[claim.dataset, claim.model]
        )
        for claim, p in zip(claims, corrected, strict=True)
    ]


def _of_tried(claim: Claim, p_holm: float | None) -> float | None:
    if claim.p_value is None or p_holm is None or claim.variants is None:
        return p_holm
    return max(p_holm, min(1.0, claim.p_value * claim.variants.tried))


def _judged(claim: Claim, floor: NoiseFloor) -> Claim:
    doubts, notes = _doubts(claim), _notes(claim, floor)
    if claim.p_value is None:
        verdict = UNKNOWN
        notes = ["no noise floor" if floor.sd is None else "no last epoch", *notes]
    elif STOPS & {*claim.method.doubts, *claim.baseline.doubts}:
        verdict = UNKNOWN
    elif claim.p_value >= 1 - CONFIDENCE:
        verdict = NOISE
    elif claim.p_value_holm >= 1 - CONFIDENCE:
        verdict = UNKNOWN
        notes.append("more than noise alone, not among so many (Holm)")
    elif doubts:
        verdict = UNKNOWN
    else:
        verdict = HOLDS if claim.difference > 0 else REVERSED
    return replace(claim, verdict=verdict, reason="; ".join([*doubts, *notes]))


def _arms(claim: Claim) -> tuple[tuple[str, Arm], tuple[str, Arm]]:
    """Return both sides of a claim with what they are called."""
    return ("the method", claim.method), ("the baseline", claim.baseline)


def _notes(claim: Claim, floor: NoiseFloor) -> list[str]:
    notes = []
    if "collapse" in claim.method.doubts:
        notes.append("the method collapses")
    for kind, text in NOTED.items():
        whose = [f"of {who}" for who, arm in _arms(claim) if kind in arm.doubts]
        notes += [f"a file {' and one '.join(whose)} {text}"] if whose else []
    if "duplicate" in claim.method.doubts:
        notes.append("its curves are another file's")
    tried = claim.variants
    if tried and tried.tried > 1 and claim.difference > 0:
        chance = (
            f", {points(tried.gain(floor.sd, len(claim.method.files)))} by chance"
            if floor.sd
            else ""
        )
        notes.append(
            f"the best of {tried.count} variants, {points(claim.method.mean('last') - tried.mean)} "
            f"points above their mean {percent(tried.mean)} %{chance}"
        )
    if floor.share > RESTS:
        widest = max(floor.groups, key=lambda group: group.sum_of_squares)
        notes.append(f"noise floor rests on one group ({widest.label}: {100 * floor.share:.0f} %)")
    if floor.excluded and floor.sd is None:
        notes.append("its repeats rest on one group of names, which may differ by more than noise")
    if floor.groups and claim.epochs not in floor.epochs:
        notes.append("noise floor from runs of other lengths")
    return notes


def _doubts(claim: Claim) -> list[str]:
    """Say what keeps a difference from being the method's."""
    words = {
        "truncated": "is truncated",
        "non_finite": "has values that are no numbers",
        "epochs": "has not the epochs of its name",
        "learning_rate": "has a learning rate that climbs again",
        "contradiction": "contradicts its name",
        "never_triggered": "never perturbed",
        "trigger": "has not the trigger of its name",
        "values": "has values that are hardly accuracies",
        "collapse": "collapses",
        "never_learned": "never learned",
    }
    spoiling = {
        "the method": {*NOT_THE_METHOD, "never_learned"},
        "the baseline": {*NOT_THE_METHOD, "collapse", "never_learned"},
    }
    found = []
    lengths = [sorted({len(file.curves) for file in arm.files}) for _, arm in _arms(claim)]
    if (
        claim.epochs is None
        and len({tuple(own) for own in lengths} | {(own[0],) for own in lengths}) > 1
    ):
        said = [" or ".join(map(str, own)) for own in lengths]
        found.append(f"unequal numbers of epochs: {said[0]} against {said[1]}")
    for who, arm in _arms(claim):
        said = [words[kind] for kind in arm.doubts if kind in spoiling[who]]
        found += [f"{who} {' and '.join(said)}"] if said else []
    return found
