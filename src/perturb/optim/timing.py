"""When to switch from plain SGD to the perturbed rule. Pure, without torch.

A trigger looks at each finished epoch and answers whether to perturb from the next one on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pvariance
from typing import Any

from perturb.methods import Timing


@dataclass(frozen=True)
class Epoch:
    """What a trigger may look at when an epoch has ended. Losses in nats, accuracy a fraction."""

    index: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    gradient_norms: Sequence[float]


@dataclass
class Trigger:
    """A timing rule and what it has seen so far, all of it in `history`."""

    parameters: Mapping[str, float]
    history: dict[str, Any] = field(default_factory=dict)

    def observe(self, epoch: Epoch) -> bool:
        """Take in an epoch that has ended; return whether to perturb from the next one on."""
        raise AssertionError("a timing rule says what it observes")


class At(Trigger):
    """`at_E`: perturb from epoch E on, whatever happens."""

    def observe(self, epoch: Epoch) -> bool:
        """Trigger at the end of epoch E - 1."""
        return epoch.index + 1 == self.parameters["epoch"]


class Delta(Trigger):
    """`delta`: the gap abs(L_valid - L_train) has grown past mu times its early mean."""

    def observe(self, epoch: Epoch) -> bool:
        """Compare at epochs e > xi with (e + 1) % t == 0; the base is the mean over 0..xi-1."""
        gap = abs(epoch.validation_loss - epoch.train_loss)
        early = self.history.setdefault("early_gaps", [])
        if epoch.index < self.parameters["xi"]:
            early.append(gap)
        if epoch.index <= self.parameters["xi"] or (epoch.index + 1) % self.parameters["t"]:
            return False
        return gap > self.parameters["mu"] * fmean(early)


class Variance(Trigger):
    """`var`: the variance of the last k batches' gradient norms has fallen below a threshold."""

    def observe(self, epoch: Epoch) -> bool:
        """Set the threshold at the end of epoch init_t; compare after epoch max(k, init_t)."""
        first, window = self.parameters["init_t"], int(self.parameters["k"])
        norms = self.history.setdefault("norms", [])
        norms.extend(epoch.gradient_norms)
        if epoch.index == first:
            self.history["threshold"] = self.parameters["gamma"] * pvariance(norms)
        if epoch.index >= first:
            del norms[:-window]
        if epoch.index <= max(window, first):
            return False
        return pvariance(norms) < self.history["threshold"]


class AccuracyDrop(Trigger):
    """`accdrop`: the validation accuracy has fallen below the epoch before's."""

    def observe(self, epoch: Epoch) -> bool:
        """Compare with the epoch before."""
        before = self.history.get("accuracy", -math.inf)
        self.history["accuracy"] = epoch.validation_accuracy
        return epoch.validation_accuracy < before


class AccuracyRate(Trigger):
    """`accrate`: the validation accuracy has changed by less than v, relatively, in k epochs."""

    def observe(self, epoch: Epoch) -> bool:
        """Compare with the accuracy k epochs before; an accuracy of zero then never triggers."""
        window = int(self.parameters["k"])
        accuracies = self.history.setdefault("accuracies", [])
        accuracies.append(epoch.validation_accuracy)
        del accuracies[: -window - 1]
        if len(accuracies) <= window or accuracies[0] == 0:
            return False
        return abs(accuracies[-1] - accuracies[0]) / accuracies[0] < self.parameters["v"]


TRIGGERS: dict[str, type[Trigger]] = {
    "at": At,
    "delta": Delta,
    "var": Variance,
    "accdrop": AccuracyDrop,
    "accrate": AccuracyRate,
}


def trigger(timing: Timing) -> Trigger:
    """Return a fresh trigger for a parsed timing rule."""
    return TRIGGERS[timing.kind](timing.parameters)
