"""Methods ranked over data sets, with the tests of Demsar 2006 and Benavoli et al. 2016.

A data set is one observation: its seeds are averaged first. Methods are matched over data sets by
their names with every epoch in percent of the reference's, `pugdt_20_100` for `pugdt_6_30` and
`pugdt_80_400` alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from perturb import names
from perturb.analysis import formats
from perturb.analysis.statistics import LEVEL, holm
from perturb.analysis.tables import StudyTable
from perturb.errors import PerturbError
from perturb.files import write_text

TEST_FROM = 3  # data sets, and methods
# The signed-rank test of fewer data sets cannot reach 5 %: 2 / 2**5 is 0.06.
WILCOXON_FROM = 6
_TEXT = ("method", "test")


def build(tables: Sequence[StudyTable]) -> pd.DataFrame:
    """Return the ranking, best mean rank first, of the methods that every table has finished.

    Columns: `method`, `accuracy_<data set>` (mean of the last epoch, a fraction) and
    `rank_<data set>` (1 is best, ties share the mean), `mean_rank`, `friedman_p_value`,
    `critical_difference` of mean ranks (Nemenyi, 5 %; empty without a significant Friedman test),
    `p_value_wilcoxon` and its Holm correction, each against the reference over data sets, and
    `test`, which says what was tested or why not. PerturbError for fewer than two tables, or none
    in common.
    """
    if len(tables) < 2:
        raise PerturbError(
            "a ranking needs at least two data sets. List them under `datasets` in the config."
        )
    accuracies = pd.concat([_accuracies(table) for table in tables], axis=1, join="inner").dropna()
    if accuracies.empty:
        raise PerturbError(
            f"no method has finished runs on every one of {', '.join(accuracies)}: nothing to rank."
        )
    ranks = accuracies.rank(ascending=False, axis=0)
    frame = accuracies.add_prefix("accuracy_").join(ranks.add_prefix("rank_"))
    frame["mean_rank"] = ranks.mean(axis=1)
    frame["datasets"] = len(tables)
    p_value, distance, said = _tests(accuracies.to_numpy().T)
    frame["friedman_p_value"], frame["critical_difference"] = p_value, distance
    against = _against(accuracies, relative(tables[0].plan["reference"], tables[0].plan))
    frame["p_value_wilcoxon"], frame["p_value_wilcoxon_holm"] = against
    frame["test"] = said
    return frame.rename_axis("method").reset_index().sort_values(["mean_rank", "method"])


def relative(method: str, plan: Mapping[str, Any]) -> str:
    """Return a method's name with its epochs in percent of its reference's, where that is whole."""
    own = {row["method"]: row.get("reference") for row in plan["rows"]}.get(method)
    epochs = names.parse(own or plan["reference"]).epochs
    parsed = names.parse(method)
    scaled = {"epochs": 100 * parsed.epochs / epochs}
    if parsed.timing and parsed.timing.kind == "at":
        scaled["start"] = 100 * parsed.timing.parameters["epoch"] / epochs
    if any(value % 1 for value in scaled.values()):
        return method
    timing = parsed.timing
    if "start" in scaled:
        timing = replace(timing, parameters={"epoch": int(scaled["start"])})
    return names.format(replace(parsed, epochs=int(scaled["epochs"]), timing=timing))


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


def read(path: str | Path) -> pd.DataFrame:
    """Read the CSV that `write` wrote; PerturbError where it cannot be read."""
    try:
        return pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str))
    except ValueError as error:
        raise PerturbError(f"{path}: damaged ({error}). Delete it and make it again.") from None


def texts(frame: pd.DataFrame, study: str) -> dict[str, str]:
    """Return the ranking as the contents of its files: `csv`, `md`, `tex`."""
    return {"csv": formats.csv_text(frame), "md": markdown(frame), "tex": latex(frame, study)}


def write(frame: pd.DataFrame, study: str, **paths: str | Path) -> None:
    """Write the ranking as `csv`, `md` and `tex`, each atomically."""
    made = texts(frame, study)
    for kind, path in paths.items():
        write_text(path, made[kind])


def cells(frame: pd.DataFrame) -> list[list[str]]:
    """Return the ranking as rows of text, its header first."""
    ranks = [name for name in frame if name.startswith("rank_")]
    header = ["method", "mean rank", *(name.removeprefix("rank_") for name in ranks)]
    return [
        header,
        *(
            [row["method"], f"{row['mean_rank']:.2f}", *(f"{row[name]:g}" for name in ranks)]
            for row in frame.to_dict("records")
        ),
    ]


def caption(frame: pd.DataFrame) -> str:
    """Return the sentences that say what the ranking is, and what was tested."""
    return (
        f"Rank of the mean last-epoch test accuracy among the {len(frame)} methods that finished "
        "on every data set (1 is best; ties share). Names give every epoch in percent of the "
        f"reference's. {frame['test'].iloc[0]}"
    )


def markdown(frame: pd.DataFrame) -> str:
    """Return the ranking for GitHub."""
    header, *rows = cells(frame)
    listed = [header, ["---"] * len(header), *([f"`{name}`", *others] for name, *others in rows)]
    lines = ["# Ranking over data sets", "", *map(formats.markdown_row, listed)]
    return "\n".join([*lines, "", caption(frame), ""])


def latex(frame: pd.DataFrame, study: str) -> str:
    """Return the ranking as a longtable, to `\\input`; needs booktabs and longtable."""
    header, *rows = cells(frame)
    lines = [
        r"\begingroup\small",
        rf"\begin{{longtable}}{{@{{}}l{'r' * (len(header) - 1)}@{{}}}}",
        rf"\caption{{Ranking over data sets. {formats.prose(caption(frame))}}}"
        rf"\label{{tab:{study}-ranking}}\\",
        r"\toprule",
        " & ".join(formats.escape(text) for text in header) + r"\\",
        r"\midrule\endhead",
        r"\bottomrule\endfoot",
    ]
    lines += [" & ".join([formats.method_tex(name), *others]) + r"\\" for name, *others in rows]
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup", ""])


def _accuracies(table: StudyTable) -> pd.Series:
    frame, plan = table.frame, table.plan
    index = [relative(method, plan) for method in frame["method"]]
    values = frame["last_epoch_test_accuracy_mean"].to_numpy()
    return pd.Series(values, index=index, name=plan["dataset"]).groupby(level=0).first()


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
    said = f"Friedman's test (Iman and Davenport) over {datasets} data sets: p = {p_value:.2g}"
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
