"""Methods ranked over data sets, with the tests of Demsar 2006 and Benavoli et al. 2016.

A data set is one observation: its seeds are averaged first. Methods are matched over data sets by
the names that the plans' rows give them there (`Row.across`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from perturb.analysis import display, training
from perturb.analysis.aggregates import Probability, probability_of_improvement, scores
from perturb.analysis.plan import Plan
from perturb.analysis.statistics import LEVEL, holm, p_words
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.analysis.tables import ComparisonTable
from perturb.errors import PerturbError

TEST_FROM = 3  # data sets, and methods
# The signed-rank test of fewer data sets cannot reach 5 %: 2 / 2**5 is 0.06.
WILCOXON_FROM = 6


def build(tables: Sequence[ComparisonTable]) -> pd.DataFrame:
    """Return the ranking, best mean rank first, of the methods that every table has finished.

    Columns: `method`, `<measure>_<data set>` (mean of the last epoch, in the records' unit) and
    `rank_<data set>` (1 is best, ties share the mean), `mean_rank`, `friedman_p_value`,
    `critical_difference` of mean ranks (Nemenyi, 5 %; empty without a significant Friedman test),
    `p_value_wilcoxon` and its Holm correction, each against the reference over data sets; `test`,
    which says what was tested or why not; `probability_of_improvement`, that a run is better than
    one of the reference (Agarwal et al. 2021), and its 95 % interval. Without rows where no method
    finished on every data set. PerturbError for fewer than two tables, or several measures.
    """
    if len(tables) < 2:
        raise PerturbError(
            "a ranking needs at least two data sets. List them under `chapters` in the config."
        )
    measure = tables[0].plan.measure
    if any(table.plan.measure != measure for table in tables):
        raise PerturbError("a ranking is of one measure, and these tables have several.")
    values = pd.concat([_means(table) for table in tables], axis=1, join="inner").dropna()
    ranks = values.rank(ascending=not measure.larger_is_better, axis=0)
    frame = values.add_prefix(f"{measure.slug}_").join(ranks.add_prefix("rank_"))
    frame["mean_rank"] = ranks.mean(axis=1)
    frame["datasets"] = len(tables)
    if values.empty:
        p_value, distance, said = np.nan, np.nan, ""
    else:
        p_value, distance, said = _tests(values.to_numpy().T)
    frame["friedman_p_value"], frame["critical_difference"] = p_value, distance
    against = _against(values, reference_over(tables[0].plan))
    frame["p_value_wilcoxon"], frame["p_value_wilcoxon_holm"] = against
    frame["test"] = said
    improvement = _improvement(tables, list(values.index))
    for name in ("mean", "low", "high"):
        column = "probability_of_improvement" + ("" if name == "mean" else f"_ci95_{name}")
        frame[column] = [getattr(one, name) if one else None for one in improvement]
        frame[column] = frame[column].astype("float64")
    return frame.rename_axis("method").reset_index().sort_values(["mean_rank", "method"])


def reference_over(plan: Plan) -> str:
    """Return how the reference of a plan is called over data sets."""
    return names_over(plan)[plan.reference]


def names_over(plan: Plan) -> dict[str, str]:
    """Return how each method of a plan is called over data sets."""
    return {row.method: row.across or row.method for row in plan.rows}


def friedman(accuracies: np.ndarray) -> float:
    """Return the p-value of Friedman's test of `accuracies` [data sets, methods].

    In Iman and Davenport's form: the chi-square form is far too cautious for few data sets
    (Demsar 2006).
    """
    datasets, methods = accuracies.shape
    if not np.ptp(accuracies, axis=1).any():
        return 1.0  # all methods tie on every data set
    chi_square = stats.friedmanchisquare(*accuracies.T).statistic
    left = datasets * (methods - 1) - chi_square
    if left <= 0:
        return 0.0
    statistic = (datasets - 1) * chi_square / left
    return float(stats.f.sf(statistic, methods - 1, (methods - 1) * (datasets - 1)))


def critical_difference(datasets: int, methods: int) -> float:
    """Return the difference of mean ranks from which Nemenyi's test tells two methods apart (5 %).

    Demsar 2006, eq. 6, with the studentised range's quantile for infinite degrees of freedom.
    """
    quantile = stats.studentized_range.ppf(1 - LEVEL, methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * datasets)))


def groups(mean_ranks: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """Return the first and last position of each largest run of methods within the distance.

    `mean_ranks` ascend. Methods of one group are not told apart.
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(mean_ranks):
        last = int(np.searchsorted(mean_ranks, rank + distance, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def table_of(
    frame: pd.DataFrame, tables: Sequence[ComparisonTable], name: str, names: str = ""
) -> Table:
    """Return the ranking as it is printed; `names` says how methods are named over data sets."""
    settings = {text for table in tables for text in table.frame.get("settings", ()) if text}
    found = {training.base_of(text) for text in settings}
    base = found.pop() if len(found) == 1 else ""
    ranks = [column for column in frame if column.startswith("rank_")]
    columns = [Column("Method", "code"), Column("Mean rank")]
    columns += [Column(rank.removeprefix("rank_"), over=("Rank on",)) for rank in ranks]
    columns += [Column("Probability of improvement", short="Prob. of\nimprov.")]
    rows = [
        [
            Cell(row["method"], base=base),
            Cell(f"{row['mean_rank']:.2f}"),
            *(Cell(f"{row[rank]:g}") for rank in ranks),
            _probability(row),
        ]
        for row in frame.to_dict("records")
    ]
    marks = dict.fromkeys(filter(None, map(display.mark, tables)))
    warnings = [f"{mark}." for mark in marks] + _mixed(tables, list(frame["method"]))
    return Table(
        name=name,
        title="Ranking over data sets",
        frame=frame,
        columns=columns,
        groups=[Group("", rows)],
        caption=caption(frame, tables[0].plan, names),
        warnings=warnings,
    )


def _mixed(tables: Sequence[ComparisonTable], methods: Sequence[str]) -> list[str]:
    """Say which of the ranked methods differ from a table's reference in more than the method."""
    found = []
    for table in tables:
        over, frame = names_over(table.plan), table.frame
        named = [over[name] for name in frame.loc[frame["mixed"] != "", "method"]]
        named = [name for name in dict.fromkeys(named) if name in methods]
        if named:
            found.append(
                f"On {table.plan.dataset} these differ from the reference in more than the method "
                f"(its table says in what), and so do their ranks: {', '.join(named)}."
            )
    return found


def _probability(row: Mapping[str, Any]) -> Cell:
    mean, low, high = (
        row[f"probability_of_improvement{end}"] for end in ("", "_ci95_low", "_ci95_high")
    )
    if not display.known(mean):
        return Cell("")
    return Cell(f"{mean:.2f}", f"[{low:.2f}, {high:.2f}]" if display.known(low) else "")


def caption(frame: pd.DataFrame, plan: Plan, names: str = "") -> str:
    """Return the sentences that say what the ranking is, and what was tested."""
    if frame.empty:
        return "No method finished on every data set, so there is nothing to rank."
    said = (
        f"Rank of the mean last-epoch {plan.measure.words} among the {len(frame)} methods that "
        "finished on every data set (1 is best; ties share)."
    )
    improvement = (
        f"Probability of improvement: that a run is better than one of {reference_over(plan)}, "
        "mean over data sets, with the 95 % interval of a bootstrap stratified by data set "
        "(Agarwal et al. 2021)."
    )
    return " ".join(filter(None, (said, names, frame["test"].iloc[0], improvement)))


def _improvement(
    tables: Sequence[ComparisonTable], methods: Sequence[str]
) -> list[Probability | None]:
    """Return each method's probability of improvement over the reference; None where it has none.

    It has none itself.
    """
    reference = reference_over(tables[0].plan)
    found = scores(tables, [names_over(table.plan) for table in tables])
    return [
        probability_of_improvement(found[method], found[reference])
        if method != reference and {method, reference} <= found.keys()
        else None
        for method in methods
    ]


def _means(table: ComparisonTable) -> pd.Series:
    frame, plan = table.frame, table.plan
    over = names_over(plan)
    index = [over[method] for method in frame["method"]]
    values = frame[f"{plan.last}_mean"].to_numpy()
    return pd.Series(values, index=index, name=plan.dataset).groupby(level=0).first()


def _tests(accuracies: np.ndarray) -> tuple[float, float, str]:
    """Return Friedman's p-value, the critical difference, and what is to be said of them."""
    datasets, methods = accuracies.shape
    if min(datasets, methods) < TEST_FROM:
        said = (
            f"No test: it needs {TEST_FROM} data sets and {TEST_FROM} methods, and these are "
            f"{datasets} and {methods}."
        )
        return np.nan, np.nan, said
    p_value = friedman(accuracies)
    said = f"Friedman's test (Iman and Davenport) over {datasets} data sets: {p_words(p_value)}"
    if p_value >= LEVEL:
        return p_value, np.nan, f"{said}; no method is told from another."
    distance = critical_difference(datasets, methods)
    return p_value, distance, f"{said}; critical difference (Nemenyi, 5 %): {distance:.2f} ranks."


def _against(accuracies: pd.DataFrame, reference: str) -> tuple[list[float], list[float]]:
    """Return each method's Wilcoxon p-value against the reference over data sets, and Holm's."""
    if accuracies.shape[1] < WILCOXON_FROM or reference not in accuracies.index:
        nothing = [np.nan] * len(accuracies)
        return nothing, nothing
    differences = accuracies - accuracies.loc[reference]
    p_values = [
        None
        if method == reference
        else 1.0
        if (row == 0).all()
        else float(stats.wilcoxon(row.to_numpy()).pvalue)
        for method, row in differences.iterrows()
    ]
    plain = [np.nan if value is None else value for value in p_values]
    return plain, [np.nan if value is None else value for value in holm(p_values)]
