"""One spread for all methods: the block design against its closed form and its meaning."""

import numpy as np
import pytest
from scipy import stats

from perturb.analysis.pooling import pool


def by_seed(array, first=0):
    return {f"m{m}": dict(enumerate(row, first)) for m, row in enumerate(array)}


def test_a_full_design_has_the_textbooks_residual_and_interval():
    values = np.random.default_rng(0).normal(size=(5, 3)) + np.arange(3)
    pooled = pool(by_seed(values))
    residuals = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    variance = (residuals**2).sum() / (4 * 2)
    assert pooled.degrees_of_freedom == 8
    assert pooled.sd == pytest.approx(np.sqrt(variance))
    half = stats.t.ppf(0.975, 8) * np.sqrt(variance * 2 / 3)
    difference = values[3].mean() - values[1].mean()
    expected = difference - half, difference + half
    assert pooled.interval("m3", "m1") == pytest.approx(expected)
    assert 0.05 < pooled.equal_spread_p_value < 1


def test_of_two_methods_it_is_the_paired_t_interval():
    values = np.random.default_rng(1).normal(size=(2, 6))
    differences = values[1] - values[0]
    expected = stats.ttest_1samp(differences, 0).confidence_interval()
    assert pool(by_seed(values)).interval("m1", "m0") == pytest.approx(tuple(expected))


def test_a_missing_run_leaves_the_rest_as_least_squares_has_it():
    values = by_seed(np.random.default_rng(2).normal(size=(4, 3)))
    del values["m2"][1]
    pooled = pool(values)
    assert pooled.degrees_of_freedom == 11 - 4 - 2
    low, high = pooled.interval("m1", "m0")
    whole = np.mean([values["m1"][s] - values["m0"][s] for s in range(3)])
    assert (low + high) / 2 == pytest.approx(whole)


def test_unequal_spreads_are_noticed_and_a_collapse_stops_the_pooling():
    noise = np.random.default_rng(3).normal(size=(12, 3))
    assert pool(by_seed(noise)).holds
    noise[4] *= 100
    pooled = pool(by_seed(noise))
    assert pooled.equal_spread_p_value < 0.001 and not pooled.holds


@pytest.mark.parametrize(
    "values",
    [{}, {"a": {0: 0.5, 1: 0.6}}, {"a": {0: 0.5}, "b": {0: 0.6}}, by_seed(np.ones((3, 3)))],
)
def test_where_no_spread_is_left_there_is_none(values):
    assert pool(values) is None
