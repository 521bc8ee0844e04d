"""The driver: a learner from its initial weights over all its epochs. It knows no study."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from perturb.train.history import History
from perturb.train.learner import Evaluated, Learner, Weights, weights_of


@dataclass
class Outcome:
    """What a run came to. Weights are on the CPU; `last` is the last finite state."""

    history: History
    last: Weights
    best: Weights
    best_epoch: int | None = None
    diverged_at_step: int | None = None
    checkpoints: dict[int, Weights] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def begun(cls, learner: Learner) -> Outcome:
        """Return that of a run before its first epoch."""
        weights = weights_of(learner)
        return cls(History(learner.series), weights, weights)

    def copy(self) -> Outcome:
        """Return a copy that training on does not change. Weights are shared: they are replaced."""
        return replace(
            self,
            history=self.history.copy(),
            checkpoints=dict(self.checkpoints),
            seconds=list(self.seconds),
        )


def train(
    learner: Learner,
    *,
    checkpoint_every: int = 0,
    before: Outcome | None = None,
    until: int | None = None,
    epoch_ended: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Train `learner` in place and return what it came to.

    Args:
        learner: with its initial weights, or those and the state that `before` ended with.
        checkpoint_every: keep the weights of every epoch whose number is a multiple of this,
            counted from 1; 0 keeps none.
        before: the epochs that are done already, to be gone on from.
        until: stop when this number of epochs is done; None trains all of the learner's.
        epoch_ended: is told after each epoch what the run has come to so far.

    A loss that is not finite ends the run: `diverged_at_step` counts steps from 1, and `last`
    holds the weights of the end of the epoch before. So do, at an epoch's end, an evaluation,
    weights or buffers that are not finite, as a batch-norm's running variance can overflow below
    finite losses; the step is the epoch's last one then.
    """
    outcome = before or Outcome.begun(learner)
    epochs = learner.epochs if until is None else min(until, learner.epochs)
    for epoch in range(len(outcome.history.rows), epochs):
        start = time.perf_counter()
        trained = learner.train(epoch)
        if trained.not_finite is not None:
            outcome.diverged_at_step = epoch * learner.steps + trained.not_finite + 1
            return outcome
        evaluated = learner.evaluate()
        weights = weights_of(learner)
        row = {"epoch": epoch, **trained.row, **evaluated.row, **trained.totals}
        if not (_is_finite(evaluated, row[learner.measures.selection]) and _are_finite(weights)):
            outcome.diverged_at_step = (epoch + 1) * learner.steps
            return outcome
        outcome.history.add(row, {**trained.series, **evaluated.series})
        learner.end_epoch(row)
        outcome.last = weights
        if _is_best(learner, outcome):
            outcome.best_epoch, outcome.best = epoch, weights
        if checkpoint_every and (epoch + 1) % checkpoint_every == 0:
            outcome.checkpoints[epoch] = weights
        outcome.seconds.append(time.perf_counter() - start)
        epoch_ended(outcome)
    return outcome


def _is_best(learner: Learner, outcome: Outcome) -> bool:
    """Return whether the last epoch is better than the best one before it."""
    if outcome.best_epoch is None:
        return True
    name, sign = learner.measures.selection, 1 if learner.measures.larger_is_better else -1
    rows = outcome.history.rows
    return sign * rows[-1][name] > sign * rows[outcome.best_epoch][name]


def _is_finite(evaluated: Evaluated, selection: float) -> bool:
    series = evaluated.series.values()
    return math.isfinite(selection) and all(bool(np.isfinite(one).all()) for one in series)


def _are_finite(weights: Weights) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in weights.values())
