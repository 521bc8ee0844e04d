"""The losses of the methods, each as its terms by name; their sum is the loss. Of torch only.

All go through log_softmax, so that nothing is clamped. Logits are [B, K], labels int64 [B]. A mean
over a selection S is `sum / max(|S|, 1)`: over an empty one it is 0, where `mean` would be NaN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, nll_loss, normalize, relu

Terms = Mapping[str, Tensor]

TEMPORAL = 0.8  # ACT's share of the average of predictions that is kept
ACT_SHARES = (0.8, 0.2)  # of ACT's weighted loss and of its loss on strong augmentation
TSNT_SHARES = (0.8, 0.2)


def per_sample(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each sample [B]."""
    return nll_loss(log_softmax(logits, 1), labels, reduction="none")


def selected_mean(values: Tensor, selected: Tensor) -> Tensor:
    """Return `sum over S / max(|S|, 1)` of values [B]; `selected` bool [B].

    The values outside S have no part in it, whatever they are.
    """
    kept = torch.where(selected, values, torch.zeros_like(values))
    return kept.sum() / selected.sum().clamp(min=1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Terms:
    """Return the mean cross-entropy."""
    return {"cross_entropy": per_sample(logits, labels).mean()}


def refinement(mean_loss: float | None) -> float:
    """Return SELF's lambda, `1 / (1 + mean refined loss of the epoch before)`; 0 at first."""
    return 0.0 if mean_loss is None else 1 / (1 + mean_loss)


def refined(logits: Tensor, labels: Tensor, share: float) -> Terms:
    """Return SELF's loss: `(1 - lambda) CE(y) - lambda max_c log p_c`; `share` is lambda."""
    logs = log_softmax(logits, 1)
    return {
        "cross_entropy": (1 - share) * nll_loss(logs, labels),
        "own_prediction": -share * logs.max(1).values.mean(),
    }


def collaborative(logits: Tensor, peer: Tensor, selected: Tensor | None = None) -> Terms:
    """Return CORE's loss of stage 2: `CE(argmax p_peer) + sum_c -p_peer log p`, peer detached.

    Given labels have no part in it. With `selected` bool [B] both are means over the selection.
    """
    logs, peer = log_softmax(logits, 1), peer.detach()
    hard = nll_loss(logs, peer.argmax(1), reduction="none")
    soft = -(peer.softmax(1) * logs).sum(1)
    if selected is None:
        selected = torch.ones_like(hard, dtype=torch.bool)
    return {
        "peer_label": selected_mean(hard, selected),
        "peer_distribution": selected_mean(soft, selected),
    }


def negative_entropy(logits: Tensor) -> Tensor:
    """Return the mean of `sum_c p_c log p_c`."""
    logs = log_softmax(logits, 1)
    return (logs.exp() * logs).sum(1).mean()


def act_warm_up(logits: Tensor, labels: Tensor) -> Terms:
    """Return the loss of ACT's robust network in its warm-up: CE + negative entropy."""
    return {
        "cross_entropy": per_sample(logits, labels).mean(),
        "negative_entropy": negative_entropy(logits),
    }


def act_selection(robust: Tensor, plain: Tensor, labels: Tensor, tau: float) -> Tensor:
    """Return ACT's selection S, bool [B], from the logits of its two networks.

    Where both predict the given label; and where the plain network alone does, if its accuracy on
    the batch is above the robust one's by less than a share tau of that.
    """
    right0, right1 = robust.argmax(1) == labels, plain.argmax(1) == labels
    accuracy0, accuracy1 = right0.double().mean(), right1.double().mean()
    close = (accuracy0 > 0) & ((accuracy1 - accuracy0) / accuracy0 < tau)
    return (right0 & right1) | (~right0 & right1 & close)


def act_average(average: Tensor, logits: Tensor) -> Tensor:
    """Return ACT's average of a sample's predictions [B, K], one epoch on."""
    return TEMPORAL * average + (1 - TEMPORAL) * logits.detach().softmax(1)


def act_labels(average: Tensor, labels: Tensor, selected: Tensor) -> Tensor:
    """Return ACT's pseudo-labels: the given one in S, else the largest of the average."""
    return torch.where(selected, labels, average.argmax(1))


def act_robust(
    logits: Tensor,
    strong: Tensor,
    labels: Tensor,
    pseudo: Tensor,
    selected: Tensor,
    weights: Tensor,
    epoch: int,
) -> Terms:
    """Return the loss of ACT's robust network: weighted over S, and on strong augmentation.

    `weights` [B] count how often a sample was selected; they are divided by the epochs so far.
    """
    weighted = per_sample(logits, labels) * weights / (epoch + 1)
    return {
        "weighted": ACT_SHARES[0] * selected_mean(weighted, selected),
        "strong": ACT_SHARES[1] * per_sample(strong, pseudo).mean(),
    }


def clean_probabilities(losses: np.ndarray) -> np.ndarray:
    """Return p(clean) [N] of samples by their losses [N], finite.

    The posterior of the component with the lower mean in a mixture of two Gaussians over the
    losses, scaled to 0..1 (Arazo et al. 2019; settings of DivideMix, Li et al. 2020). Equal losses
    tell nothing: all are taken for clean.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    spread = np.ptp(losses)
    if spread == 0:
        return np.ones(len(losses))
    scaled = ((losses - losses.min()) / spread).reshape(-1, 1).astype(np.float64)
    mixture = GaussianMixture(2, max_iter=100, tol=1e-2, reg_covar=5e-4, random_state=0)
    with threadpool_limits(limits=1):
        mixture.fit(scaled)
        return mixture.predict_proba(scaled)[:, mixture.means_.argmin()]


def triplet(features: Tensor, labels: Tensor, reliable: Tensor, margin: float) -> Tensor:
    """Return the robust triplet loss of features [B, d], compared at unit length.

    Anchors are the `reliable` samples, bool [B]. An anchor's positives are the other reliable ones
    of its label, its negatives all of other labels; distances are averaged with weights `e^d` over
    positives and `e^-d` over negatives, so that the hard ones count most. Mean over the anchors
    that have both of `max(0, margin + positive - negative)`.
    """
    unit = normalize(features, dim=1)
    squared = (2 - 2 * unit @ unit.T).clamp(min=1e-12)  # the root has no slope at 0
    distances = squared.sqrt()
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = same & ~itself & reliable[None, :]
    near = _weighted_mean(distances, positive, distances)
    far = _weighted_mean(distances, ~same, -distances)
    anchors = reliable & positive.any(1) & (~same).any(1)
    return selected_mean(relu(margin + near - far), anchors)


def _weighted_mean(values: Tensor, chosen: Tensor, exponents: Tensor) -> Tensor:
    """Return of each row the mean of the chosen values, weighted by the exponentials; 0 of none."""
    weights = torch.where(chosen, exponents.exp(), torch.zeros_like(exponents))
    return (weights * values).sum(1) / weights.sum(1).clamp(min=1e-12)


def probable(
    logits: Tensor, features: Tensor, labels: Tensor, clean: Tensor, margin: float
) -> Terms:
    """Return LCNL's loss: `mean(p CE)` and a triplet of anchors with p >= 0.5; `clean` is p [B]."""
    return {
        "weighted": (clean * per_sample(logits, labels)).mean(),
        "triplet": triplet(features, labels, clean >= 0.5, margin),
    }


def two_stage_first(logits: Tensor, labels: Tensor) -> Terms:
    """Return TSNT's loss of stage 1: `.8 CE(y) + .2 CE(own) + 1[pred == y] (-log p_y)`."""
    logs = log_softmax(logits, 1)
    each = nll_loss(logs, labels, reduction="none")
    agreed = logits.argmax(1) == labels
    return {
        "cross_entropy": TSNT_SHARES[0] * each.mean(),
        "own_prediction": -TSNT_SHARES[1] * logs.max(1).values.mean(),
        "agreement": torch.where(agreed, each, torch.zeros_like(each)).mean(),
    }


def two_stage_second(
    logits: Tensor,
    features: Tensor,
    peer: Tensor,
    labels: Tensor,
    reliable: Tensor,
    margin: float,
) -> Terms:
    """Return TSNT's loss of stage 2: KL to the peer, CE and triplets of the reliable samples."""
    logs, peer_logs = log_softmax(logits, 1), log_softmax(peer.detach(), 1)
    return {
        "peer_divergence": (peer_logs.exp() * (peer_logs - logs)).sum(1).mean(),
        "cross_entropy": selected_mean(per_sample(logits, labels), reliable),
        "triplet": triplet(features, labels, reliable, margin),
    }
