"""Folders whose truth is known: how often the audit tells it (docs/audit.md has more of them)."""

import pytest

from perturb.audit.simulation import make_folder, plan_of, simulate
from perturb.audit.study import build


@pytest.fixture(scope="module")
def score():
    score = simulate(range(12))
    print(score.table())
    return score


def test_false_verdicts_are_rare_and_large_effects_are_told(score):
    assert score.rate("false holds or reversed, of claims without effect") <= 0.05
    assert score.rate("effects of 1.0 points missed") <= 0.1
    assert score.rate("effects of 1.0 points told the wrong way") == 0
    assert score.rate("effects of 0.5 points told the wrong way") == 0


def test_intervals_cover_the_truth(score):
    assert 0.9 <= score.rate("intervals that cover the truth") <= 1


def test_swaps_are_found_without_false_alarms(score):
    assert score.rate("swaps found") >= 0.9
    assert score.rate("false alarms of a swap") <= 0.02


def test_planted_faults_are_found_and_nothing_else(score):
    for label in score.labels():
        if label.startswith("planted faults found"):
            assert score.rate(label) == 1, label
        if label.startswith("folders with a false fault"):
            assert score.rate(label) == 0, label


def test_one_run_a_method_leaves_nothing_to_tell(tmp_path):
    make_folder(tmp_path, 0, seeds=1)
    audit = build(plan_of(tmp_path))
    assert {claim.verdict for claim in audit.claims} == {"cannot be told"}


@pytest.mark.parametrize("swaps", [0, 4, 6])
def test_nobody_is_accused_falsely_however_many_names_are_wrong(swaps):
    """With half of the schedules wrong the law itself is hidden: then nothing is told."""
    score = simulate(range(100, 104), swaps=swaps)
    assert score.rate("false alarms of a swap") == 0
    if swaps == 4:
        assert score.rate("swaps found") >= 0.7
