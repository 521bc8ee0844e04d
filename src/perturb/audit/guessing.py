"""What a configuration leaves open, told from the files: format, fields, method, seed, baseline."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import msgspec

from perturb import names
from perturb.audit import own_runs
from perturb.audit.plan import AUDIT_FIELDS, AUDIT_PATTERN, AuditPlan, ClaimAsked
from perturb.audit.sheets import Sheet
from perturb.audit.sources import SEED, Source, looks_like_results
from perturb.errors import PerturbError

SERIES = ("test_accuracy", "train_loss", "test_loss", "train_accuracy")
_EPOCHS = ("epoch", "epochs", "ep", "_epoch", "current_epoch", "trainer/epoch")
_STEPS = ("step", "_step", "global_step", "steps", "iteration", "iter", "trainer/global_step")
_ACCURACY = {"acc", "accuracy", "top1", "acc1"}
_TEST, _VALIDATION = {"test"}, {"val", "valid", "validation", "eval", "dev"}
_TRAIN = {"train", "training", "tr"}
# Numbers beside an accuracy or a loss that are not it by epoch.
_NOT = {
    "top5",
    "acc5",
    "best",
    "max",
    "min",
    "std",
    "runtime",
    "time",
    "lr",
    "batch",
    "error",
    "err",
}
_BASELINES = (
    *("baseline", "base", "vanilla", "control", "reference", "default", "standard", "plain", "erm"),
    *("sgd", "momentum", "adam", "adamw", "rmsprop"),
)


def resolve(
    plan: AuditPlan, sources: Sequence[Source], runs: Collection[str] = ()
) -> tuple[AuditPlan, list[str]]:
    """Return the plan with nothing left open, and sentences that say what was guessed.

    `runs` are the folders of perturb's own runs, whose pattern is known.
    """
    said: list[str] = []
    accuracy = plan.fields.get("test_accuracy", "")
    if not may_be_a_curve(accuracy):
        said.append(
            f"test_accuracy is '{accuracy}', which by its name is no accuracy by epoch: what "
            "is said of last and best epochs is not told by these files"
        )
    formats = Counter(s.sheet.format for s in sources if s.sheet and s.sheet.columns)
    if not plan.pattern and runs:
        said.append(
            "perturb's own runs: data set, model, method and seed from the path, or from "
            f"record.json beside, by the pattern {own_runs.PATTERN}"
        )
        plan = replace(plan, pattern=own_runs.PATTERN)
    if not plan.pattern:
        likely = [s.label for s in sources if _may_be(s)] or [s.label for s in sources]
        pattern = pattern_of(list(dict.fromkeys(likely)))
        if formats:
            shown = ", ".join(f"{words} ({count})" for words, count in formats.most_common(4))
            said.append(f"format: {shown}")
        said.append(f"data set, method and seed from the path, by the pattern {pattern}")
        plan = replace(plan, pattern=pattern)
    if not plan.fields:
        sheets = [s.sheet for s in sources if s.sheet and s.sheet.columns]
        fields = fields_of(sheets)
        plan = replace(plan, fields={"test_accuracy": "test_accuracy", **(fields or AUDIT_FIELDS)})
        if fields and fields != AUDIT_FIELDS:
            shown = ", ".join(f"{ours} is '{theirs}'" for ours, theirs in fields.items())
            said.append(f"fields: {shown}")
    return plan, said


def _may_be(source: Source) -> bool:
    return (
        source.sheet is not None and bool(source.sheet.columns) and looks_like_results(source.path)
    )


def pattern_of(paths: Sequence[str]) -> str:
    """Return the pattern that says of most paths which method, and which seed, they are of."""
    if not paths:
        return AUDIT_PATTERN
    counts = Counter("." + p.rpartition(".")[2] for p in paths if "." in p.rpartition("/")[2])
    suffixes = sorted(suffix for suffix in counts if re.fullmatch(r"\.\w+", suffix)) or [".csv"]
    end = "|".join(re.escape(suffix) for suffix in suffixes)
    end = end if len(suffixes) == 1 else f"(?:{end})"
    files = Counter(path.rpartition("/")[2] for path in paths)
    same = len(paths) > 1 and max(files.values()) > len(paths) / 2  # metrics.csv in each folder
    scored = []
    for place, (pattern, needs) in enumerate(_patterns(end)):
        if (needs == "folders") != same and needs in ("folders", "files"):
            continue
        found = [m for m in (re.fullmatch(pattern, path) for path in paths) if m]
        if found and _sensible(found, numbered="(?:[-_](?P<seed>" in pattern):
            scored.append((len(found), -place, pattern))
    best = max(score[0] for score in scored) if scored else 0
    # A word such as seed says more than that a pattern fits most files: others may be strays.
    near = [score for score in scored if score[0] >= (0.4 if SEED in score[2] else 0.6) * best]
    return max(near, key=lambda score: score[1])[2] if near else AUDIT_PATTERN


def _patterns(end: str) -> list[tuple[str, str]]:
    """Return patterns, the most telling first, and whether files or their folders are named."""
    data = r"(?:(?P<dataset>.+)/)?"
    number = r"(?:[-_](?P<seed>\d{1,4}))"
    inside = rf"(?:/[^/]+)*/[^/]+{end}"
    return [
        (
            r"(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<method>[^/]+)/seed(?P<seed>\d+)/epochs\.csv",
            "",
        ),
        (rf"{data}(?P<method>[^/]+?){SEED}{end}", "files"),
        (rf"{data}(?P<method>[^/]+)/(?:seed|run|rep|trial|fold|s)[-_]?(?P<seed>\d+){end}", ""),
        (
            rf"{data}(?P<method>[^/]+)/(?:seed|run|rep|trial|fold|version|s)[-_]?(?P<seed>\d+){inside}",
            "folders",
        ),
        (rf"{data}(?P<method>[^/]+?){SEED}{inside}", "folders"),
        (rf"{data}(?P<method>[^/]+)/(?P<seed>\d{{1,4}}){inside}", "folders"),
        (rf"{data}(?P<method>[^/]+)/(?P<seed>\d{{1,4}}){end}", ""),
        (rf"{data}(?P<method>[^/]+?){number}{end}", "files"),
        (rf"{data}(?P<method>[^/]+?){number}/[^/]+{end}", "folders"),
        (rf"{data}(?P<method>[^/]+)/[^/]+{end}", "folders"),
        (rf"{data}(?P<method>[^/]+){end}", "files"),
    ]


def _sensible(found: Sequence[re.Match[str]], numbered: bool) -> bool:
    """Return whether a number at a name's end may be a seed: most have several, none is epochs."""
    if not numbered:
        return True
    methods = Counter((m["dataset"], m["method"]) for m in found)
    grammatical = sum(_parses(f"{m['method']}_{m['seed']}") for m in found)
    several = sum(count > 1 for count in methods.values())
    return several * 2 > len(methods) and grammatical * 2 <= len(found)


@lru_cache
def _parses(name: str) -> bool:
    try:
        names.parse(name)
    except PerturbError:
        return False
    return True


def fields_of(sheets: Iterable[Sheet]) -> dict[str, str]:
    """Return which column holds which series, by its words, in most of the sheets."""
    votes: dict[str, Counter[str]] = {name: Counter() for name in SERIES}
    for sheet in sheets:
        for series, column in _columns(sheet).items():
            votes[series][column] += 1
    return {series: count.most_common(1)[0][0] for series, count in votes.items() if count}


def _columns(sheet: Sheet) -> dict[str, str]:
    numeric = {
        name: sum(isinstance(cell, float) for cell in cells)
        for name, cells in sheet.columns.items()
        if sum(isinstance(cell, float) for cell in cells) >= min(2, len(cells))
        and not any(isinstance(cell, str) for cell in cells)
    }
    found: dict[str, str] = {}
    for series in SERIES:
        ranked = [(_fit(series, name), count, -len(name), name) for name, count in numeric.items()]
        ranked = [item for item in ranked if item[0] and item[3] not in found.values()]
        if ranked:
            found[series] = max(ranked)[3]
    return found


def words_of(name: str) -> set[str]:
    """Return the words of a column's name: "valid.acc", "eval_top1" and "Top-1 Acc" alike."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    text = re.sub(r"(?:top|acc)[-_@ ]?([15])\b", r"top\1", text)
    return {word for word in re.split(r"[^a-z0-9]+", text) if word}


def same_words(one: str, other: str) -> bool:
    """Return whether two names are one column's: "Test Accuracy" and "test_acc"."""
    first, second = (
        {"acc" if word == "accuracy" else word for word in words_of(name)} for name in (one, other)
    )
    return bool(first) and first == second


def spelled_otherwise(column: str, field: str) -> bool:
    """Return whether a column is `field` by its words alone, neither itself nor what it ends in."""
    return column != field and not column.endswith(f".{field}") and same_words(column, field)


def may_be_a_curve(name: str) -> bool:
    """Return whether a column's name may be that of a curve, not of its best or a rate."""
    return not words_of(name) & _NOT


def _fit(series: str, name: str) -> int:
    """Return how well a column's name fits a series, 0 for not at all."""
    words = words_of(name)
    split, quantity = series.split("_")
    if words & _NOT or (quantity == "accuracy" and "loss" in words):
        return 0
    if not (words & _ACCURACY if quantity == "accuracy" else "loss" in words):
        return 0
    held = words & (_TEST | _VALIDATION)
    if split == "train":
        return 3 if words & _TRAIN else 0 if held else 2
    return (
        0
        if words & _TRAIN
        else 4
        if words & _TEST
        else 3
        if held
        else 1
        if quantity == "accuracy"
        else 0
    )


def ordering(sheet: Sheet, field: str, plan: AuditPlan) -> tuple[str | None, str | None]:
    """Return the columns with the epoch and the step of the rows that `field` is in, or None."""
    parent = field.rpartition(".")[0]
    length = len(sheet.columns[field])
    near = {
        name.removeprefix(f"{parent}." if parent else "").lower().strip(): name
        for name, cells in sheet.columns.items()
        if name.rpartition(".")[0] == parent and len(cells) == length and name != field
    }
    wanted = plan.fields.get("epoch")
    epoch = (
        wanted if wanted in sheet.columns else next((near[n] for n in _EPOCHS if n in near), None)
    )
    return epoch, next((near[n] for n in _STEPS if n in near), None)


def with_baseline(plan: AuditPlan, methods: Mapping[str, str]) -> tuple[AuditPlan, list[str]]:
    """Return the plan with baselines, and what was guessed; `methods` are canonical, by name."""
    if plan.baselines:
        return plan, []
    if any(re.fullmatch(r"(?:pugd|sgd)_\d+", method) for method in methods.values()):
        return replace(plan, baselines=("pugd", "sgd")), []
    plan = replace(plan, baselines=("pugd", "sgd"))
    if plan.claims:
        return plan, []
    ranked = [
        (min(_BASELINES.index(word) for word in own), len(name), name)
        for name in methods
        if (own := words_of(name.replace("_", " ")) & set(_BASELINES))
    ]
    others = sorted(methods)
    if not ranked:
        return plan, [
            "no baseline: none of the names says that it is one. Say it with "
            f"claims: [{{method: {others[0]}, baseline: {others[-1]}}}]"
        ] if len(others) > 1 else []
    baseline = min(ranked)[2]
    claims = tuple(ClaimAsked(name, baseline) for name in others if name != baseline)
    if not claims:
        return plan, []
    return replace(plan, claims=claims), [f"baseline: {baseline}, by its name"]


# Keys of an audit that no file tells: as the configuration had them.
_AS_GIVEN = ("title", "runs", "dataset", "datasets", "model", "accuracy", "repeats", "noise_floor")
_AS_GIVEN += ("held",)


def configuration(plan: AuditPlan, grammatical: bool) -> str:
    """Return the YAML of the whole audit, what was guessed among it: it works as it stands.

    `grammatical`: a method of the folder is named in perturb's grammar, else baselines say nothing.
    """
    lines = ["audits:", f"  {plan.name}:"]
    lines.append(f"    folder: {_quoted(plan.folder_given or plan.folder)}")
    lines.append(f"    pattern: {_quoted(plan.pattern)}")
    fields = ", ".join(f"{ours}: {_quoted(theirs)}" for ours, theirs in plan.fields.items())
    lines.append(f"    fields: {{{fields}}}")
    default = AuditPlan("", "")
    for key in _AS_GIVEN:
        if getattr(plan, key) != getattr(default, key):
            value = msgspec.to_builtins(getattr(plan, key))
            lines.append(f"    {key}: {json.dumps(value, ensure_ascii=False)}")  # JSON is YAML
    if grammatical:
        lines.append(f"    baselines: [{', '.join(plan.baselines)}]")
    if plan.claims:
        lines.append("    claims:")
        for claim in plan.claims:
            words = {"method": claim.method, "baseline": claim.baseline, "dataset": claim.dataset}
            said = ", ".join(f"{key}: {_quoted(word)}" for key, word in words.items() if word)
            lines.append(f"    - {{{said}}}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
