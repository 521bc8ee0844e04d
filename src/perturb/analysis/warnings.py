"""What a reader must know before believing a table, told from the table alone."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from perturb.analysis.plan import Plan
from perturb.analysis.statistics import FEW_SEEDS, LEVEL, p_words
from perturb.limits import FEW_TEST_IMAGES

SMOKE = (
    "SMOKE RUN: shortened training on few images, to show that the workflow works. "
    "No number here is a result of the study."
)


def warnings_of(frame: pd.DataFrame, plan: Plan) -> list[str]:
    """Return the warnings of a table: scale, data, mixture, divergence, gaps, seeds, spreads."""
    found = []
    if frame["scale"].str.contains("smoke").any():
        found.append(SMOKE)
    partial = sorted({value for value in frame["data"] if value != "whole"})
    if partial:
        found.append(f"Not the whole data set: {'; '.join(partial)}.")
    found += _few_images(frame)
    if len(set(frame["scale"])) > 1 or len(set(frame["data"])) > 1:
        found.append("Runs of different scale or data stand in one table: do not compare them.")
    found += _of_data(frame, plan)
    coded = frame[frame["code_sha256"].str.contains("|", regex=False)]
    if len(coded):
        found.append(
            "Rows whose runs were made by different code, so their means are of no one method "
            f"(each row's remark says which): {_list(coded['method'])}. Delete the older runs "
            "(`make verify` names them) and make them again."
        )
    mixed = frame[frame["mixed"] != ""]
    if len(mixed):
        found.append(
            "Runs that differ from the reference's in more than the method (each row says in what, "
            f"after 'mixed'): {_list(mixed['method'])}."
        )
    diverged = frame[frame["diverged_runs"] > 0]
    if len(diverged):
        runs = [
            f"{row.method} ({row.diverged_runs} of {row.seeds_asked})"
            for row in diverged.itertuples()
        ]
        found.append(f"Diverged, and not in any mean: {_list(runs)}.")
    asked = frame[frame["seeds_asked"] > 0]
    missing = asked[asked["status"].str.contains("missing|not run")]
    if len(missing):
        found.append(f"Runs missing: {_list(missing['method'])}.")
    if not (frame.loc[frame["method"] == plan.reference, "seeds_finished"] > 0).any():
        found.append(
            f"The reference {plan.reference} has no finished run: there are no differences."
        )
    # The reference never has a verdict; where its own seeds are few, no other row has one.
    compared = asked[asked["method"] != asked["reference"]]
    few = compared[
        compared["seeds_finished"].between(1, FEW_SEEDS - 1)
        | compared["verdict"].eq("too few seeds")
    ]
    if len(few):
        found.append(
            f"Fewer than {FEW_SEEDS} seeds to compare, so no verdict: {_list(few['method'])}."
        )
    return found + _of_comparisons(frame)


def _of_data(frame: pd.DataFrame, plan: Plan) -> list[str]:
    """Return what limits the data set, and what was predicted on it."""
    leakage = frame["leakage"].iloc[0] if "leakage" in frame and len(frame) else ""
    found = [f"Data set {plan.dataset}: {text}." for text in leakage.split(" | ") if text]
    if "predictions_that_differ" in frame:
        other = frame[frame["predictions_that_differ"] > 0]
        if len(other):
            found.append(
                "Predictions that come to another accuracy than the runs' records, as on another "
                f"device: {_list(other['method'])}."
            )
    return found


def _few_images(frame: pd.DataFrame) -> list[str]:
    counts = set(frame["test_images"]) if "test_images" in frame else set()
    few = sorted(int(n) for n in counts if n.isdecimal() and 0 < int(n) < FEW_TEST_IMAGES)
    return [
        f"A test split of {n} image{'s: one of them' if n > 1 else ': it'} is "
        f"{f'{100 / n:.1f}'.removesuffix('.0')} points of the accuracy."
        for n in few
    ]


def _of_comparisons(frame: pd.DataFrame) -> list[str]:
    found = []
    unpaired = frame[frame["comparison"].str.startswith("unpaired")]
    if len(unpaired):
        found.append(
            f"Too few seeds shared with the reference, so compared unpaired (Welch's test): "
            f"{_list(unpaired['method'])}."
        )
    spread = frame["equal_spread_p_value"].dropna()
    if (spread < LEVEL).any():
        given = frame["minimum_detectable_difference_sd"].eq("pooled").any()
        found.append(
            "The spread between seeds differs between methods (Bartlett's statistic, "
            f"{p_words(spread.iloc[0])}): "
            + (
                "pooled intervals and detectable differences are rough."
                if given
                else "no pooled intervals, and detectable differences from each row's own seeds."
            )
        )
    return found


def _list(items: Iterable[str], shown: int = 8) -> str:
    items = list(items)
    rest = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + rest
