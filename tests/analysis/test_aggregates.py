"""Probability of improvement and performance profiles: by hand, against SciPy, coverage."""

import numpy as np
import pytest
from scipy import stats

from perturb.analysis import aggregates, coverage, display, ranking
from perturb.figures import profiles as figure

from .test_ranking import made


def test_it_is_the_mann_whitney_statistic_as_a_share_of_the_pairs():
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(0, 5, (2, 7)) * 1.0, generator.integers(0, 5, (2, 6)) * 1.0
    expected = [
        stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
        for x, y in zip(ours, theirs, strict=True)
    ]
    found = aggregates.probability_of_improvement(list(ours), list(theirs))
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.low <= found.mean <= found.high


@pytest.mark.parametrize(
    ("ours", "mean"), [([2.0, 3.0], 1.0), ([0.0, 0.5], 0.0), ([1.0, 1.0], 0.5)]
)
def test_by_hand(ours, mean):
    found = aggregates.probability_of_improvement([np.array(ours)], [np.array([1.0, 1.0])])
    assert found.mean == mean and (found.low, found.high) == (mean, mean)


def test_of_single_runs_there_is_no_interval():
    found = aggregates.probability_of_improvement([np.array([2.0])], [np.array([1.0])])
    assert found == aggregates.Probability(1.0)


def test_a_profile_is_the_share_of_runs_above_each_threshold():
    values = [np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0])]
    found = aggregates.profile(values, np.array([0.0, 1.5, 2.5, 9.0]))
    assert found.share == pytest.approx([1, (2 / 3 + 1) / 2, (1 / 3) / 2, 0])
    assert (found.low <= found.share).all() and (found.share <= found.high).all()
    again = aggregates.profile(values, np.array([0.0, 1.5, 2.5, 9.0]))
    np.testing.assert_array_equal(found.low, again.low)


@pytest.mark.parametrize("n", [5, 10])
def test_its_interval_covers_somewhat_too_rarely(n):
    measured = coverage.improvement_coverage(n, replicates=200)
    assert 0.8 < measured.rate < 0.99, measured


def test_the_ranking_has_it_and_its_figure(tmp_path):
    values = [{"pugd": 0.9, "sgd": 0.8, "ugd": 0.95}, {"pugd": 0.7, "sgd": 0.6, "ugd": 0.6}]
    tables = made(tmp_path, values)
    frame = ranking.build(tables).set_index("method")
    assert frame.loc["ugd_100", "probability_of_improvement"] == 0.5
    assert frame.loc["sgd_100", "probability_of_improvement"] == 0
    assert np.isnan(frame.loc["pugd_100", "probability_of_improvement"])
    text = ranking.caption(frame.reset_index(), tables[0].plan)
    assert "better than one of pugd_100" in text
    drawn = figure.draw(ranking.build(tables), tables)
    assert len(drawn.axes[0].lines) == 3
    assert "more than the mean of pugd_100 (points)" in drawn.axes[0].get_xlabel()
    assert display.known(frame["mean_rank"].iloc[0])


def test_where_the_reference_has_not_finished_all_are_compared_with_all(tmp_path):
    values = [{"pugd": None, "sgd": 0.8, "ugd": 0.95}, {"pugd": 0.7, "sgd": 0.6, "ugd": 0.6}]
    tables = made(tmp_path, values)
    drawn = figure.draw(ranking.build(tables), tables)
    assert "than the mean of all methods" in drawn.axes[0].get_xlabel()
    assert len(drawn.axes[0].lines) == 2
