"""A repulsive ensemble: networks trained together by kde-WGD (D'Angelo & Fortuin 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from perturb import models
from perturb.data.feeding import Feed, make_feeds
from perturb.data.protocol import make_splits
from perturb.ensembles import schedules, wgd
from perturb.random import stream
from perturb.train.determinism import check_precision, set_precision
from perturb.train.learner import Evaluated, Inputs, Measures, Number, Trained

if TYPE_CHECKING:
    from perturb.studies.minima.settings import MinimaSpecification

SPLITS = ("train", "validation", "test")


def learner(specification: MinimaSpecification, inputs: Inputs) -> Together:
    """Return the ensemble: its first network from the given initial weights, the others drawn."""
    check_precision(specification.precision, inputs.device)
    set_precision(specification.precision)
    if inputs.data is None:
        raise ValueError("an ensemble needs images")
    manifest = inputs.data.manifest
    shape = (manifest["num_classes"], manifest["image_size"], manifest["channels"])
    members = []
    for at in range(specification.members):
        model = models.build(specification.model, *shape)
        if at == 0:
            inputs.load_initial(model)
        else:
            seed = stream(specification.seed, at, "member of an ensemble")
            model.load_state_dict(models.initial_weights(specification.model, *shape, seed=seed))
        members.append(model.to(inputs.device))
    splits = make_splits(inputs.data, specification)
    feeds = make_feeds(splits, manifest, specification, inputs.device)
    return Together(specification, members, feeds)


class Together:
    """Networks that descend the same batches and push each other away in weight space.

    The posterior's log is -N times the mean loss less the weight decay's part, N the training
    images; so each member's gradient gets 1/N of `wgd.repulsion`. Then SGD with momentum. What is
    evaluated is the mean of the members' probabilities.
    """

    def __init__(
        self, specification: MinimaSpecification, members: list[nn.Module], feeds: dict[str, Feed]
    ) -> None:
        self.specification, self.members, self.feeds = specification, members, feeds
        self.epochs = specification.epochs
        self.steps = len(feeds["train"])
        self.modules: Mapping[str, nn.Module] = {f"net{at}": m for at, m in enumerate(members)}
        self.series = ("train_loss", "gradient_norm", "validation_loss", "test_loss")
        self.measures = Measures(
            selection="validation_accuracy",
            larger_is_better=True,
            shown="test_accuracy",
            told=("train_loss", "test_accuracy"),
            last=tuple(f"{split}_{what}" for split in SPLITS for what in ("loss", "accuracy")),
            best=("validation_accuracy", "test_accuracy"),
        )
        self.velocity: Tensor | None = None
        self.evaluations = 0

    def train(self, epoch: int) -> Trained:
        """Train all members for an epoch, on the same batches; losses are their mean."""
        s, images = self.specification, len(self.feeds["train"].labels)
        rate = s.learning_rate
        if s.schedule != "fixed":
            rate = getattr(schedules, s.schedule)(s.learning_rate, epoch, s.period)
        losses, norms, hits, sizes = [], [], [], []
        for model in self.members:
            model.train()
        for inputs, labels in self.feeds["train"].epoch(epoch):
            of_members = [self._gradient(model, inputs, labels) for model in self.members]
            self.evaluations += len(self.members)
            gradients = torch.stack([gradient for _, _, gradient in of_members])
            losses.append(torch.stack([loss for loss, _, _ in of_members]).mean())
            hits.append(torch.stack([hit for _, hit, _ in of_members]).double().mean())
            sizes.append(len(labels))
            norms.append(gradients.norm(dim=1).mean())
            self._descend(gradients, rate, images)
        series = {
            "train_loss": torch.stack(losses).cpu().double().numpy(),
            "gradient_norm": torch.stack(norms).cpu().double().numpy(),
        }
        finite = np.isfinite(series["train_loss"])
        shares = np.asarray(sizes) / images
        row: dict[str, Number] = {
            "learning_rate": rate,
            "train_loss": float(series["train_loss"] @ shares),
            "train_accuracy": float(torch.stack(hits).sum().item() / images),
        }
        failed = None if finite.all() else int(np.argmin(finite))
        return Trained(row, series, failed, {"gradient_evaluations": self.evaluations})

    @staticmethod
    def _gradient(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Return a member's loss, its number of right images, and its gradient [n]."""
        model.zero_grad()
        logits = model(inputs)
        loss = cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        parts = [p.grad.reshape(-1) for p in model.parameters() if p.grad is not None]
        return loss.detach(), (logits.argmax(1) == labels).sum(), torch.cat(parts)

    @torch.no_grad()
    def _descend(self, gradients: Tensor, rate: float, images: int) -> None:
        s = self.specification
        weights = torch.stack([_vector(model) for model in self.members])
        push = gradients + wgd.repulsion(weights) / images + s.weight_decay * weights
        if self.velocity is None:
            self.velocity = torch.zeros_like(push)
        self.velocity.mul_(s.momentum).add_(push)
        weights.sub_(self.velocity, alpha=rate)
        for model, vector in zip(self.members, weights, strict=True):
            parameters = list(model.parameters())
            parts = vector.split([p.numel() for p in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view(parameter.shape))

    @torch.inference_mode()
    def evaluate(self) -> Evaluated:
        """Return loss and accuracy of the mean of probabilities on validation and test."""
        for model in self.members:
            model.eval()
        found = {split: self._evaluated(self.feeds[split]) for split in ("validation", "test")}
        row: dict[str, Number] = {}
        for split, (_, loss, accuracy) in found.items():
            row |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
        return Evaluated(row, {f"{split}_loss": series for split, (series, *_) in found.items()})

    def _evaluated(self, feed: Feed) -> tuple[np.ndarray, float, float]:
        losses, right, sizes = [], 0, []
        for inputs, labels in feed.epoch(0):
            mean = torch.stack([m(inputs).softmax(1) for m in self.members]).mean(0)
            losses.append(nll_loss(mean.clamp_min(1e-30).log(), labels).item())
            right += int((mean.argmax(1) == labels).sum())
            sizes.append(len(labels))
        series, images = np.asarray(losses), sum(sizes)
        return series, float(series @ np.asarray(sizes) / images), right / images

    def end_epoch(self, row: Mapping[str, Number]) -> None:
        """Nothing depends on how an epoch went."""

    def network(self) -> nn.Module:
        """Return the first member."""
        return self.members[0]

    def facts(self) -> dict[str, Any]:
        """Return the images of each split and the work done."""
        return {
            "images": {split: len(self.feeds[split].labels) for split in SPLITS},
            "gradient_evaluations": self.evaluations,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the momentum and the work done."""
        return {"velocity": self.velocity, "evaluations": self.evaluations}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        device = next(self.members[0].parameters()).device
        kept = state["velocity"]
        self.velocity = None if kept is None else kept.to(device)
        self.evaluations = state["evaluations"]


def _vector(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])
