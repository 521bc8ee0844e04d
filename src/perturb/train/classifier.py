"""A classifier with an update rule: the learner of every study that trains one network so.

Training loss and accuracy are taken at w, from the first pass of each step; validation and test
follow at the epoch's end. Losses stay on the device until then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturb import models, names, optim
from perturb.data.feeding import Feed, make_feeds
from perturb.data.protocol import Split, make_splits
from perturb.errors import PerturbError
from perturb.random import stream
from perturb.train import finetuning
from perturb.train.determinism import check_precision, set_precision
from perturb.train.forward import Forward, forward_of
from perturb.train.learner import Evaluated, Inputs, Measures, Number, Trained

if TYPE_CHECKING:
    from perturb.train.settings import TrainSettings

SPLITS = ("train", "validation", "test")
_BOTH_ACCURACIES = ("accuracy", "true_accuracy")
# Of the splits, the data set's manifest, the settings and the device.
MakeFeeds = Callable[[dict[str, Split], Mapping[str, Any], Any, torch.device], dict[str, Feed]]


class Term(ABC):
    """A part of the loss that depends on the weights alone (a distance, a penalty).

    Its gradient is added to the cross-entropy's, at every point that the update rule looks at; the
    recorded losses and accuracies are those without it. A term that records or remembers nothing
    has `add` alone.

    Attributes:
        names: of its series, in their order.
    """

    names: tuple[str, ...] = ()

    @abstractmethod
    def add(self, gradient: Tensor, weights: Tensor) -> None:
        """Add its gradient at `weights` [n] to `gradient` [n], in place.

        Both are all trainable numbers of the network, flat (`perturb.optim.flat`).
        """

    def series(self) -> dict[str, np.ndarray]:
        """Return its series since it was last asked, by name: arrays of one length an epoch."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Return plain values for the record."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return all that it remembers: tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027, for most: nothing
        """Restore what `state_dict` returned."""


@dataclass(frozen=True)
class Evaluation:
    """One pass over a split: batch losses [batches] in nats, their images' mean, the accuracy.

    Accuracy is on the given labels; `true_accuracy` on the true ones where those hold noise.
    """

    batch_losses: np.ndarray
    loss: float
    accuracy: float
    true_accuracy: float | None = None

    def columns(self, split: str) -> dict[str, Number]:
        """Return the columns of `epochs.csv` that a split has."""
        columns = {f"{split}_loss": self.loss, f"{split}_accuracy": self.accuracy}
        if self.true_accuracy is not None:
            columns[f"{split}_true_accuracy"] = self.true_accuracy
        with np.errstate(invalid="ignore"):  # losses that are not finite end the run elsewhere
            variance = float(np.var(self.batch_losses))
        return columns | {
            f"{split}_loss_variance": variance,
            f"{split}_loss_min": float(self.batch_losses.min()),
            f"{split}_loss_max": float(self.batch_losses.max()),
        }


class _Tally:
    """Losses and hits of one epoch's batches, on the device until its end."""

    def __init__(self, feed: Feed, epoch: int) -> None:
        self.losses: list[Tensor] = []
        self.sizes: list[int] = []
        self.correct: list[Tensor] = []
        self.truly_correct: list[Tensor] = []
        self.true_labels = feed.true_labels(epoch)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count the feed's next batch; of mixed labels [B, classes] the largest share counts."""
        predicted = logits.argmax(1)
        labels = labels.argmax(1) if labels.ndim == 2 else labels
        self.losses.append(loss)
        self.sizes.append(len(labels))
        self.correct.append((predicted == labels).sum())
        if self.true_labels is not None:
            self.truly_correct.append((predicted == next(self.true_labels)).sum())

    def evaluation(self) -> Evaluation:
        """Wait for the device and return what came out."""
        batch_losses = torch.stack(self.losses).cpu().double().numpy()
        weights = np.asarray(self.sizes, dtype=np.float64)
        images = weights.sum()

        def share(hits: list[Tensor]) -> float:
            return float(torch.stack(hits).sum().item() / images)

        return Evaluation(
            batch_losses=batch_losses,
            loss=float(batch_losses @ weights / images),
            accuracy=share(self.correct),
            true_accuracy=share(self.truly_correct) if self.truly_correct else None,
        )


@torch.inference_mode()
def evaluate(model: nn.Module, feed: Feed, forward: Forward | None = None) -> Evaluation:
    """Return loss and accuracy of `model` in evaluation mode over every batch of `feed`.

    `forward` computes its logits (`forward_of`); by default the model itself.
    """
    forward = forward or model
    model.eval()
    tally = _Tally(feed, 0)
    for inputs, labels in feed.epoch(0):
        logits = forward(inputs)
        tally.add(cross_entropy(logits, labels), logits, labels)
    return tally.evaluation()


@dataclass(frozen=True)
class TrainedEpoch:
    """One epoch's training: losses and accuracy at w, norm(g) and norm(e) of each step."""

    train: Evaluation
    gradient_norms: np.ndarray
    perturbation_norms: np.ndarray


@dataclass(frozen=True)
class Tuning:
    """How a network is fine-tuned (`perturb.train.finetuning`).

    Args:
        frozen: modules that stay in evaluation mode.
        label_smoothing: the share of the target that all classes have alike.
        learning_rate: the share of `rates`, a rate of each group, in an epoch; None for the
            optimiser's own schedule.
        seed: of the run, for layers that draw random numbers (drop path); None leaves them to the
            caller.
    """

    frozen: Sequence[nn.Module] = ()
    label_smoothing: float = 0.0
    learning_rate: Callable[[int], float] | None = None
    rates: Sequence[float] = ()
    seed: int | None = None

    def set_epoch(self, optimizer: optim.PerturbedOptimizer, epoch: int) -> None:
        """Set every group's learning rate, and from where the layers draw random numbers.

        They draw from PyTorch's own generators, which nothing else in training does.
        """
        if self.seed is not None:
            torch.manual_seed(stream(self.seed, epoch, "layers of the network"))
        if self.learning_rate is not None:
            for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * self.learning_rate(epoch)


def train_epoch(
    model: nn.Module,
    optimizer: optim.PerturbedOptimizer,
    feed: Feed,
    epoch: int,
    forward: Forward | None = None,
    tuning: Tuning = Tuning(),
) -> TrainedEpoch:
    """Train `model` in place for one epoch, without waiting for the device before its end."""
    forward = forward or model
    model.train()
    for module in tuning.frozen:
        module.eval()
    tally, gradients, perturbations = _Tally(feed, epoch), [], []
    for inputs, labels in feed.epoch(epoch):
        passes: list[Tensor] = []

        def closure(
            inputs: Tensor = inputs, labels: Tensor = labels, passes: list = passes
        ) -> Tensor:
            model.zero_grad()  # optimizer.zero_grad imports torch's compiler first
            logits = forward(inputs)
            passes.append(logits.detach())
            loss = cross_entropy(logits, labels, label_smoothing=tuning.label_smoothing)
            loss.backward()
            return loss

        loss = optimizer.advance(closure)
        tally.add(loss, passes[0], labels)
        gradients.append(optimizer.gradient_norm)
        perturbations.append(optimizer.perturbation_norm)
    return TrainedEpoch(
        tally.evaluation(),
        torch.stack(gradients).cpu().double().numpy(),
        torch.stack(perturbations).cpu().double().numpy(),
    )


class Classifier:
    """A network trained by cross-entropy and an update rule (a `perturb.train.learner.Learner`).

    Args:
        model: on its device.
        optimizer: of its parameters; the epochs are those of its method.
        feeds: `train`, `validation` and `test`; where validation and test are one object (the
            protocol `from400`) it is evaluated once. The best epoch is the one of the highest
            validation accuracy, on given labels where these hold noise.
        terms: each adds its gradient to the cross-entropy's.
        forward: computes the model's logits (`forward_of`); by default the model itself.
        tuning: what of the network is frozen, and how the learning rate goes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: optim.PerturbedOptimizer,
        feeds: Mapping[str, Feed],
        terms: Sequence[Term] = (),
        forward: Forward | None = None,
        tuning: Tuning = Tuning(),
    ) -> None:
        self.tuning = tuning
        self.model, self.optimizer, self.feeds, self.forward = model, optimizer, feeds, forward
        self.terms = tuple(terms)
        optimizer.terms = self.terms
        self.epochs = optimizer.method.epochs
        self.steps = len(feeds["train"])
        self.modules = {"": model}
        of_terms = (name for term in self.terms for name in term.names)
        trained = ("train_loss", "gradient_norm", "perturbation_norm", *of_terms)
        self.series = (*trained, "validation_loss", "test_loss")
        accuracies = {
            split: ("accuracy",) if feeds[split].true_labels(0) is None else _BOTH_ACCURACIES
            for split in SPLITS
        }
        self.measures = Measures(
            selection="validation_accuracy",
            larger_is_better=True,
            shown="test_accuracy",
            told=("train_loss", "test_accuracy"),
            last=tuple(f"{s}_{m}" for s in SPLITS for m in ("loss", *accuracies[s])),
            best=("validation_accuracy", "test_accuracy"),
        )

    def train(self, epoch: int) -> Trained:
        """Train for an epoch; its loss is that at w, before each update."""
        optimizer = self.optimizer
        optimizer.set_epoch(epoch)
        self.tuning.set_epoch(optimizer, epoch)
        train_feed = self.feeds["train"]
        done = train_epoch(self.model, optimizer, train_feed, epoch, self.forward, self.tuning)
        settings = {
            "learning_rate": max(group["lr"] for group in optimizer.param_groups),
            "radius": optimizer.radius,
            "scale": optimizer.scale,
            "perturbing": int(optimizer.perturbing),
        }
        series = {
            "train_loss": done.train.batch_losses,
            "gradient_norm": done.gradient_norms,
            "perturbation_norm": done.perturbation_norms,
        }
        for term in self.terms:
            series |= term.series()
        finite = np.isfinite(done.train.batch_losses)
        if not finite.all():
            return Trained(settings, series, not_finite=int(np.argmin(finite)))
        return Trained(
            row=settings | done.train.columns("train"),
            series=series,
            totals={
                "gradient_norm_mean": float(done.gradient_norms.mean()),
                "gradient_norm_variance": float(np.var(done.gradient_norms)),
                "perturbation_norm_mean": float(done.perturbation_norms.mean()),
                "gradient_evaluations": optimizer.gradient_evaluations,
            },
        )

    def evaluate(self) -> Evaluated:
        """Return loss and accuracy on validation and test."""
        feeds = self.feeds
        test = evaluate(self.model, feeds["test"], self.forward)
        same = feeds["validation"] is feeds["test"]
        validation = test if same else evaluate(self.model, feeds["validation"], self.forward)
        return Evaluated(
            row=validation.columns("validation") | test.columns("test"),
            series={"validation_loss": validation.batch_losses, "test_loss": test.batch_losses},
        )

    def end_epoch(self, row: Mapping[str, Number]) -> None:
        """Tell a timed method how the epoch went."""
        names = ("train_loss", "validation_loss", "validation_accuracy")
        self.optimizer.end_epoch(**{name: row[name] for name in names})

    def network(self) -> nn.Module:
        """Return the model."""
        return self.model

    def facts(self) -> dict[str, Any]:
        """Return the images of each split, the work done, when a timed method switched."""
        triggered = self.optimizer.trigger_epoch
        facts = {
            "images": {split: len(self.feeds[split].labels) for split in SPLITS},
            "gradient_evaluations": self.optimizer.gradient_evaluations,
            "trigger_epoch": triggered,
            "perturbing_from": None if triggered is None else triggered + 1,
        }
        for term in self.terms:
            facts |= term.facts()
        return facts

    def state_dict(self) -> dict[str, Any]:
        """Return what the optimiser and the terms remember."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "terms": [term.state_dict() for term in self.terms],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        for term, of_term in zip(self.terms, state["terms"], strict=True):
            term.load_state_dict(of_term)


def build(
    specification: TrainSettings,
    inputs: Inputs,
    *,
    method: str = "",
    terms: Sequence[Term] = (),
    model: nn.Module | None = None,
    make_feeds: MakeFeeds = make_feeds,
    kind: type[Classifier] = Classifier,
    **options: Any,
) -> Classifier:
    """Return the classifier that a specification asks for.

    Its update rule comes from `method`, a name of `perturb.names`, by default the specification's
    own; `options` are further ones of the optimiser (`perturb.optim.PerturbedOptimizer`). `model`
    has its initial weights; by default it is the registry's, with those of `inputs`. `kind` is
    the class that is returned.

    Raises PerturbError where initial weights do not fit or the device lacks the number format.
    """
    if inputs.data.sightings is not None:
        raise PerturbError(
            f"{specification.run}: the test images of {specification.dataset} are of other "
            "identities than its train images, so that no classifier's accuracy can be taken on "
            "them. Choose another data set, or a method that is measured by retrieval."
        )
    check_precision(specification.precision, inputs.device)
    set_precision(specification.precision)
    manifest = inputs.data.manifest
    if model is None:
        shape = (manifest["num_classes"], manifest["image_size"], manifest["channels"])
        model = models.build(
            specification.architecture, *shape, dict(specification.network_options)
        )
        inputs.load_initial(model)
    frozen = finetuning.freeze(model, specification.freeze)
    epochs = names.parse(method or specification.method).epochs
    schedule = finetuning.learning_rate(specification, epochs)
    if schedule is not None:
        options["learning_rate_schedule"] = "constant"
    optimizer = optim.build(
        method or specification.method,
        finetuning.parameter_groups(model, specification),
        lr=specification.learning_rate,
        momentum=specification.momentum,
        weight_decay=specification.weight_decay,
        base=specification.base,
        nesterov=specification.nesterov,
        betas=specification.betas,
        eps=specification.eps,
        model=model,
        lean=specification.lean,
        **options,
    )
    forward = forward_of(
        model.to(inputs.device),
        precision=specification.precision,
        channels_last=specification.channels_last,
        compiled=specification.compile,
    )
    splits = make_splits(inputs.data, specification)
    feeds = make_feeds(splits, manifest, specification, inputs.device)
    rates = [group["lr"] for group in optimizer.param_groups]
    tuning = Tuning(frozen, specification.label_smoothing, schedule, rates, specification.seed)
    return kind(model, optimizer, feeds, terms, forward, tuning)
