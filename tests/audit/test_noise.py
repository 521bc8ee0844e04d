"""The noise floor against closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from perturb.audit.noise import RepeatGroup, floor_of, pooled, repeats
from perturb.audit.reading import read_folder

from .folders import make_plan, rising, write


def group(*values):
    return RepeatGroup("", 20, ("",) * len(values), values)


def test_pooling_is_analysis_of_variance():
    samples = ([0.93, 0.94, 0.935], [0.90, 0.91], [0.95, 0.951, 0.949, 0.952])
    floor = pooled("", [group(*sample) for sample in samples])
    within = sum(np.var(sample, ddof=1) * (len(sample) - 1) for sample in samples)
    assert floor.degrees_of_freedom == 6
    assert floor.sd == pytest.approx(np.sqrt(within / 6), rel=1e-12)


def test_equal_values_or_none_are_no_floor():
    assert pooled("", []).sd is None
    assert pooled("", [group(0.9, 0.9)]).sd is None


def test_intervals_cover_the_truth_as_often_as_they_say():
    random, covered, told = np.random.default_rng(1), 0, 0
    for _ in range(2000):
        floor = pooled("", [group(*random.normal(0.9, 0.002, 3)) for _ in range(3)])
        covered += floor.low <= 0.002 <= floor.high
        difference = random.normal(0.004, 0.002 * np.sqrt(1 / 2 + 1 / 3))
        told += abs(difference - 0.004) <= floor.half_width(2, 3)
    # Three standard errors of a share of 0.95 in 2000.
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)
    assert told / 2000 == pytest.approx(0.95, abs=0.015)


def test_half_width_is_the_two_sample_t_interval():
    one, two = [0.93, 0.94, 0.936], [0.92, 0.925, 0.921, 0.93]
    floor = pooled("", [group(*one), group(*two)])
    interval = stats.ttest_ind(one, two).confidence_interval()
    assert floor.half_width(3, 4) == pytest.approx((interval.high - interval.low) / 2)


def test_runs_to_resolve_have_the_power_asked_for():
    floor = floor_of("", 0.0023, 5)
    runs = floor.runs_to_resolve(0.004)
    random = np.random.default_rng(2)
    power = []
    for n in (runs - 1, runs):
        one, two = random.normal(0.004, 0.0023, (n, 4000)), random.normal(0, 0.0023, (n, 4000))
        power.append((stats.ttest_ind(one, two).pvalue < 0.05).mean())
    assert power[0] < 0.81 and power[1] > 0.79
    for sd in np.geomspace(1e-6, 4e-4, 60):
        assert floor_of("", sd, 5).runs_to_resolve(0.004) == 2
    assert np.isfinite(
        [floor_of("", s, 5).runs_to_resolve(0.004) for s in np.geomspace(4e-4, 1, 60)]
    ).all()


def test_what_counts_as_a_repeat(tmp_path):
    for name in (
        "pugds_sin_2.0_0_20",
        "pugds_sin_2_0_20",
        "pugds_sin_2_0.5_20",
        "pugds_sin_3_0_20",
    ):
        write(tmp_path / f"{name}.json", rising(0.9))
    files, _ = read_folder(make_plan(tmp_path))
    sizes = {
        definition: [
            len(found.paths) for found in repeats(files, lambda f: f.accuracy[-1], definition, {})
        ]
        for definition in ("same_name", "near_name", "near_run")
    }
    assert sizes == {"same_name": [2], "near_name": [3], "near_run": [3]}
    run = {"pugds_sin_3_0_20.json": files[0].method}
    near = repeats(files, lambda f: f.accuracy[-1], "near_run", run)
    assert [len(found.paths) for found in near] == [4]
