"""Rankings over data sets, against the values of Demsar 2006 and by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from perturb.analysis import parts, printers, ranking, runs, tables
from perturb.errors import PerturbError
from perturb.figures import parts as figures
from perturb.studies.rts.across import relative
from perturb.study import Measure

from . import forms
from .study import make_plan, make_row, write_run


def made(folder, accuracies, epochs=None, **changes):
    """Return a table a data set, of methods with given accuracies; epochs may differ."""
    found = []
    for number, values in enumerate(accuracies):
        n = (epochs or [10] * len(accuracies))[number]
        methods = {f"{name}_{n}": value for name, value in values.items()}
        rows = tuple(make_row(method, seeds=[0], across=relative(method, n)) for method in methods)
        plan = make_plan(
            rows=rows,
            dataset=f"set{number}",
            reference=f"pugd_{n}",
            sgd="",
            sgd_double="",
            **changes,
        )
        for method, accuracy in methods.items():
            if accuracy is not None:
                write_run(folder, method, 0, accuracy=accuracy, dataset=f"set{number}")
        paths = sorted((folder / "runs" / f"set{number}").rglob("record.json"))
        found.append(tables.build(plan, runs.collect(paths)))
    return found


def test_friedmans_test_is_the_analysis_of_variance_of_the_ranks():
    # Iman and Davenport 1980: the F test of the methods in a two-way layout of ranks, ties or not.
    accuracies = np.random.default_rng(0).normal([0, 0.3, 0.6, 0.9], size=(5, 4))
    for values in (accuracies, accuracies.round()):
        tidy = pd.DataFrame(
            [
                (dataset, method, rank)
                for dataset, row in enumerate(stats.rankdata(values, axis=1))
                for method, rank in enumerate(row)
            ],
            columns=["dataset", "method", "rank"],
        )
        table = anova_lm(ols("rank ~ C(method) + C(dataset)", tidy).fit())
        assert ranking.friedman(values) == pytest.approx(table.loc["C(method)", "PR(>F)"])


def test_groups_are_the_largest_runs_within_the_distance():
    means = np.array([1.96, 2.01, 2.89, 3.14])
    assert ranking.groups(means, 1.25) == [(0, 3)]
    assert ranking.groups(means, 1.14) == [(0, 2), (1, 3)]
    assert ranking.groups(means, 0.01) == []


def test_the_critical_difference_of_demsars_example():
    assert ranking.critical_difference(14, 4) == pytest.approx(1.25, abs=0.01)


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_values_are_those_of_the_papers_table(methods, quantile):
    scale = np.sqrt(methods * (methods + 1) / 6)
    assert ranking.critical_difference(1, methods) == pytest.approx(
        quantile * scale, abs=2e-3 * scale
    )


def test_all_ties_and_full_agreement():
    assert ranking.friedman(np.ones((4, 5))) == 1.0
    assert ranking.friedman(np.tile(np.arange(4.0), (4, 1))) == 0.0


def test_two_data_sets_are_ranked_without_a_test(tmp_path):
    values = [{"pugd": 0.9, "sgd": 0.8, "ugd": 0.8, "samx1": None}] * 2
    found = made(tmp_path, values, epochs=[10, 40])
    frame = ranking.build(found)
    assert list(frame["method"]) == ["pugd_100", "sgd_100", "ugd_100"]
    assert list(frame["rank_set1"]) == [1, 2.5, 2.5] and list(frame["mean_rank"]) == [1, 2.5, 2.5]
    assert frame["friedman_p_value"].isna().all() and frame["critical_difference"].isna().all()
    table = ranking.table_of(frame, found, "made_up_ranking", "Names are shares.")
    for printer in (printers.markdown, printers.latex, printers.html):
        assert "Names are shares. No test" in printer(table)
    rows = [["pugd_100", "1.00", "1", "1", ""], ["sgd_100", "2.50", "2.5", "2.5", "0.00"]]
    assert forms.of_markdown(printers.markdown(table))[:2] == rows
    assert forms.of_html(printers.html(table))[:2] == rows
    assert forms.of_latex(printers.latex(table))[0][:2] == rows


def test_a_method_that_was_trained_otherwise_on_one_data_set_is_named(tmp_path):
    values = [{"pugd": 0.9, "sgd": 0.8, "ugd": 0.8, "samx1": None}] * 2
    found = made(tmp_path, values)
    assert ranking.table_of(ranking.build(found), found, "made_up").warnings == []
    for method in ("sgd_10", "samx1_10"):  # the latter finished nowhere and is not ranked
        found[1].frame.loc[found[1].frame["method"] == method, "mixed"] = "base adamw"
    warnings = ranking.table_of(ranking.build(found), found, "made_up").warnings
    assert len(warnings) == 1 and warnings[0].startswith("On set1 these differ from the reference")
    assert warnings[0].endswith("so do their ranks: sgd_100.")


def test_enough_data_sets_are_tested(tmp_path):
    names = ("pugd", "sgd", "ugd", "samx1", "sam_0.05", "asam_0.5")
    noise = np.random.default_rng(0).normal(0, 0.002, (7, len(names)))
    values = [
        {name: 0.9 - 0.02 * place + noise[number, place] for place, name in enumerate(names)}
        for number in range(7)
    ]
    frame = ranking.build(made(tmp_path, values))
    assert list(frame["mean_rank"]) == sorted(frame["mean_rank"]) and frame["datasets"].eq(7).all()
    assert frame["friedman_p_value"].iloc[0] < 1e-6
    assert frame["critical_difference"].iloc[0] == pytest.approx(ranking.critical_difference(7, 6))
    by_method = frame.set_index("method")
    assert pd.isna(by_method.loc["pugd_100", "p_value_wilcoxon"])
    # Every one of 7 data sets in one direction: 2 / 2^7 by hand, five tests.
    assert by_method.loc["asam_0.5_100", "p_value_wilcoxon"] == pytest.approx(2 / 2**7)
    assert by_method.loc["asam_0.5_100", "p_value_wilcoxon_holm"] == pytest.approx(5 * 2 / 2**7)


def test_a_ranking_is_made_from_the_tables_files(tmp_path):
    tables_of = made(tmp_path, [{"pugd": 0.9, "sgd": 0.8}] * 2)
    paths = [tmp_path / "tables" / f"{table.plan.chapter}.csv" for table in tables_of]
    for table, path in zip(tables_of, paths, strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_text(printers.csv_text(table.frame))
    listed = parts.ranking_parts(
        [table.plan for table in tables_of], "made_up_ranking", [f"tables/{p.name}" for p in paths]
    )
    assert [(part.kind, part.name, part.stem) for part in listed] == [
        ("figure", "ranking", ""),
        ("figure", "profiles", ""),
        ("table", "", "made_up_ranking"),
    ]
    settings = json.loads(listed[0].settings_json())
    table = parts.ranking(settings, {"tables": paths}, tmp_path)
    pd.testing.assert_frame_equal(table.frame, ranking.build(tables_of))
    drawn = figures.ranking(settings, {"tables": paths}, tmp_path).axes[0]
    assert [label.get_text() for label in drawn.get_yticklabels()] == list(table.frame["method"])


def test_where_less_is_better_the_smallest_has_rank_one(tmp_path):
    less = Measure(name="test_accuracy", words="test accuracy", larger_is_better=False)
    found = made(tmp_path, [{"pugd": 0.9, "sgd": 0.8}] * 2, measure=less)
    assert list(ranking.build(found)["method"]) == ["sgd_100", "pugd_100"]


def test_several_measures_are_not_ranked_together(tmp_path):
    found = made(tmp_path, [{"pugd": 0.9, "sgd": 0.8}] * 2)
    other = replace(found[1].plan, measure=Measure(name="test_loss", words="test loss"))
    with pytest.raises(PerturbError, match="of one measure"):
        ranking.build([found[0], tables.ComparisonTable(other, found[1].frame)])


def test_nothing_to_rank_is_said_and_stops_nothing(tmp_path):
    found = made(tmp_path, [{"pugd": 0.9, "sgd": None}, {"pugd": None, "sgd": 0.8}])
    frame = ranking.build(found)
    assert frame.empty and "mean_rank" in frame
    made_of = ranking.table_of(frame, found, "ranking")
    assert "nothing to rank" in made_of.caption
    with pytest.raises(PerturbError, match="at least two data sets"):
        ranking.build(found[:1])
