"""What a stage of a method computes from a batch: losses, selections, and what it remembers.

Each function is a `Stage.step` of `perturb.studies.reid.methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from perturb.studies.reid import losses
from perturb.studies.reid.batches import Batch
from perturb.studies.reid.losses import Terms
from perturb.studies.reid.methods import Method


@dataclass(frozen=True)
class Passed:
    """What a batch gave: logits [B, K] and features [B, d] of each network, and the epoch.

    `strong` computes the logits of the first network under strong augmentation.
    """

    batch: Batch
    logits: Sequence[Tensor]
    features: Sequence[Tensor]
    epoch: int
    strong: Callable[[], Tensor]


@dataclass(frozen=True)
class Found:
    """What a stage computed: of each network the terms of its loss, the selected samples (bool
    [B]; None: all) and the samples' weights (float [B]; None: 1 each).

    `may_be_void` says that a loss is over the selection alone: where that is empty, the batch
    changes nothing in its network.
    """

    terms: Sequence[Terms]
    selected: Sequence[Tensor | None]
    weights: Sequence[Tensor | None]
    may_be_void: bool = False


class Memory:
    """What a method remembers over epochs, of networks and of samples.

    Args:
        method: whose memory it is.
        count, classes: of the train split.
        device: where the samples' numbers are kept.
    """

    def __init__(self, method: Method, labels: Tensor, classes: int, device: torch.device) -> None:
        networks, count = method.definition.networks, len(labels)
        self.method = method
        # Mean refined loss of each network in the last epoch of a stage that refines.
        self.mean_losses: list[float | None] = [None] * networks
        self.weights = torch.zeros(count, device=device)
        self.average = torch.empty(0, device=device)
        self.losses = torch.zeros(networks, count, device=device)
        self.clean = torch.ones(networks, count, device=device)
        if method.definition.head == "act":
            self.average = one_hot(labels, classes).float()

    def begin(self, step: str) -> None:
        """Prepare an epoch of a stage: the mixture of each network's losses of the one before."""
        if step == "probable":
            found = [
                losses.clean_probabilities(of_network.double().cpu().numpy())
                for of_network in self.losses
            ]
            self.clean = torch.from_numpy(np.stack(found)).float().to(self.losses.device)

    def end(self, step: str, mean_losses: Sequence[float]) -> None:
        """Take note of an epoch's mean loss of each network."""
        if step in ("first_self", "first_roles"):
            self.mean_losses = list(mean_losses)

    def note_losses(self, passed: Passed) -> None:
        """Keep the batch's cross-entropies, as they were in training, for the mixture."""
        if self.method.definition.head == "lcnl":
            for network, logits in enumerate(passed.logits):
                each = losses.per_sample(logits.detach(), passed.batch.labels)
                self.losses[network, passed.batch.places] = each

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "mean_losses": list(self.mean_losses),
            "weights": self.weights,
            "average": self.average,
            "losses": self.losses,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.mean_losses = list(state["mean_losses"])
        for name in ("weights", "average", "losses"):
            setattr(self, name, state[name].to(self.losses.device))


Step = Callable[[Passed, Memory], Found]


def _all(terms: Sequence[Terms]) -> Found:
    return Found(terms, [None] * len(terms), [None] * len(terms))


def first_ce(passed: Passed, memory: Memory) -> Found:
    """Plain cross-entropy."""
    return _all([losses.cross_entropy(logits, passed.batch.labels) for logits in passed.logits])


def first_self(passed: Passed, memory: Memory) -> Found:
    """SELF's refined loss, of each network by its own mean loss."""
    labels = passed.batch.labels
    shares = [losses.refinement(mean) for mean in memory.mean_losses]
    pairs = zip(passed.logits, shares, strict=True)
    return _all([losses.refined(logits, labels, share) for logits, share in pairs])


def first_roles(passed: Passed, memory: Memory) -> Found:
    """The refined loss for the first network, plain cross-entropy for the second."""
    labels, share = passed.batch.labels, losses.refinement(memory.mean_losses[0])
    refined = losses.refined(passed.logits[0], labels, share)
    return _all([refined, losses.cross_entropy(passed.logits[1], labels)])


def collaborative(passed: Passed, memory: Memory) -> Found:
    """CORE's stage 2, selective or not."""
    pairs = (passed.logits, passed.logits[::-1])
    if not memory.method.values["selective"]:
        return _all([losses.collaborative(*pair) for pair in zip(*pairs, strict=True)])
    selected = _predicted_by_peer(passed)
    terms = [losses.collaborative(*three) for three in zip(*pairs, selected, strict=True)]
    return Found(terms, selected, [chosen.float() for chosen in selected], may_be_void=True)


def _predicted_by_peer(passed: Passed) -> list[Tensor]:
    """Return for each network where its peer predicts the given label, bool [B]."""
    return [logits.argmax(1) == passed.batch.labels for logits in passed.logits[::-1]]


def act_warm_up(passed: Passed, memory: Memory) -> Found:
    """ACT's warm-up: every sample's weight rises by one an epoch."""
    robust, plain = passed.logits
    labels, places = passed.batch.labels, passed.batch.places
    memory.weights[places] += 1
    terms = [losses.act_warm_up(robust, labels), losses.cross_entropy(plain, labels)]
    return Found(terms, [None, None], [memory.weights[places], None])


def act(passed: Passed, memory: Memory) -> Found:
    """ACT after its warm-up."""
    robust, plain = passed.logits
    labels, places = passed.batch.labels, passed.batch.places
    selected = losses.act_selection(robust, plain, labels, memory.method.values["tau"])
    memory.weights[places] += selected
    weights = memory.weights[places]
    memory.average[places] = losses.act_average(memory.average[places], robust)
    pseudo = losses.act_labels(memory.average[places], labels, selected)
    strong = passed.strong()
    terms = losses.act_robust(robust, strong, labels, pseudo, selected, weights, passed.epoch)
    return Found([terms, losses.cross_entropy(plain, labels)], [selected, None], [weights, None])


def probable(passed: Passed, memory: Memory) -> Found:
    """LCNL: each network by the probabilities that its peer's losses give."""
    margin, places = memory.method.values["margin"], passed.batch.places
    clean = [memory.clean[peer, places] for peer in (1, 0)]
    given = zip(passed.logits, passed.features, clean, strict=True)
    terms = [losses.probable(o, f, passed.batch.labels, p, margin) for o, f, p in given]
    return Found(terms, [p >= 0.5 for p in clean], clean)


def two_stage_first(passed: Passed, memory: Memory) -> Found:
    """TSNT's stage 1."""
    labels = passed.batch.labels
    return _all([losses.two_stage_first(logits, labels) for logits in passed.logits])


def two_stage_second(passed: Passed, memory: Memory) -> Found:
    """TSNT's stage 2: reliable is where the peer predicts the given label."""
    margin, labels = memory.method.values["margin"], passed.batch.labels
    selected = _predicted_by_peer(passed)
    given = zip(passed.logits, passed.features, passed.logits[::-1], selected, strict=True)
    terms = [losses.two_stage_second(o, f, peer, labels, s, margin) for o, f, peer, s in given]
    return Found(terms, selected, [chosen.float() for chosen in selected])


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        first_ce,
        first_self,
        first_roles,
        collaborative,
        act_warm_up,
        act,
        probable,
        two_stage_first,
        two_stage_second,
    )
}
