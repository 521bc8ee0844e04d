"""The test of equal spreads: its statistic is Bartlett's, its level holds for coarse values."""

import numpy as np
import pytest
from scipy import stats

from perturb.analysis import coverage, spread
from perturb.analysis.pooling import pool
from perturb.analysis.statistics import p_words


def groups_of(methods, seeds):
    return np.repeat(np.arange(methods), seeds)


def block_design(methods, seeds):
    of = np.tile(np.arange(seeds), methods)
    return np.hstack([np.eye(methods)[groups_of(methods, seeds)], np.eye(seeds)[of]])


def test_the_statistic_is_bartletts_but_for_its_factor():
    values = np.random.default_rng(0).normal(size=(4, 7)) * [[1], [2], [1], [3]]
    groups = groups_of(4, 7)
    fit = spread._Fit(np.eye(4)[groups], groups, step=0.0)
    factor = 1 + (4 / 6 - 1 / 24) / (3 * 3)
    expected = stats.bartlett(*values).statistic * factor
    assert fit.statistic(values.reshape(1, -1))[0] == pytest.approx(expected)


def test_of_independent_groups_the_p_value_is_bartletts():
    values = np.random.default_rng(1).normal(size=(4, 30)) * [[1], [1.3], [1], [1]]
    groups = groups_of(4, 30)
    found = spread.equal_spread(np.eye(4)[groups], values.ravel(), groups)
    expected = stats.bartlett(*values).pvalue
    assert 0.01 < expected < 0.5
    assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / spread.RESAMPLES) + 0.003


def test_methods_whose_seeds_agree_by_chance_are_no_evidence():
    """A spread of one image of 360, and equal residuals: a report of digits said p = 0 here."""
    generator, found = np.random.default_rng(2), []
    while len(found) < 100:
        values = np.rint(340 + generator.normal(size=(5, 3)))
        residuals = values - values.mean(0)
        if np.ptp(residuals, axis=1).min() < 1e-12:
            design, groups = block_design(5, 3), groups_of(5, 3)
            found.append(spread.equal_spread(design, values.ravel() / 360, groups, 1 / 360, 199))
    # These are the studies that look least equal, and are few.
    assert min(found) > 0.001 and np.mean(np.array(found) > 0.05) > 0.5


def test_where_values_are_fine_a_method_without_spread_is_evidence():
    values = np.random.default_rng(3).normal(size=(8, 6))
    values[2] = values.mean(0)
    found = spread.equal_spread(block_design(8, 6), values.ravel(), groups_of(8, 6))
    assert found == 1 / (spread.RESAMPLES + 1)


def test_a_collapsed_method_of_coarse_values_is_found():
    noise = np.random.default_rng(4).normal(size=(12, 5))
    noise[3] *= 30
    values = {f"m{m}": dict(enumerate(np.rint(900 + row) / 1000)) for m, row in enumerate(noise)}
    pooled = pool(values, step=1 / 1000)
    assert not pooled.holds and p_words(pooled.equal_spread_p_value) == "p < 0.001"


def test_groups_below_zero_are_in_the_fit_alone():
    values = np.random.default_rng(5).normal(size=(5, 4))
    groups = groups_of(5, 4)
    groups[groups == 4] = -1
    shifted = values.copy()
    shifted[4] *= 2
    design = np.eye(5)[groups_of(5, 4)]
    found = [
        spread._Fit(design, groups, 0.0).statistic(v.reshape(1, -1)) for v in (values, shifted)
    ]
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("values", [np.ones(6), np.arange(6.0) // 3])
def test_without_noise_there_is_no_p_value(values):
    groups = groups_of(2, 3)
    assert spread.equal_spread(np.eye(2)[groups], values, groups) is None


@pytest.mark.parametrize(("seeds", "images"), [(3, 360), (5, 10_000)])
def test_its_level_holds(seeds, images):
    measured = coverage.equal_spread_error(seeds, images, replicates=300)
    assert measured.rate < measured.nominal + 4 * measured.error, measured


def test_its_level_is_no_fraction_of_the_nominal_one_where_values_are_fine():
    measured = coverage.equal_spread_error(3, 10_000, replicates=300)
    assert abs(measured.rate - measured.nominal) < 4 * measured.error, measured
