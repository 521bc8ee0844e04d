"""An audit: from a folder of result files to claims with verdicts, and the evidence for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perturb import names
from perturb.audit import claims as claiming
from perturb.audit import noise, schedules
from perturb.audit.claims import Claim
from perturb.audit.curves import Ends, check_curves, ends_of
from perturb.audit.findings import NOT_HEALTHY, Finding
from perturb.audit.guessing import configuration
from perturb.audit.held import Configuration, alike, run_as_held
from perturb.audit.noise import DEFINITIONS, GIVEN, NoiseFloor
from perturb.audit.plan import AuditPlan
from perturb.audit.reading import READ, ResultFile, canonical, read
from perturb.audit.schedules import Expectation, Verification
from perturb.audit.timings import check_timings

PRECISION = 5e-5  # half of the last digit that is published


@dataclass(frozen=True)
class PublishedNumber:
    """A number that the study lists as published, beside the files it can be from.

    `best` and `last` are the ends of the file that is nearest; `agrees` is None without a file.
    """

    dataset: str
    method: str
    accuracy: float
    paths: tuple[str, ...]
    best: float | None = None
    last: float | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether the file's maximum is the published number, to its last digit."""
        return None if self.best is None else abs(self.best - self.accuracy) < PRECISION


@dataclass(frozen=True)
class Audit:
    """Everything that an audit found. `ends`, `run` and `verifications` are by path.

    `plan` leaves nothing open, `guessed` says what it had left open, in sentences.

    `floors` has the noise floor by data set and model, then by definition, then by end (`last`,
    `best`); `run` what was run where the curve contradicts the name, or where the configuration
    says that schedules were held at their first value; `alone` the methods whose
    baseline has no file.
    """

    plan: AuditPlan
    files: tuple[ResultFile, ...]
    ends: Mapping[str, Ends]
    findings: tuple[Finding, ...]
    verifications: Mapping[str, Verification]
    run: Mapping[str, names.Method]
    floors: Mapping[tuple[str, str], Mapping[str, Mapping[str, NoiseFloor]]]
    claims: tuple[Claim, ...]
    alone: tuple[str, ...]
    published: tuple[PublishedNumber, ...]
    guessed: tuple[str, ...] = ()

    @property
    def configuration(self) -> str:
        """The lines of configuration that would say what was guessed, the whole audit's."""
        return configuration(self.plan, any(file.method for file in self.read_files()))

    def of_kind(self, kind: str) -> list[Finding]:
        """Return the findings of one kind, by path."""
        return sorted((f for f in self.findings if f.kind == kind), key=lambda f: f.path)

    @property
    def alike(self) -> tuple[Configuration, ...]:
        """The configurations that stand under several names, as they were run."""
        return alike(self.read_files(), self.run)

    def read_files(self) -> list[ResultFile]:
        """Return the files that could be read."""
        return [file for file in self.files if file.state == READ]

    def used_floor(self, dataset: str, model: str) -> NoiseFloor:
        """Return the noise floor, of the last epoch, that verdicts are given under."""
        own = self.floors[dataset, model]
        return own[GIVEN if GIVEN in own else self.plan.repeats]["last"]


def build(plan: AuditPlan) -> Audit:
    """Read the folder of `plan` and audit it; PerturbError where either is wrong."""
    found = read(plan)
    plan, files, findings = found.plan, found.files, list(found.findings)
    good = [file for file in files if file.state == READ]
    ends = {file.path: ends_of(file.accuracy, file.accuracy_epochs) for file in good}
    verified = {item.path: item for item in schedules.verify(good)}
    run = {path: item.run for path, item in verified.items() if item.contradicts}
    run |= run_as_held(good, plan.held)

    def heats(file: ResultFile) -> bool:
        method = run.get(file.path, file.method)
        # A rule that sets in at mid-run raises the loss there, as a growing radius does.
        return method is not None and (schedules.rises(method) or method.timing is not None)

    findings += [*check_curves(good, heats), *check_timings(good)]
    findings += [
        Finding(item.path, "contradiction", explain(item))
        for item in verified.values()
        if item.contradicts
    ]
    floors = _floors(plan, good, ends, findings, run)
    published = _published(plan, good, ends, run)
    audit = Audit(
        plan,
        tuple(files),
        ends,
        tuple(findings),
        verified,
        run,
        floors,
        (),
        (),
        published,
        found.guessed,
    )
    claims, alone = _claims(audit)
    return replace(audit, claims=tuple(claims), alone=tuple(alone))


def explain(item: Verification) -> str:
    """Say by what evidence a curve contradicts its name."""
    parts = [_expectation(end) for end in item.ends]
    run = f"What fits is {canonical(item.run)} ({schedules.READINGS[item.reading]})"
    also = f", and about as well: {', '.join(item.others)}" if item.others else ""
    return f"{'; '.join(parts)}. {run}{also}; log likelihood ratio to the name {item.evidence:.1f}."


def _expectation(end: Expectation) -> str:
    return (
        f"{end.end} epoch: a radius of {end.named_radius:.3g} as named, at which its neighbours' "
        f"training loss is about {end.expected:.3g}; found {end.found:.3g}, which fits the radius "
        f"{end.run_radius:.3g}"
    )


def _floors(
    plan: AuditPlan,
    files: Sequence[ResultFile],
    ends: Mapping[str, Ends],
    findings: Sequence[Finding],
    run: Mapping[str, names.Method],
) -> dict[tuple[str, str], dict[str, dict[str, NoiseFloor]]]:
    """Return noise floors by data set and model, by definition, by end: of healthy files only."""
    unhealthy = {finding.path for finding in findings if finding.kind in NOT_HEALTHY}
    healthy = [f for f in files if f.path not in unhealthy and np.isfinite(ends[f.path].last)]
    floors: dict[tuple[str, str], dict[str, dict[str, NoiseFloor]]] = {}
    for key in dict.fromkeys((file.dataset, file.model) for file in files):
        group = [file for file in healthy if (file.dataset, file.model) == key]
        floors[key] = {
            definition: {
                end: noise.pooled(
                    definition,
                    noise.repeats(
                        group, lambda f, end=end: getattr(ends[f.path], end), definition, run
                    ),
                )
                for end in ("last", "best")
            }
            for definition in DEFINITIONS
        }
        if plan.noise_floor:
            given = plan.noise_floor
            floor = noise.floor_of(GIVEN, given.sd, given.degrees_of_freedom)
            floors[key][GIVEN] = {"last": floor, "best": floor}
    return floors


def _published(
    plan: AuditPlan,
    files: Sequence[ResultFile],
    ends: Mapping[str, Ends],
    run: Mapping[str, names.Method],
) -> tuple[PublishedNumber, ...]:
    """Set the study's published numbers beside the files of that name, or run as that method."""
    datasets = {file.dataset for file in files}
    found = []
    for row in plan.published:
        if row.dataset not in datasets:
            continue
        wanted = canonical(names.parse(row.method))
        model = names.parse(row.method).model or plan.model
        own = [
            file
            for file in files
            if (file.dataset, file.model) == (row.dataset, model) and wanted == _as_run(file, run)
        ]
        nearest = min(own, key=lambda f: abs(ends[f.path].best - row.accuracy), default=None)
        values = (ends[nearest.path].best, ends[nearest.path].last) if nearest else (None, None)
        paths = tuple(file.path for file in own)
        found.append(PublishedNumber(row.dataset, row.method, row.accuracy, paths, *values))
    return tuple(found)


def _as_run(file: ResultFile, run: Mapping[str, names.Method]) -> str:
    """Return the name of what a file holds: the schedule and the epochs that were run."""
    method = run.get(file.path, file.method)
    if method is None:
        return file.name
    timed = method.timing is not None or method.rule != "sgd"
    return canonical(method if timed else replace(method, epochs=len(file.curves)))


def _claims(audit: Audit) -> tuple[list[Claim], list[str]]:
    """Return the claims with verdicts under every definition of a repeat, headlines first."""
    kinds: dict[str, set[str]] = {}
    for finding in audit.findings:
        kinds.setdefault(finding.path, set()).add(finding.kind)
    known = claiming.arms(audit.read_files(), audit.ends, kinds)
    pairs, alone = claiming.pairs(audit.plan, known)
    variants = claiming.variants(known)
    published = {path: row.accuracy for row in audit.published for path in row.paths}

    def under(floors: Mapping[tuple[str, str], NoiseFloor]) -> list[Claim]:
        made = []
        for method, baseline, asked in pairs:
            arm = known[method]
            number = next((published[f.path] for f in arm.files if f.path in published), None)
            floor = floors[method[:2]]
            headline = asked or number is not None
            claim = claiming.compare(arm, known[baseline], floor, headline, number)
            made.append(replace(claim, variants=variants[method]))
        return claiming.judge(made, floors)

    used = under({key: audit.used_floor(*key) for key in audit.floors})
    by_definition = {
        definition: under({key: own[definition]["last"] for key, own in audit.floors.items()})
        for definition in DEFINITIONS
    }
    judged = [
        replace(claim, verdicts={name: made[i].verdict for name, made in by_definition.items()})
        for i, claim in enumerate(used)
    ]
    return sorted(judged, key=_order), sorted(set(alone))


def _order(claim: Claim) -> tuple[bool, str, str, int, float, str]:
    return (
        not claim.headline,
        claim.dataset,
        claim.model,
        -(claim.epochs or 0),
        -claim.difference if np.isfinite(claim.difference) else 0.0,
        claim.method.name,
    )
