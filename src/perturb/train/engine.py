"""The training loop: one method from its initial weights over all its epochs.

Training loss and accuracy are taken at w, from the first pass of each step; validation and test
follow at the epoch's end. Losses stay on the device until then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturb.data.feeding import Feed
from perturb.optim import PerturbedSGD
from perturb.train.forward import Forward
from perturb.train.history import Evaluation, History

Weights = dict[str, Tensor]


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

    def copy(self) -> Outcome:
        """Return a copy that training on does not change. Weights are shared: they are replaced."""
        return replace(
            self,
            history=self.history.copy(),
            checkpoints=dict(self.checkpoints),
            seconds=list(self.seconds),
        )


def snapshot(model: nn.Module) -> Weights:
    """Return a real copy of the model's parameters and buffers, on the CPU."""
    return {
        name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()
    }


def _are_finite(weights: Weights) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in weights.values())


@torch.inference_mode()
def evaluate(model: nn.Module, feed: Feed, forward: Forward | None = None) -> Evaluation:
    """Return loss and accuracy of `model` in evaluation mode over every batch of `feed`.

    `forward` computes its logits (`forward_of`); by default the model itself.
    """
    forward = forward or model
    model.eval()
    losses, sizes, correct = [], [], []
    for inputs, labels in feed.epoch(0):
        logits = forward(inputs)
        losses.append(cross_entropy(logits, labels))
        correct.append((logits.argmax(1) == labels).sum())
        sizes.append(len(labels))
    return _evaluation(torch.stack(losses), sizes, torch.stack(correct))


def _evaluation(losses: Tensor, sizes: list[int], correct: Tensor) -> Evaluation:
    batch_losses = losses.cpu().double().numpy()
    weights = np.asarray(sizes, dtype=np.float64)
    images = weights.sum()
    return Evaluation(
        batch_losses=batch_losses,
        loss=float(batch_losses @ weights / images),
        accuracy=float(correct.sum().item() / images),
    )


@dataclass(frozen=True)
class TrainedEpoch:
    """One epoch's training: losses and accuracy at w, norm(g) and norm(e) of each step."""

    train: Evaluation
    gradient_norms: np.ndarray
    perturbation_norms: np.ndarray


def train_epoch(
    model: nn.Module,
    optimizer: PerturbedSGD,
    feed: Feed,
    epoch: int,
    forward: Forward | None = None,
) -> TrainedEpoch:
    """Train `model` in place for one epoch, without waiting for the device before its end."""
    forward = forward or model
    model.train()
    losses, sizes, correct, gradients, perturbations = [], [], [], [], []
    for inputs, labels in feed.epoch(epoch):
        passes: list[Tensor] = []

        def closure(
            inputs: Tensor = inputs, labels: Tensor = labels, passes: list = passes
        ) -> Tensor:
            model.zero_grad()  # optimizer.zero_grad imports torch's compiler first
            logits = forward(inputs)
            passes.append(logits.detach())
            loss = cross_entropy(logits, labels)
            loss.backward()
            return loss

        losses.append(optimizer.advance(closure))
        correct.append((passes[0].argmax(1) == labels).sum())
        sizes.append(len(labels))
        gradients.append(optimizer.gradient_norm)
        perturbations.append(optimizer.perturbation_norm)
    return TrainedEpoch(
        _evaluation(torch.stack(losses), sizes, torch.stack(correct)),
        torch.stack(gradients).cpu().double().numpy(),
        torch.stack(perturbations).cpu().double().numpy(),
    )


def train(
    model: nn.Module,
    optimizer: PerturbedSGD,
    feeds: dict[str, Feed],
    *,
    epochs: int,
    forward: Forward | None = None,
    checkpoint_every: int = 0,
    before: Outcome | None = None,
    epoch_ended: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Train `model` in place and return what it came to.

    Args:
        model: on its device, with its initial weights, or those that `before` ended with.
        optimizer: of its parameters.
        feeds: `train`, `validation` and `test`; where validation and test are one object (the
            protocol `from400`) it is evaluated once.
        epochs: how many.
        forward: computes the model's logits (`forward_of`); by default the model itself.
        checkpoint_every: keep the weights after every so many epochs; 0 keeps none.
        before: the epochs that are done already, to be gone on from; the model and the optimiser
            are as they were at the end of these.
        epoch_ended: is called after each epoch with what the run has come to so far.

    A loss that is not finite ends the run: `diverged_at_step` counts steps from 1, and `last`
    holds the weights of the end of the epoch before. So do weights or buffers that are not finite
    at an epoch's end, as a batch-norm's running variance can overflow below finite losses; the step
    is the epoch's last one then.
    """
    steps = len(feeds["train"])
    outcome = before or Outcome(History(), last=snapshot(model), best=snapshot(model))
    rows = outcome.history.rows
    best_accuracy = -math.inf
    if outcome.best_epoch is not None:
        best_accuracy = rows[outcome.best_epoch]["validation_accuracy"]
    for epoch in range(len(rows), epochs):
        start = time.perf_counter()
        optimizer.set_epoch(epoch)
        trained = train_epoch(model, optimizer, feeds["train"], epoch, forward)
        finite = np.isfinite(trained.train.batch_losses)
        if not finite.all():
            outcome.diverged_at_step = epoch * steps + int(np.argmin(finite)) + 1
            return outcome
        test = evaluate(model, feeds["test"], forward)
        same = feeds["validation"] is feeds["test"]
        validation = test if same else evaluate(model, feeds["validation"], forward)
        weights = snapshot(model)
        if not math.isfinite(validation.loss + test.loss) or not _are_finite(weights):
            outcome.diverged_at_step = (epoch + 1) * steps
            return outcome
        outcome.history.add(
            {
                "epoch": epoch,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "radius": optimizer.radius,
                "scale": optimizer.scale,
                "perturbing": int(optimizer.perturbing),
            },
            {"train": trained.train, "validation": validation, "test": test},
            trained.gradient_norms,
            trained.perturbation_norms,
            optimizer.gradient_evaluations,
        )
        optimizer.end_epoch(
            train_loss=trained.train.loss,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
        )
        outcome.last = weights
        if validation.accuracy > best_accuracy:
            best_accuracy, outcome.best_epoch, outcome.best = (
                validation.accuracy,
                epoch,
                outcome.last,
            )
        if checkpoint_every and (epoch + 1) % checkpoint_every == 0:
            outcome.checkpoints[epoch] = outcome.last
        outcome.seconds.append(time.perf_counter() - start)
        epoch_ended(outcome)
    return outcome
