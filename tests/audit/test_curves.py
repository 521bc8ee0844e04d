"""What single curves give away, on curves whose fault is planted."""

import numpy as np
import pytest

from perturb.audit.curves import check_curves, ends_of, turn_of
from perturb.audit.reading import read_folder

from .folders import make_plan, rising, write


def kinds(folder, heats=lambda file: False):
    files, _ = read_folder(make_plan(folder, fields=FIELDS))
    found = check_curves(files, heats)
    return {(finding.path.partition(".")[0], finding.kind) for finding in found}


FIELDS = {
    "test_accuracy": "test_accuracy",
    "train_loss": "train_loss",
    "best_accuracy": "best",
    "trigger_epoch": "trigger",
}


def cosine_losses(epochs, period, scale=2.0):
    """Losses that follow a cosine learning rate of a period: down, and up again beyond it."""
    rate = (1 + np.cos(np.pi * np.arange(epochs) / period)) / 2
    return scale * np.exp(-5 * (1 - rate))


def test_best_last_and_mean_of_the_last_ten_by_hand():
    accuracy = np.array([0.1, 0.9, *[0.5] * 5, *[0.7] * 5])
    ends = ends_of(accuracy)
    assert (ends.best, ends.best_epoch, ends.last) == (0.9, 1, 0.7)
    assert ends.last_ten == pytest.approx(0.6)


@pytest.mark.parametrize("period", [50, 60, 70])
def test_a_learning_rate_that_climbs_again_is_found_with_its_period(period):
    random = np.random.default_rng(0)
    losses = cosine_losses(100, period) * np.exp(random.normal(0, 0.02, 100))
    assert turn_of(losses).epoch == pytest.approx(period, abs=6)


def test_a_learning_rate_that_ends_at_its_minimum_is_not(tmp_path):
    random = np.random.default_rng(0)
    for period in (100, 97):
        losses = cosine_losses(100, period) * np.exp(random.normal(0, 0.05, 100))
        assert turn_of(losses) is None
    assert turn_of(None) is None
    assert turn_of(np.full(100, np.nan)) is None


def test_a_growing_radius_excuses_a_climbing_loss(tmp_path):
    write(tmp_path / "pugd_100.json", rising(0.9, 100), cosine_losses(100, 50))
    assert ("pugd_100", "learning_rate") in kinds(tmp_path)
    assert ("pugd_100", "learning_rate") not in kinds(tmp_path, heats=lambda file: True)


def test_collapse_length_claims_and_timing(tmp_path):
    good = rising(0.9)
    write(tmp_path / "pugd_20.json", good)
    write(tmp_path / "sgd_20.json", rising(0.89), best=0.95, trigger=-1)
    write(tmp_path / "ugd_20.json", [*good[:-1], 0.87])
    write(tmp_path / "samx1_20.json", [*good[:-1], 0.885])
    write(tmp_path / "sgd_40.json", rising(0.91))
    write(tmp_path / "pugd_10.json", rising(0.905))
    write(tmp_path / "sam_0.05_20.json", rising(0.3))
    assert kinds(tmp_path) == {
        ("sgd_20", "claimed_best"),
        ("sgd_20", "never_triggered"),
        ("ugd_20", "collapse"),
        ("sgd_40", "epochs"),
        ("pugd_10", "epochs"),
        ("sam_0", "never_learned"),
    }


def test_doubles_and_beginnings_are_found_and_a_shared_first_epoch_is_not(tmp_path):
    curve = rising(0.9)
    write(tmp_path / "a_20.json", curve)
    write(tmp_path / "b_20.json", curve)
    write(tmp_path / "c_9.json", curve[:9])
    write(tmp_path / "d_20.json", [curve[0], *rising(0.8)[1:]])
    write(tmp_path / "e_1.json", curve[:1])
    found = {name for name, kind in kinds(tmp_path) if kind == "duplicate"}
    assert found == {"b_20", "c_9"}
