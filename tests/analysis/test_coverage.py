"""The intervals cover and the tests err as often as they say, within four standard errors."""

import numpy as np
import pytest

from perturb.analysis import coverage, statistics


def close(measured):
    assert abs(measured.rate - measured.nominal) < 4 * measured.error, measured


@pytest.mark.parametrize("n", [3, 10])
def test_t_intervals_cover(n):
    close(coverage.t_coverage("normal", n))


@pytest.mark.parametrize("n", [5, 10])
def test_bootstrap_intervals_cover_from_five_values_on(n):
    close(coverage.bootstrap_coverage("normal", n, replicates=1000))
    skewed = coverage.bootstrap_coverage("skewed", n, replicates=1000)
    assert skewed.rate > coverage.t_coverage("skewed", n).rate


def test_no_bootstrap_covers_at_three_values():
    assert coverage.scipy_bootstrap_coverage("BCa", "normal", 3).rate < 0.8
    assert coverage.scipy_bootstrap_coverage("percentile", "normal", 3).rate < 0.8
    low, high = statistics.bootstrap_interval(coverage.draw("normal", (50, 3), 0), resamples=999)
    assert not np.isfinite(high - low).any()


def test_pooled_intervals_cover_where_spreads_are_equal():
    close(coverage.pooled_coverage(3, replicates=400, methods=10))
    assert coverage.pooled_coverage(3, "unequal", replicates=400, methods=10).rate < 0.95


@pytest.mark.parametrize("n", [3, 6])
def test_equivalence_is_wrongly_shown_as_often_as_the_level(n):
    close(coverage.equivalence_error("normal", n, 3.0))
    small = coverage.equivalence_error("normal", n, 0.1)
    assert small.rate <= small.nominal


@pytest.mark.parametrize("n", [3, 6])
def test_the_family_errs_no_more_often_than_the_level(n):
    for measured in (coverage.family_error(n, 2000), coverage.equivalence_family_error(n, 4, 2000)):
        assert 0.01 < measured.rate < measured.nominal + 4 * measured.error, measured


@pytest.mark.parametrize("n", [3, 6])
def test_detectable_differences_are_found_with_their_power(n):
    close(coverage.detection(n))


def test_the_ranking_speaks_of_equal_methods_hardly_more_often_than_the_level():
    measured = coverage.ranking_error(6)
    assert 0.03 < measured.rate < 0.08, measured


def test_the_table_has_a_row_a_rate():
    rows = [coverage.t_coverage("normal", 3), coverage.detection(3)]
    assert coverage.table(rows).splitlines()[3] == (
        f"| detectable difference found | normal | 3 | 80 | {100 * rows[1].rate:.1f} ± 0.6 |"
    )
