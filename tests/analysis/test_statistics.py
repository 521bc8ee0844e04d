import math

import numpy as np
import pytest
from scipy import stats

from perturb.analysis.statistics import (
    bootstrap_interval,
    compare,
    detectable_difference,
    detectable_difference_unpaired,
    holm,
    summarise,
)


def test_a_summary_is_the_t_interval_by_hand():
    # 0.90, 0.92, 0.97: mean 0.93, sd sqrt(((.03)^2 + (.01)^2 + (.04)^2) / 2), t(0.975, 2) = 4.3027
    summary = summarise([0.90, 0.92, 0.97])
    sd = math.sqrt((0.0009 + 0.0001 + 0.0016) / 2)
    half = 4.302652729911275 * sd / math.sqrt(3)
    assert summary.n == 3
    assert summary.mean == pytest.approx(0.93)
    assert summary.sd == pytest.approx(sd)
    assert (summary.low, summary.high) == pytest.approx((0.93 - half, 0.93 + half))


def test_one_value_has_a_mean_and_nothing_else():
    summary = summarise([0.5])
    assert (summary.n, summary.mean) == (1, 0.5)
    assert summary.sd is summary.low is summary.high is None


def test_equal_values_have_no_interval():
    summary = summarise([0.1 + 0.2, 0.3, 0.3])
    assert summary.sd == 0
    assert summary.low is None


def test_the_paired_test_is_the_one_sample_test_of_the_differences():
    ours, reference = {0: 0.91, 1: 0.93, 2: 0.98, 7: 0.5}, {2: 0.95, 1: 0.92, 0: 0.90, 9: 0.1}
    result = compare(ours, reference, 0.005)
    differences = np.array([0.01, 0.01, 0.03])
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(3))
    assert result.summary.n == 3
    assert result.summary.mean == pytest.approx(differences.mean())
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(t), 2))


def test_equal_to_the_reference_at_every_seed_is_no_evidence():
    result = compare({0: 0.9, 1: 0.8}, {0: 0.9, 1: 0.8}, 0.005)
    assert (result.summary.mean, result.p_value) == (0.0, None)
    assert "equal to the reference" in result.remark


def test_one_difference_at_every_seed_is_no_evidence():
    # Differences of one image in 360 differ in the last bit of a float only: p would be 1e-28.
    reference = {seed: count / 360 for seed, count in enumerate((351, 347, 358))}
    ours = {seed: (count + 1) / 360 for seed, count in enumerate((351, 347, 358))}
    result = compare(ours, reference, 0.005)
    assert result.p_value is None
    assert result.p_value_equivalence is None
    assert result.summary.low is None
    assert result.summary.mean == pytest.approx(1 / 360)


@pytest.mark.parametrize(("reference", "n"), [({0: 0.8}, 1), ({5: 0.8}, 0)])
def test_too_few_pairs_have_no_p(reference, n):
    result = compare({0: 0.9, 1: 0.8}, reference, 0.005)
    assert (result.summary.n, result.p_value) == (n, None)
    assert result.remark


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04, then made monotone.
    assert holm([0.04, None, 0.01, 0.03, 0.02]) == [
        pytest.approx(0.06),
        None,
        pytest.approx(0.04),
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    assert holm([None]) == [None]
    assert holm([0.7, 0.8]) == [1.0, 1.0]


def test_equivalence_is_two_one_sided_tests_by_hand():
    differences = np.array([0.001, -0.002, 0.002, 0.0])
    result = compare(dict(enumerate(0.9 + differences)), dict.fromkeys(range(4), 0.9), 0.005)
    error = differences.std(ddof=1) / 2
    upper = stats.t.cdf((differences.mean() - 0.005) / error, 3)
    lower = stats.t.sf((differences.mean() + 0.005) / error, 3)
    assert result.p_value_equivalence == pytest.approx(max(lower, upper))
    # The same as asking whether the 90 % interval lies within the margin.
    low, high = stats.t.interval(0.90, 3, differences.mean(), error)
    assert (result.p_value_equivalence < 0.05) == (-0.005 < low and high < 0.005)
    assert (
        result.p_value_equivalence
        < 0.05
        < compare(
            dict(enumerate(0.9 + 5 * differences)), dict.fromkeys(range(4), 0.9), 0.005
        ).p_value_equivalence
    )


def test_without_shared_seeds_the_test_is_welchs():
    ours, theirs = {0: 0.91, 1: 0.93, 2: 0.98}, {7: 0.90, 8: 0.90, 9: 0.92, 10: 0.91, 0: 0.89}
    result = compare(ours, theirs, 0.5)
    x, y = np.array(list(ours.values())), np.array(list(theirs.values()))
    a, b = x.var(ddof=1) / 3, y.var(ddof=1) / 5
    freedom = (a + b) ** 2 / (a**2 / 2 + b**2 / 4)
    t = (x.mean() - y.mean()) / math.sqrt(a + b)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(a + b)
    assert (result.design, result.summary.n, result.n_reference) == ("unpaired", 3, 5)
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(t), freedom))
    assert result.summary.high == pytest.approx(x.mean() - y.mean() + half)
    far = (x.mean() - y.mean() - 0.5) / math.sqrt(a + b)
    assert result.p_value_equivalence == pytest.approx(stats.t.cdf(far, freedom))


def test_two_shared_seeds_of_two_are_paired_and_too_few():
    result = compare({0: 0.9, 1: 0.8}, {0: 0.8, 1: 0.75, 2: 0.7}, 0.005)
    assert (result.design, result.seeds) == ("paired", 2)
    assert result.p_value is not None


def test_both_sides_without_spread_have_no_p():
    result = compare(dict.fromkeys(range(3), 0.9), dict.fromkeys(range(5, 8), 0.8), 0.5)
    assert (result.design, result.p_value, result.p_value_equivalence) == ("unpaired", None, None)
    assert result.summary.mean == pytest.approx(0.1) and result.remark


@pytest.mark.parametrize("n", [3, 6, 20])
def test_the_detectable_difference_has_its_power_by_the_noncentral_t(n):
    shift = detectable_difference(n, 2.0) / 2.0 * math.sqrt(n)
    critical = stats.t.ppf(0.975, n - 1)
    power = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_the_detectable_difference_of_two_groups_by_the_noncentral_t():
    shift = detectable_difference_unpaired(3, 5, 1.0) / math.sqrt(1 / 3 + 1 / 5)
    critical = stats.t.ppf(0.975, 6)
    power = stats.nct.sf(critical, 6, shift) + stats.nct.cdf(-critical, 6, shift)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_the_bootstrap_interval_by_every_resample():
    # All 5^5 resamples of five values, each studentised, in place of a random sample of them.
    values = np.array([0.0, 1.0, 2.5, 4.0, 9.0])
    every = values[np.indices((5,) * 5).reshape(5, -1)]
    deviation = every.std(0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = (every.mean(0) - values.mean()) / (deviation / math.sqrt(5))
    low, high = np.quantile(studentised, [0.025, 0.975])
    error = values.std(ddof=1) / math.sqrt(5)
    expected = values.mean() - high * error, values.mean() - low * error
    assert bootstrap_interval(values) == pytest.approx(expected, rel=0.1)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values + 3)[0] == pytest.approx(bootstrap_interval(values)[0] + 3)


def test_a_bootstrap_interval_needs_five_values_and_finite_ends():
    assert summarise([0.1, 0.2, 0.4, 0.5]).bootstrap_low is None
    assert summarise([0.1, 0.2, 0.4, 0.5, 0.9]).bootstrap_low is not None
    # A third of the resamples of these has no spread.
    coarse = summarise([0.1, 0.1, 0.1, 0.1, 0.2])
    assert coarse.low is not None and coarse.bootstrap_low is None


def test_the_bootstrap_interval_of_two_groups_covers_their_difference():
    noise = np.random.default_rng(3).normal(size=(2, 2000, 8))
    low, high = bootstrap_interval(noise[0], 2 * noise[1], resamples=499)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.02)
