"""What an ensemble predicts, how good that is, and how much its members differ."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

BINS = 15  # of the calibration error, as Guo et al. 2017


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits [..., K], in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(-1, keepdims=True)


def mean_of_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the mean [N, K] of the members' probabilities, logits [M, N, K]."""
    return softmax(logits).mean(0)


def mean_of_logits(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities [N, K] of the members' mean logits [M, N, K], as the thesis has it.

    It is the normalised geometric mean of their probabilities.
    """
    return softmax(logits.astype(np.float64).mean(0))


@dataclass(frozen=True)
class Scores:
    """How good probabilities are: accuracy, NLL in nats, ECE and Brier score.

    The Brier score is the sum over classes of squared errors (0 to 2); the expected calibration
    error is over 15 bins of equal width, weighted by their images. A sure mistake costs 36 nats,
    for scikit-learn keeps probabilities 2^-52 away from 0.
    """

    accuracy: float
    nll: float
    ece: float
    brier: float


def scores(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Return the scores of probabilities [N, K] for labels [N], each class from 0 to K - 1."""
    import torch
    from sklearn.metrics import brier_score_loss, log_loss
    from torchmetrics.functional.classification import multiclass_calibration_error

    classes = np.arange(probabilities.shape[1])
    error = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), len(classes), n_bins=BINS
    )
    return Scores(
        accuracy=float((probabilities.argmax(1) == labels).mean()),
        nll=float(log_loss(labels, probabilities, labels=classes)),
        ece=float(error),
        brier=float(brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)),
    )


@dataclass(frozen=True)
class Agreement:
    """How much members differ.

    `disagreement` is the share of images on which two members choose different classes, mean over
    pairs; `relative` the same over 1 - their mean accuracy (Fort et al. 2019); `all_agree` the
    number of images on which all choose the same. Of one member the first two are NaN.
    """

    disagreement: float
    relative: float
    all_agree: int


def agreement(logits: np.ndarray, labels: np.ndarray) -> Agreement:
    """Return how much the members with logits [M, N, K] agree on images of labels [N]."""
    chosen = logits.argmax(2)
    pairs = [float((one != other).mean()) for one, other in combinations(chosen, 2)]
    wrong = float((chosen != labels).mean())
    mean = float(np.mean(pairs)) if pairs else float("nan")
    relative = mean / wrong if wrong else float("nan")
    return Agreement(mean, relative, int((chosen == chosen[0]).all(0).sum()))


def mean_cosine(vectors: np.ndarray) -> float:
    """Return the mean over pairs of the cosine between the members' weights [M, n]; NaN of one."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [float(one @ other) for one, other in combinations(unit, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")
