"""The columns of a table that compare a row with its reference, and the row's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perturb.analysis.pooling import PooledSpread
from perturb.analysis.statistics import (
    FEW_SEEDS,
    LEVEL,
    OWN_SD_FROM,
    Comparison,
    Summary,
    detectable_difference,
    detectable_difference_unpaired,
    holm,
)
from perturb.study import Measure

VERDICTS = {
    "reference": "what the others are compared with",
    "better": "differs from its reference, to the better side of the measure",
    "worse": "differs from its reference, to its worse side",
    "better within margin": "is better, and by less than the margin",
    "worse within margin": "is worse, and by less than the margin",
    "equivalent": "differs from its reference by less than the margin",
    "not distinguishable": "shown neither to differ nor to be equivalent",
    "too few seeds": f"fewer than {FEW_SEEDS}",
    "not tested": "no finished runs to compare, or no spread to test against",
}


def interval_columns(stem: str, summary: Summary) -> dict[str, float | None]:
    """Return mean, standard deviation and both intervals as columns called after `stem`."""
    return {
        f"{stem}_mean": summary.mean,
        f"{stem}_sd": summary.sd,
        f"{stem}_ci95_low": summary.low,
        f"{stem}_ci95_high": summary.high,
        f"{stem}_bootstrap_ci95_low": summary.bootstrap_low,
        f"{stem}_bootstrap_ci95_high": summary.bootstrap_high,
    }


def columns(
    stem: str,
    found: Comparison | None,
    pooled: PooledSpread | None,
    between: tuple[str, str],
    margin: float,
) -> dict[str, Any]:
    """Return the columns of a row's comparison, before what depends on the other rows.

    `found` is None where there is nothing to compare; `between` names method and reference. What
    is `pooled` stays empty where its methods' spreads differ much. Differences and margin are in
    the unit of the records.
    """
    fits = pooled if pooled is not None and pooled.holds else None
    low = high = None
    if fits and found and found.design == "paired" and found.seeds >= 2:
        low, high = fits.interval(*between)
    detectable, known_from = _detectable(found, fits) if found else (None, "")
    return {
        **interval_columns(stem, found.summary if found else Summary(0)),
        f"pooled_{stem}_ci95_low": low,
        f"pooled_{stem}_ci95_high": high,
        "comparison": _design(found) if found and found.seeds else "",
        "p_value": found.p_value if found else None,
        "p_value_holm": None,
        "p_value_equivalence": found.p_value_equivalence if found else None,
        "p_value_equivalence_holm": None,
        "equivalence_margin": margin,
        "family": "",
        "minimum_detectable_difference": detectable,
        "minimum_detectable_difference_sd": known_from,
        "pooled_sd": pooled.sd if pooled else None,
        "pooled_degrees_of_freedom": pooled.degrees_of_freedom if pooled else None,
        "equal_spread_p_value": pooled.equal_spread_p_value if pooled else None,
    }


def correct(
    rows: list[dict[str, Any]], found: list[Comparison | None], stem: str, measure: Measure
) -> None:
    """Fill in what depends on all rows: the corrected p-values, their family, the verdicts.

    The family is every comparison of the table over at least three seeds. Differences and
    equivalences are corrected each on their own: of no row can both null hypotheses be true.
    """
    inside = [one is not None and one.seeds >= FEW_SEEDS for one in found]
    counts = {}
    for name in ("p_value", "p_value_equivalence"):
        p_values = [row[name] if is_in else None for row, is_in in zip(rows, inside, strict=True)]
        counts[name] = sum(value is not None for value in p_values)
        for row, value in zip(rows, holm(p_values), strict=True):
            row[f"{name}_holm"] = value
    family = (
        f"last-epoch {measure.words} against the reference: {_tests(counts['p_value'], 't test')} "
        f"of a difference, {_tests(counts['p_value_equivalence'], 'test')} of equivalence"
    )
    for row, one, is_in in zip(rows, found, inside, strict=True):
        row["family"] = family if is_in and row["p_value"] is not None else ""
        row["verdict"] = verdict(row, one, row[f"{stem}_mean"], measure.larger_is_better)


def _tests(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def verdict(
    row: Mapping[str, Any],
    found: Comparison | None,
    difference: float | None,
    larger_is_better: bool = True,
) -> str:
    """Return the key in VERDICTS of a row, from its corrected p-values."""
    if row["method"] == row["reference"]:
        return "reference"
    if found is None or not found.seeds:
        return "not tested"
    if found.seeds < FEW_SEEDS:
        return "too few seeds"
    if row["p_value_holm"] is None:
        return "not tested"
    p_equivalence = row["p_value_equivalence_holm"]
    equivalent = p_equivalence is not None and p_equivalence < LEVEL
    if row["p_value_holm"] < LEVEL:
        direction = "better" if (difference > 0) == larger_is_better else "worse"
        return f"{direction} within margin" if equivalent else direction
    return "equivalent" if equivalent else "not distinguishable"


def _design(found: Comparison) -> str:
    if found.design == "paired":
        return f"paired t, {found.summary.n} seeds"
    return f"unpaired (Welch), {found.summary.n} and {found.n_reference} seeds"


def _detectable(found: Comparison, pooled: PooledSpread | None) -> tuple[float | None, str]:
    """Return the minimum detectable difference of a row, and whose spread it is computed from."""
    if found.seeds < 2:
        return None, ""
    if found.design == "unpaired":
        if pooled is None:
            return None, ""
        args = found.summary.n, found.n_reference, pooled.sd
        return detectable_difference_unpaired(*args), "pooled"
    n, own = found.summary.n, found.summary.sd
    if pooled is not None and n < OWN_SD_FROM:
        return detectable_difference(n, float(np.sqrt(2)) * pooled.sd), "pooled"
    return (detectable_difference(n, own), "own") if own else (None, "")
