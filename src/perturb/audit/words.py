"""An audit as a reader sees it: rows and sentences of plain text, for Markdown and HTML alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perturb.analysis.display import p_text, percent, points
from perturb.audit import own_runs
from perturb.audit.claims import HOLDS, UNKNOWN, VERDICTS, Claim
from perturb.audit.findings import KINDS, NOT_HEALTHY
from perturb.audit.noise import DEFINITIONS, GIVEN, NoiseFloor
from perturb.audit.reading import BESIDE, OTHER, PART, READ, UNREADABLE
from perturb.audit.study import Audit
from perturb.wording import plural

NAMED = 8  # files without results that are named one by one
FEW = 3  # degrees of freedom below which a standard deviation is hardly known
# A name that stands, but less than this surely (log likelihood ratio), is mentioned.
NEARLY = 3.0


@dataclass(frozen=True)
class Table:
    """A table of text: its header, its rows, and which columns are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


def range_text(low: float | None, high: float | None) -> str:
    """Return an interval of differences in points, or nothing."""
    return f"[{points(low)}, {points(high)}]" if points(low) else ""


def summary(audit: Audit) -> list[str]:
    """Return what a reviewer must know first, a sentence or two each."""
    headlines = [claim for claim in audit.claims if claim.headline]
    sentences = [f"{count_verdicts(headlines, *HEADLINES)}."] if headlines else []
    if len(headlines) < len(audit.claims) or not audit.claims:
        sentences.append(f"{count_verdicts(audit.claims, *COMPARISONS)}.")
    compared = [key for key in audit.floors if _has_claims(audit, key)]
    known = [key for key in compared if audit.used_floor(*key).sd is not None]
    sentences += [floor_sentence(audit, *key) for key in known]
    unknown = [place(*key) for key in compared if key not in known]
    if unknown:
        sentences.append(
            f"No verdict where no two repeats differ, so that there is no noise floor: "
            f"{'; '.join(unknown)}."
        )
    sentences += [selection_sentence(audit, headlines)]
    found = Counter(finding.kind for finding in audit.findings)
    kinds = [f"{KINDS[kind].lower()} ({found[kind]})" for kind in KINDS if found[kind]]
    sentences.append(f"Found in the files: {', '.join(kinds)}." if kinds else "No file is suspect.")
    sentences.append(accounts(audit))
    if audit.guessed:
        sentences.append(
            f"Guessed, since the configuration does not say it: {'; '.join(audit.guessed)}. Below "
            "stand the lines of configuration that would say it."
        )
    return sentences


def accounts(audit: Audit) -> str:
    """Account for every file of the folder."""
    states = Counter(file.state for file in audit.files)
    read = audit.read_files()
    parsed = sum(file.method is not None for file in read)
    listed = sum(file.name in audit.plan.outside_grammar for file in read)
    rest = len(read) - parsed - listed
    parts = f"{plural(states[PART], 'part')} of a run, " if states[PART] else ""
    strays = [file.path.replace("\n", "\\n") for file in audit.files if file.state == OTHER]
    named = (
        f" ({', '.join(strays[:NAMED])}{' ...' if len(strays) > NAMED else ''})" if strays else ""
    )
    # The same file for all runs that it holds; a name may have the sign of its own.
    count = len({(file.path.partition("#")[0], file.sha256) for file in audit.files})
    runs = f", {len(audit.files)} runs" if count < len(audit.files) else ""
    beside = (
        f", {states[BESIDE]} that perturb keeps beside its runs' curves ({own_runs.WORDS})"
        if states[BESIDE]
        else ""
    )
    said = (
        f"{plural(count, 'file')}{runs}, all accounted for: {states[READ]} read, {parts}"
        f"{states[UNREADABLE]} unreadable, {states[OTHER]} without results{named}{beside}."
    )
    if not read:
        return said
    if rest == len(read):
        return f"{said} None is named by perturb's rules: each method is called as its file is."
    kinds = [
        (parsed, "by perturb's rules (docs/method-names.md)"),
        (listed, "by a name that a study lists beside those rules"),
        (rest, "otherwise, and called as the file is"),
    ]
    told = ", ".join(f"{number} named {how}" for number, how in kinds if number)
    return f"{said} Of those read, {told}."


def _has_claims(audit: Audit, key: tuple[str, str]) -> bool:
    return any((claim.dataset, claim.model) == key for claim in audit.claims)


# One, and several.
HEADLINES = ("headline claim", "headline claims")
COMPARISONS = ("comparison with a baseline", "comparisons with a baseline")


def count_verdicts(claims: Sequence[Claim], one: str, several: str) -> str:
    """Return how many of the claims have each verdict."""
    if not claims:
        return f"There is no {one}"
    if len(claims) == 1:
        verdict = claims[0].verdict
        said = verdict if verdict in (HOLDS, UNKNOWN) else f"is {verdict}"
        return f"The one {one} {said}"
    counts = Counter(claim.verdict for claim in claims)
    held = f"{counts[HOLDS]} of {len(claims)} {several} {'holds' if counts[HOLDS] == 1 else 'hold'}"
    if not counts[HOLDS]:
        held = f"None of {len(claims)} {several} holds"
    rest = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict != HOLDS]
    return f"{held}; {', '.join(rest)}"


def floor_text(floor: NoiseFloor) -> str:
    """Return a noise floor in points with its interval and degrees of freedom."""
    return (
        f"{percent(floor.sd)} points (df {floor.degrees_of_freedom}, 95 % interval "
        f"{percent(floor.low)} to {percent(floor.high)})"
    )


def floor_sentence(audit: Audit, dataset: str, model: str) -> str:
    """Say what the noise floor of a data set and model is, and what it lets one see."""
    floor = audit.used_floor(dataset, model)
    hardly = ", so it is hardly known" if floor.degrees_of_freedom < FEW else ""
    runs = floor.runs_to_resolve(0.004)
    return (
        f"{place(dataset, model)}: last epochs of repeats "
        f"({DEFINITIONS.get(floor.definition, GIVEN)}) differ by a standard deviation of "
        f"{floor_text(floor)}{hardly}. One run against one shows a difference of "
        f"{percent(floor.half_width(1, 1))} points or more; 0.40 points take {runs} runs an arm "
        "(80 % power)."
    )


def selection_sentence(audit: Audit, headlines: Sequence[Claim]) -> str:
    """Say what choosing the best epoch on test adds, to a file and to the headline claims."""
    unhealthy = {f.path for f in audit.findings if f.kind in NOT_HEALTHY}
    gains = [e.best - e.last for path, e in audit.ends.items() if path not in unhealthy]
    sound = [c for c in headlines if np.isfinite(c.difference) and c.verdict != UNKNOWN]
    text = (
        f"Choosing the best of all epochs on test adds {percent(float(np.mean(gains)))} points to "
        f"a healthy file on average, {percent(float(np.max(gains)))} at most."
        if gains
        else "No file is healthy enough to say what choosing the best epoch adds."
    )
    if not sound:
        return text
    best, last = (float(np.mean([getattr(c, k) for c in sound])) for k in _GAINS)
    if len(sound) == 1:
        who, whose = "The one headline claim that can be told gains", "its"
    else:
        who, whose = f"The {len(sound)} headline claims that can be told gain", "their"
    return (
        f"{text} {who} {points(best)} points in {whose} best epochs and {points(last)} in "
        f"{whose} last."
    )


def holm_sentence(audit: Audit) -> str:
    """Say over what the p-values are corrected."""
    if len(audit.claims) < 2:
        return "p is after Holm's correction, which leaves that of a single comparison as it is."
    return f"p is corrected after Holm over all {len(audit.claims)} comparisons of this page."


def verdict_sentence() -> str:
    """Say what the verdicts mean."""
    return (
        "Within noise: the interval holds 0. Holds, reversed: it does not, p after Holm is below "
        "0.05, and nothing that was found says that a file is not what its name says. A file that "
        "was started again is: its last complete attempt counts. Cannot be told: no noise floor, "
        "too many comparisons for so small a difference, or a file that is not what its name says."
    )


_GAINS = ("best_difference", "difference")


CLAIMS_HEADER = (
    "Verdict",
    "Method",
    "Baseline",
    "Runs",
    "Best epochs",
    "Last epoch",
    "95 % interval",
    "Last ten",
    "Selection",
    "p (Holm)",
    "Why, and what else",
)


def claims_tables(claims: Sequence[Claim], audit: Audit) -> dict[str, Table]:
    """Return the claims by data set and model: differences in points, intervals, verdicts."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for claim in claims:
        rows.setdefault(place(claim.dataset, claim.model), []).append(_claim_row(claim, audit))
    numbers = frozenset(range(3, 10))
    return {where: Table(CLAIMS_HEADER, tuple(own), numbers) for where, own in rows.items()}


def _claim_row(claim: Claim, audit: Audit) -> tuple[str, ...]:
    floors = audit.floors[claim.dataset, claim.model]
    # A definition without a noise floor says nothing, and is not among those that the page shows.
    others = {
        verdict
        for definition, verdict in (claim.verdicts or {}).items()
        if floors[definition]["last"].sd is not None and verdict != claim.verdict
    }
    return (
        claim.verdict,
        claim.method.name,
        claim.baseline.name,
        f"{len(claim.method.files)} / {len(claim.baseline.files)}",
        points(claim.best_difference),
        points(claim.difference),
        range_text(claim.low, claim.high),
        points(claim.last_ten_difference),
        points(claim.selection),
        p_text(claim.p_value_holm),
        "; ".join(filter(None, [claim.reason, *_other_verdicts(others)])),
    )


def place(dataset: str, model: str) -> str:
    """Return a data set and a model as a heading has them."""
    return ", ".join(filter(None, [dataset, model])) or "all files"


def _other_verdicts(verdicts: set[str]) -> list[str]:
    said = " or ".join(sorted(verdicts))
    return [f"{said} under another definition of a repeat"] if said else []


def floors_table(audit: Audit) -> Table:
    """Return the noise floor by data set, model and definition of a repeat."""
    rows = []
    for (dataset, model), own in audit.floors.items():
        for definition, ends in own.items():
            if ends["last"].sd is None:
                continue
            used = ends["last"] is audit.used_floor(dataset, model)
            rows.append(
                (
                    place(dataset, model),
                    DEFINITIONS.get(definition, GIVEN) + (" (used)" if used else ""),
                    percent(ends["last"].sd),
                    percent(ends["best"].sd),
                    str(ends["last"].degrees_of_freedom),
                    f"{percent(ends['last'].low)} to {percent(ends['last'].high)}",
                )
            )
    header = ("Data, model", "Repeats", "sd, last", "sd, best", "df", "95 % interval, last")
    return Table(header, tuple(rows), frozenset({2, 3, 4, 5}))


def repeats_table(audit: Audit) -> Table:
    """Return the groups that the used noise floors are from, widest first."""
    rows = []
    for dataset, model in audit.floors:
        floor = audit.used_floor(dataset, model)
        total = sum(group.sum_of_squares for group in floor.groups) or 1.0
        for group in sorted(floor.groups, key=lambda g: -g.sum_of_squares):
            rows.append(
                (
                    place(dataset, model),
                    group.label,
                    " ".join(percent(value) for value in group.values),
                    percent(max(group.values) - min(group.values)),
                    f"{100 * group.sum_of_squares / total:.0f} %",
                )
            )
        for group in floor.excluded:
            values = " ".join(percent(value) for value in group.values)
            reach = percent(max(group.values) - min(group.values))
            rows.append((place(dataset, model), group.label, values, reach, "left out"))
    header = ("Data, model", "Repeats", "Last epochs (%)", "Range", "Share of the variance")
    return Table(header, tuple(rows), frozenset({3, 4}))


def held_sentence(audit: Audit) -> str:
    """Say which schedules the configuration says were held at their first value, or nothing."""
    if not audit.plan.held:
        return ""
    return (
        f"Runs of {', '.join(audit.plan.held)} count as constants, since the configuration says "
        "(held) that their schedules never left their first value."
    )


def alike_table(audit: Audit) -> Table:
    """Return the configurations that stand under several names, and how far their files differ."""
    rows = []
    for one in audit.alike:
        ends = [audit.ends[file.path] for file in one.files]
        last, best = ([getattr(end, name) for end in ends] for name in ("last", "best"))
        rows.append(
            (
                place(one.dataset, one.model),
                one.run,
                ", ".join(file.name for file in one.files),
                " ".join(map(percent, last)),
                percent(max(last) - min(last)),
                percent(max(best) - min(best)),
            )
        )
    header = ("Data, model", "Run as", "Names", "Last epochs (%)", "Range", "Range of the best")
    return Table(header, tuple(rows), frozenset({4, 5}))


def published_table(audit: Audit) -> Table:
    """Return the published numbers beside those of the files."""
    said = {True: "agree", False: "DISAGREE", None: "no file"}
    rows = [
        (
            row.dataset,
            row.method,
            percent(row.accuracy),
            percent(row.best),
            percent(row.last),
            said[row.agrees],
            ", ".join(row.paths),
        )
        for row in audit.published
    ]
    header = ("Data", "Row of the study", "Published", "File, best", "File, last", "", "File")
    return Table(header, tuple(rows), frozenset({2, 3, 4}))


def findings_table(audit: Audit, kind: str) -> Table:
    """Return the findings of one kind."""
    rows = [(found.path, found.text) for found in audit.of_kind(kind)]
    return Table(("File", "Evidence"), tuple(rows))


def doubtful(audit: Audit) -> list[str]:
    """Say which schedules nearly contradict their names, and which could not be tested."""
    verified = audit.verifications.values()
    tested = sum(item.tested for item in verified)
    near = [v for v in verified if v.tested and not v.contradicts and v.evidence >= NEARLY]
    untested = [v.path for v in verified if v.scheduled and not v.tested]
    if not any(v.scheduled for v in verified):
        return ["No name has a radius schedule that its curve could be tested against."]
    said = [
        f"{plural(tested, 'name')} with a radius schedule could be tested. Scale schedules hardly "
        "move the training loss and cannot be."
    ]
    if near:
        named = [f"{v.path} ({v.evidence:.1f})" for v in near]
        said.append(f"In doubt, but with too little evidence to say so: {', '.join(named)}.")
    if untested:
        said.append(f"Too few neighbours, or no law to be seen in them: {', '.join(untested)}.")
    return said


def files_table(audit: Audit) -> Table:
    """Return every file with its three accuracies and what was found in it.

    Of perturb's own runs only the curves: what lies beside them is counted once (`accounts`).
    """
    kinds: dict[str, list[str]] = {}
    for finding in audit.findings:
        kinds.setdefault(finding.path, []).append(finding.kind.replace("_", " "))
    rows = []
    for file in audit.files:
        if file.state == BESIDE:
            continue
        ends = audit.ends.get(file.path)
        if ends is None:
            rows.append(
                (file.path, "", "", "", "", "", ", ".join(kinds.get(file.path, [file.state])))
            )
            continue
        rows.append(
            (
                file.path,
                str(len(file.curves)),
                f"{percent(ends.best)} ({ends.best_epoch})",
                percent(ends.last),
                percent(ends.last_ten),
                percent(ends.best - ends.last),
                ", ".join(sorted(set(kinds.get(file.path, [])))),
            )
        )
    header = ("File", "Epochs", "Best (epoch)", "Last", "Last ten", "Best - last", "Found")
    return Table(header, tuple(rows), frozenset({1, 2, 3, 4, 5}))
