import math

import numpy as np
import pytest

from perturb.ensembles import predictions
from perturb.ensembles.predictions import agreement, mean_of_logits, mean_of_probabilities, scores

LOGITS = np.array([[[4.0, 0, 0]], [[0, 1.5, 0]], [[0, 1.5, 0]]])


def test_the_two_means_choose_different_classes():
    """The specification's example: probabilities choose class 1 (.4668), logits class 0."""
    probabilities = mean_of_probabilities(LOGITS)
    assert probabilities.argmax() == 1
    assert probabilities[0, 1] == pytest.approx(0.4668, abs=5e-5)
    assert mean_of_logits(LOGITS).argmax() == 0
    for found in (probabilities, mean_of_logits(LOGITS)):
        assert found.sum() == pytest.approx(1)


def test_scores_of_predictions_made_by_hand():
    """Four images, two classes: .9, .9, .6 right and .8 wrong."""
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.8, 0.2]])
    labels = np.array([0, 1, 0, 1])
    found = scores(probabilities, labels)
    assert found.accuracy == 0.75
    assert found.nll == pytest.approx(-(2 * math.log(0.9) + math.log(0.6) + math.log(0.2)) / 4)
    assert found.brier == pytest.approx((2 * 2 * 0.01 + 2 * 0.16 + 2 * 0.64) / 4)
    # Bins of width 1/15: {.9, .9} all right, {.6} right, {.8} wrong.
    assert found.ece == pytest.approx((2 * 0.1 + 0.4 + 0.8) / 4, abs=1e-6)


def test_a_sure_mistake_has_a_finite_loss():
    found = scores(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1, 0]))
    assert found.accuracy == 0.5
    assert found.nll == pytest.approx(52 * math.log(2) / 2)
    assert found.brier == 1


def test_agreement_made_by_hand():
    """Three members on four images; labels all 0. Choices: 0000, 0001, 0011."""
    choices = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]])
    logits = np.eye(2)[choices]
    found = agreement(logits, np.zeros(4, dtype=int))
    assert found.disagreement == pytest.approx((0.25 + 0.5 + 0.25) / 3)
    assert found.relative == pytest.approx(found.disagreement / (3 / 12))
    assert found.all_agree == 2


def test_of_one_member():
    found = agreement(LOGITS[:1], np.array([0]))
    assert math.isnan(found.disagreement)
    assert found.all_agree == 1
    assert math.isnan(predictions.mean_cosine(np.ones((1, 3))))


def test_cosine_of_weights():
    assert predictions.mean_cosine(np.array([[1.0, 0], [0, 2], [3, 3]])) == pytest.approx(
        2 * math.sqrt(0.5) / 3
    )
