"""The diary's claims, each beside what the runs of a chapter say. From files only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from perturb.analysis.statistics import FEW_SEEDS, Summary, compare, summarise
from perturb.analysis.tables import measured
from perturb.data import variants
from perturb.figures.catalogue import listing
from perturb.studies.reid import methods
from perturb.studies.reid.catalogue import noise_words
from perturb.studies.reid.material import Material

COMES_OUT, DOES_NOT = "comes out", "does not come out"
UNDECIDED, NOT_TESTED = "not decided by these runs", "not tested here"
_MOST_LISTED = 6  # methods that a sentence names each
_ABSENT = "This chapter has no runs that could tell."


def build(material: Material) -> pd.DataFrame:
    """Return one row per claim: `claim`, `verdict`, `here` (a sentence), `shown_by`."""
    rows = []
    for claim, judge, shown_by in _CLAIMS:
        verdict, here = judge(material) if len(material.runs) else (NOT_TESTED, _ABSENT)
        rows.append({"claim": claim, "verdict": verdict, "here": here, "shown_by": shown_by})
    return pd.DataFrame(rows)


def whose(datasets: Sequence[str]) -> str:
    """Return the sentence that says which data the diary's claims are of, and which the runs'."""
    said = "The lab diary's claims and numbers are of Market-1501"
    others = foreign(datasets)
    return f"{said}; these runs are not: they are on {listing(others)}." if others else f"{said}."


def foreign(datasets: Sequence[str]) -> list[str]:
    """Return the data sets, without their label noise, that are not the diary's Market-1501."""
    here = dict.fromkeys(variants.base_name(dataset) for dataset in datasets)
    return [name for name in here if not name.startswith("market1501")]


Judged = tuple[str, str]


def _heads(material: Material, head: str) -> list[str]:
    """Return the chapter's methods of a kind."""
    return [name for name in material.methods if methods.method(name).definition.head == head]


def _text(summary: Summary) -> str:
    """Return a mean of mAPs in percent with its interval, where it has one."""
    if summary.mean is None:
        return "none finished"
    if summary.low is None or summary.high is None:
        return f"{100 * summary.mean:.1f}"
    return f"{100 * summary.mean:.1f} ± {100 * (summary.high - summary.low) / 2:.1f}"


def _values(material: Material, dataset: str, method: str) -> dict[int, float]:
    plan = next(plan for plan in material.plans if plan.dataset == dataset)
    return measured(material.of(dataset, method), plan.measure)


def _compared(
    material: Material, pairs: Sequence[tuple[str, str]], wanted: int
) -> tuple[list[bool | None], list[str]]:
    """Compare the first method of each pair with the second, on each data set.

    `wanted` is the sign of the difference that the claim says. True where an interval is on that
    side of 0, False where it is on the other, None where it covers 0 or there is none.
    """
    verdicts: list[bool | None] = []
    texts = []
    for dataset in material.datasets:
        listed = []
        for ours, theirs in pairs:
            values = [_values(material, dataset, method) for method in (ours, theirs)]
            listed.append(f"{ours} {_text(summarise(list(values[0].values())))}")
            if not values[0] or not values[1]:
                verdicts.append(None)
                continue
            found = compare(values[0], values[1], 0.005)
            low, high = found.summary.low, found.summary.high
            if found.seeds < FEW_SEEDS or low is None or high is None or low <= 0 <= high:
                verdicts.append(None)
            else:
                verdicts.append((low > 0) == (wanted > 0))
        shown = [
            f"{theirs} {_text(summarise(list(_values(material, dataset, theirs).values())))}"
            for theirs in dict.fromkeys(theirs for _, theirs in pairs)
        ]
        if len(listed) > _MOST_LISTED:
            means = [_mean(material, dataset, ours) for ours, _ in pairs]
            finished = [mean for mean in means if mean is not None]
            ends = f"{100 * min(finished):.1f} to {100 * max(finished):.1f}" if finished else "none"
            listed = [f"{len(finished)} of {len(pairs)} others finished, {ends}"]
        texts.append(f"{noise_words(dataset)}: {', '.join([*shown, *listed])}")
    return verdicts, texts


def _mean(material: Material, dataset: str, method: str) -> float | None:
    return summarise(list(_values(material, dataset, method).values())).mean


def _overall(verdicts: Sequence[bool | None]) -> str:
    """Return the verdict on all: undecided where any is, or where they disagree.

    No evidence at all is no test.
    """
    if not verdicts:
        return NOT_TESTED
    if all(verdict is True for verdict in verdicts):
        return COMES_OUT
    return DOES_NOT if all(verdict is False for verdict in verdicts) else UNDECIDED


def _told(verdicts: Sequence[bool | None], texts: Sequence[str]) -> Judged:
    shown = [f"mAP (%), {text}" if at == 0 else text for at, text in enumerate(texts)]
    if len(set(verdicts)) > 1:
        yes, no = verdicts.count(True), verdicts.count(False)
        shown.append(f"{yes} of {len(verdicts)} as claimed, {no} against it, the others undecided")
    return _overall(verdicts), "; ".join(shown) + "." if shown else _ABSENT


def _rate_for_each(material: Material) -> Judged:
    core = _heads(material, "core")
    plain = [
        name
        for name in core
        if methods.method(name).values["lr0"] == 0 and methods.method(name).values["lr1"] == 0
    ]
    own = [
        name
        for name in core
        if methods.method(name).values["lr0"] != methods.method(name).values["lr1"]
    ]
    if not plain or not own:
        return NOT_TESTED, _ABSENT
    return _told(*_compared(material, [(name, plain[0]) for name in own], -1))


def _low_mAP_leads_to_nan(material: Material) -> Judged:
    runs = material.runs
    two = runs[runs["selects"] & runs["first_stage_mAP"].notna()]
    bad = (two["status"] == "diverged") | (two["empty_batches"] > 0)
    if len(two) < FEW_SEEDS:
        return NOT_TESTED, _ABSENT
    if not bad.any() or bad.all():
        which = "All" if bad.all() else "None of the"
        return UNDECIDED, (
            f"{which} {len(two)} runs that select images in stage 2 diverged or had a batch of "
            "which no image was selected. Without any other run there is nothing to compare them "
            "with."
        )
    low, high = two[bad]["first_stage_mAP"], two[~bad]["first_stage_mAP"]
    with np.errstate(invalid="ignore"):
        found = spearmanr(two["first_stage_mAP"], bad.astype(float))
    text = (
        f"mAP after stage 1 (%): {100 * low.mean():.1f} on average where a selection was empty or "
        f"the run diverged later ({len(low)} runs), {100 * high.mean():.1f} elsewhere ({len(high)} "
        f"runs); Spearman's correlation {found.statistic:.2f}, p {found.pvalue:.2g}. An empty "
        "selection changes nothing here and is counted; it makes no NaN."
    )
    if not found.pvalue < 0.05:
        return UNDECIDED, text
    return (COMES_OUT if found.statistic < 0 else DOES_NOT), text


def _trains_better(material: Material) -> Judged:
    act, core = _heads(material, "act"), _heads(material, "core")
    if not act or not core:
        return NOT_TESTED, _ABSENT
    found, texts = [], []
    for dataset in material.datasets:
        shares = [
            [material.mean(dataset, name, f"train_{of}accuracy_net0") for of in ("", "true_")]
            for name in (act[0], core[0])
        ]
        loss = material.mean(dataset, act[0], "train_loss_net0")
        if any(series.empty for pair in shares for series in pair) or len(loss) < 3:
            continue
        own, other = ([100 * series.iloc[-1] for series in pair] for pair in shares)
        from_epoch = loss.iloc[2 * len(loss) // 3 - 1]
        texts.append(
            f"{noise_words(dataset)}: training accuracy of {act[0]} {own[0]:.0f} % on given and "
            f"{own[1]:.0f} % on true labels, of {core[0]} {other[0]:.0f} % and {other[1]:.0f} %; "
            f"loss of {act[0]} in its last third {from_epoch:.2f} to {loss.iloc[-1]:.2f}"
        )
        found.append(bool(own[0] > other[0] and loss.iloc[-1] >= 0.95 * from_epoch))
    if not found:
        return NOT_TESTED, _ABSENT
    return _overall(found), "; ".join(texts) + "."


def _act_selects(material: Material) -> Judged:
    act, core = _heads(material, "act"), _heads(material, "core")
    plain = [name for name in core if not methods.method(name).values["selective"]]
    if not act or not plain:
        return NOT_TESTED, _ABSENT
    found, texts = [], []
    for dataset in material.datasets:
        shares = [
            material.mean(dataset, act[0], f"{name}_net0")
            for name in ("selected_fraction", "selection_precision", "selection_recall")
        ]
        if shares[0].empty:
            continue
        wrong = material.of(dataset, act[0])["wrong_labels"].mean()
        numbers = [100 * series.iloc[-1] if len(series) else float("nan") for series in shares]
        texts.append(
            f"{noise_words(dataset)} ({wrong:.0f} wrong labels): {act[0]} selects "
            f"{numbers[0]:.0f} % in its last epoch, precision {numbers[1]:.0f} %, recall "
            f"{numbers[2]:.0f} %"
        )
        found.append(bool(numbers[0] < 100))
    if not found:
        return NOT_TESTED, _ABSENT
    texts.append(f"{plain[0]} takes every image with weight 1")
    return _overall(found), "; ".join(texts) + "."


def _large_rate(material: Material) -> Judged:
    runs = material.runs
    largest = runs[[name for name in ("lr0", "lr1") if name in runs]].astype(float).max(axis=1)
    high = runs[np.isclose(largest, 0.1) | (largest > 0.1)]
    if high.empty:
        return NOT_TESTED, _ABSENT
    texts, plain = [], []
    for (rate, warmup, clip), part in high.groupby([largest, "warmup", "clip"]):
        steps = part.loc[part["status"] == "diverged", "diverged_at_step"]
        help = [
            f"warm-up {warmup:g} epochs" if warmup else "",
            f"clipping at {clip:g}" if clip else "",
        ]
        words = " and ".join(filter(None, help)) or "neither warm-up nor clipping"
        first = f", the first at step {steps.min():.0f}" if len(steps) else ""
        texts.append(f"{rate:g} with {words} {len(steps)} of {len(part)} runs diverged{first}")
        if np.isclose(rate, 0.1) and not warmup and not clip:
            plain = (part["status"] == "diverged").tolist()
    if not plain:
        return UNDECIDED, f"Largest learning rate {'; '.join(texts)}."
    verdict = COMES_OUT if all(plain) else UNDECIDED if any(plain) else DOES_NOT
    return verdict, f"Largest learning rate {'; '.join(texts)}."


def _devices(material: Material) -> Judged:
    keys = ["dataset", "model", "method", "seed"]
    several = material.runs.groupby(keys)["device"].nunique()
    names = sorted(set(material.runs["device"]))
    text = (
        f"Runs of one seed on one kind of device are equal to the last bit, at any time "
        f"(`snakemake verify` trains some again). Devices here: {'; '.join(names)}."
    )
    return (UNDECIDED if (several > 1).any() else NOT_TESTED), text


def _self_is_good(material: Material) -> Judged:
    own, plain = _heads(material, "self"), _heads(material, "ce")
    if not own or not plain:
        return NOT_TESTED, _ABSENT
    return _told(*_compared(material, [(own[0], plain[0])], 1))


_CLAIMS: tuple[tuple[str, Callable[[Material], Judged], str], ...] = (
    (
        "A learning rate for each network does not reach CORE",
        _rate_for_each,
        "table of methods, figure rates",
    ),
    (
        "A low mAP at the end of stage 1 leads to NaN in stage 2",
        _low_mAP_leads_to_nan,
        "table of runs",
    ),
    (
        "Training accuracy is above CORE's, and the loss does not fall",
        _trains_better,
        "figures curves and losses",
    ),
    ("ACT selects, CORE does not", _act_selects, "figures selection and weights"),
    ("A learning rate of 0.1 blows up at once", _large_rate, "table of runs"),
    (
        "GPUs differ, and the same GPU at another time",
        _devices,
        "table of runs, column device",
    ),
    ('SELF is "not bad": better than plain cross-entropy', _self_is_good, "table of methods"),
)
