"""What the numbers of a table say and cannot say, in plain sentences: a chapter's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from perturb.analysis import display, tables, training
from perturb.analysis.plan import Plan
from perturb.analysis.statistics import LEVEL, POWER
from perturb.analysis.tables import ComparisonTable
from perturb.data import variants
from perturb.figures.catalogue import listing
from perturb.study import Words

_FACTS = {
    "Protocol": "protocol",
    "Device": "device",
    "Versions": "versions",
    "Data": "data",
    "SHA-256 of the data": "data_sha256",
}

_NAMED = 3  # methods that no test decides


def comparison(settings: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Words:
    """Return the words of a chapter that compares methods: `settings["plan"]`, its table."""
    table = tables.of_frame(frames[""], Plan.of(settings["plan"]))
    facts = {name: " | ".join(_values(table, column)) for name, column in _FACTS.items()}
    facts["Protocol"] = display.PROTOCOLS.get(facts["Protocol"], facts["Protocol"])
    return Words(
        heading=display.heading(table),
        what=" ".join(filter(None, (what_was_run(table), _training(table), _clean(table)))),
        warnings=table.warnings,
        findings=findings(table),
        facts={name: text or "unknown" for name, text in facts.items()},
    )


def ranking(settings: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Words:
    """Return the words of a chapter that ranks methods over data sets (`settings["plans"]`)."""
    frame, plans = frames[""], [Plan.of(plan) for plan in settings["plans"]]
    datasets = listing(plan.dataset for plan in plans)
    if frame.empty:
        nothing = f"No method finished on each of {datasets}: there is nothing to rank."
        return Words(heading="All data sets", what=nothing)
    best = frame[frame["mean_rank"] == frame["mean_rank"].min()]
    first = listing(sorted(best["method"]))
    has = "has the best mean rank" if len(best) == 1 else "share the best mean rank"
    return Words(
        heading="All data sets",
        what=f"{count(len(frame), 'method')} that finished on each of "
        f"{datasets}, ranked by their mean last-epoch "
        f"{plans[0].measure.words}.",
        findings=[
            # First, for a name such as pugd_100 reads like a hundred epochs.
            *filter(None, [settings.get("names", "")]),
            f"{first} {has}: {best['mean_rank'].iloc[0]:.2f} among {count(len(frame), 'method')}.",
            frame["test"].iloc[0],
        ],
    )


def count(number: int, noun: str) -> str:
    """Return `1 method`, `2 methods`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def what_was_run(table: ComparisonTable) -> str:
    """Say what was asked: how many methods against which, on what and how, and what has run."""
    frame, plan = table.frame, table.plan
    asked = frame[frame["seeds_asked"] > 0]
    done = int(asked["seeds_finished"].sum())
    total = int(asked["seeds_asked"].sum())
    protocol = f", {display.PROTOCOLS[plan.protocol]}" if plan.protocol else ""
    smoke = "Smoke run, not a result. " if "smoke" in _values(table, "scale") else ""
    images = {int(number) for number in pd.to_numeric(frame["test_images"], "coerce").dropna()}
    noun = "test image" if images == {1} else "test images"
    tested = f", {listing(f'{number:,}' for number in sorted(images))} {noun}" * bool(images)
    devices = listing(_values(table, "device"))
    of_all = f"all {total}" if done == total else f"{done} of {total}"
    finished = f"{of_all} run{'' if total == 1 else 's'}{f', on {devices}' if devices else ''}"
    return (
        f"{smoke}{_question(table)} "
        f"{plan.models} on {_data_said(table)}{display.epochs_said(plan)}{protocol}{tested}. "
        f"Finished: {finished}."
    )


def _training(table: ComparisonTable) -> str:
    """Return what the runs were trained with, as their records have it."""
    if "settings" not in table.frame:
        return ""
    settings = dict(zip(table.frame["method"], table.frame["settings"], strict=True))
    return training.said(settings, table.plan.reference)


def _clean(table: ComparisonTable) -> str:
    """Say that the runs agree in all but their methods; "" where there is a warning."""
    if table.warnings:
        return ""
    epochs = {row.epochs for row in table.plan.rows if row.seeds}
    but = ", but for the epochs that their names give" if len(epochs) > 1 else ""
    return f"All have one kind of device, one set of versions, data and settings{but}."


def _question(table: ComparisonTable) -> str:
    """Return what the comparison asks of the methods that were run."""
    frame, plan = table.frame, table.plan
    asked = frame.loc[frame["seeds_asked"] > 0, "method"]
    rows = [row for row in plan.rows if row.method in set(asked) - {plan.reference}]
    others = [row.method for row in rows if plan.reference_of(row) == plan.reference]
    own: dict[str, list[str]] = {}
    for row in rows:
        if plan.reference_of(row) not in (plan.reference, row.method):
            own.setdefault(plan.reference_of(row), []).append(row.method)
    end = f"a {'higher' if plan.measure.larger_is_better else 'lower'} {plan.measure.words}"
    if not others:
        first = f"What {plan.measure.words} does {plan.reference} end at?"
    elif len(others) == 1:
        first = f"Does {others[0]} end at {end} than {plan.reference}?"
    else:
        first = f"Which of {len(others)} methods end at {end} than {plan.reference}?"
    further = [
        f"{'Do' if len(methods) > 1 else 'Does'} {listing(methods)} end at {end} than {name}?"
        for name, methods in own.items()
    ]
    return " ".join([first, *further])


def _data_said(table: ComparisonTable) -> str:
    """Return the data set's name, with its label noise in words, and how much of it is there."""
    noise = variants.parse(table.plan.dataset).noise
    notes = [noise.words] if noise else []
    amount = listing(_values(table, "data"))
    if amount and amount != "whole":
        notes.append(f"data: {amount}")
    return f"{table.plan.dataset}{f' ({listing(notes)})' if notes else ''}"


def findings(table: ComparisonTable) -> list[str]:
    """Return the sentences of a data set's results, each made from the table's numbers."""
    reference = _row(table, table.plan.reference)
    if reference is None or not reference.finished:
        return [
            f"The reference {table.plan.reference} has no finished run, so nothing is compared."
        ]
    measure = table.plan.measure
    interval = f" {reference.last_interval}" if reference.last_interval else ""
    unit = f" {measure.unit}" if measure.unit else ""
    texts = [
        f"{reference.method} reached {reference.last}{interval}{unit} {measure.words} in the last "
        f"epoch ({_of_seeds(reference.seeds)})."
    ]
    texts = [*_verdicts(table), *texts, *_against_sgd(table), *_resolution(table), *_spoilt(table)]
    return [text for text in texts if text]


def _of_seeds(seeds: str) -> str:
    """Return `2 of 3 seeds`, or `3 seeds` where all of them finished, of the table's `2/3`."""
    finished, _, asked = seeds.partition("/")
    of = "" if finished == asked else f"{finished} of "
    return f"{of}{count(int(asked), 'seed')}"


def _values(table: ComparisonTable, column: str) -> list[str]:
    found = {part for text in table.frame[column] for part in text.split(" | ") if part}
    return sorted(found)


def _row(table: ComparisonTable, method: str | None) -> display.DisplayRow | None:
    return next((row for row in display.rows(table) if row.method == method), None)


def _against_sgd(table: ComparisonTable) -> list[str]:
    plan, texts = table.plan, []
    for method in dict.fromkeys(filter(None, (plan.sgd, plan.sgd_double))):
        row = _row(table, method)
        if row is not None and row.difference:
            interval = f" {row.difference_interval}" if row.difference_interval else ""
            p = f", corrected p {_equals(row.p_holm)}" if row.p_holm else ""
            texts.append(
                f"{_terms(table, method)}, the difference of {method} to {plan.reference} is "
                f"{row.difference}{interval}{_points(table)}{p}."
            )
    return texts


def _terms(table: ComparisonTable, method: str) -> str:
    """Say at which epochs and which cost a method stands against the reference."""
    plan = table.plan
    cost = table.frame.set_index("method")["gradient_evaluations_relative_to_sgd"]
    ratio = cost[method] / cost[plan.reference]
    same_cost = abs(ratio - 1) < 0.01
    times = "" if pd.isna(ratio) else f" and {ratio:.2g} times the gradient evaluations"
    if method == plan.sgd:
        return "At equal epochs" + (" and gradient evaluations" if same_cost else times)
    return "At equal gradient evaluations" if same_cost else f"At twice the epochs{times}"


def _points(table: ComparisonTable) -> str:
    unit = table.plan.measure.difference_unit
    return f" {unit}" if unit else ""


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _verdicts(table: ComparisonTable) -> list[str]:
    """Say which methods the table tells from their reference, and how many it does not."""
    rows = display.rows(table)
    family = next((text for text in table.frame["family"] if text), "")
    if len(rows) == 1:
        return ["There is no other method to compare with it."]
    if not family:
        return ["No method could be tested against the reference."]
    texts = []
    for verdict in ("better", "better within margin", "worse", "worse within margin", "equivalent"):
        chosen = [f"{row.method} ({row.difference})" for row in rows if row.verdict == verdict]
        if chosen:
            texts.append(f"{verdict.capitalize()}: {listing(chosen)}.")
    if not any(row.verdict.startswith(("better", "worse")) for row in rows):
        texts.append(
            f"After the correction no method differs from its reference at the "
            f"{100 * LEVEL:.0f} % level."
        )
    undecided = [row for row in rows if row.verdict == "not distinguishable"]
    if undecided:
        texts.append(_undecided(table, undecided))
    untested = [r for r in rows if r.finished and r.verdict in ("too few seeds", "not tested")]
    if untested:
        texts.append(
            f"{count(len(untested), 'method')} could not be tested: too few seeds, or the same "
            "difference at every seed."
        )
    return texts


def _undecided(table: ComparisonTable, rows: Sequence[display.DisplayRow]) -> str:
    """Name the methods that no test decides; of many, those furthest from their reference."""
    means = table.frame.set_index("method")[f"{table.plan.difference}_mean"].abs()
    named = sorted(rows, key=lambda row: -means[row.method])[:_NAMED]
    reference_of = dict(zip(table.frame["method"], table.frame["reference"], strict=True))
    to = {m: f"to {name}" for m, name in reference_of.items() if name != table.plan.reference}
    said = [
        f"{row.method} "
        f"({' '.join(filter(None, (row.difference, row.difference_interval, to.get(row.method))))})"
        for row in named
    ]
    rest = len(rows) - len(named)
    # A row may have a reference of its own.
    whose = "its" if len(rows) == 1 else "their"
    whose = f"{whose} reference" if any(row.method in to for row in rows) else "the reference"
    return (
        f"{count(len(rows), 'method')} cannot, after the correction, be told from {whose}, "
        f"nor be shown to lie within {table.plan.equivalence_margin:g}{_points(table)} of it: "
        f"{listing([*said, *([f'{rest} closer to it'] if rest else [])])}."
    )


def _resolution(table: ComparisonTable) -> list[str]:
    measure, column = table.plan.measure, "minimum_detectable_difference"
    tested = table.frame.loc[table.frame["p_value_holm"].notna(), column].dropna()
    detectable = [value for value in tested if not display.exceeds(measure, value)]
    if not detectable:
        return []
    points = _points(table)
    least, most = (display.shown(measure, end) for end in (min(detectable), max(detectable)))
    differences = f"{least}{points}" if least == most else f"{least} to {most}{points}, by method,"
    return [
        f"A true difference of {differences} is found on these seeds with power {POWER:g}, before "
        "any correction for the number of methods; smaller ones are missed more often."
    ]


def _spoilt(table: ComparisonTable) -> list[str]:
    rows = display.rows(table)
    diverged = [f"{row.method} ({row.status})" for row in rows if "diverged" in row.status]
    missing = [row.method for row in rows if "missing" in row.status or "not run" in row.status]
    unasked = [row.method for row in rows if row.status == "not asked for"]
    texts = [f"Diverged: {listing(diverged)}."] if diverged else []
    texts += [f"Runs are missing of {listing(missing)}."] if missing else []
    texts += [f"Listed but not asked for: {listing(unasked)}."] if unasked else []
    return texts
