"""What this study trains: a classifier that is pushed away from where it has been."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from perturb.data.feeding import Feed
from perturb.data.protocol import make_splits, thin
from perturb.ensembles import schedules
from perturb.ensembles.paths import NetworkAt
from perturb.optim.flat import FlatWeights, in_memory_order
from perturb.optim.repulsion import Repulsion
from perturb.random import generator
from perturb.studies.minima import law
from perturb.studies.minima.terms import Cycled, Observed, Push, Traced, distances_to
from perturb.train import classifier
from perturb.train.classifier import Classifier, Term
from perturb.train.learner import Inputs, Trained

if TYPE_CHECKING:
    from perturb.data.prepared import PreparedData
    from perturb.studies.minima.settings import MinimaSpecification
    from perturb.train.learner import Learner

LOWEST = 0.01  # of FGE's rate, a share of its highest: 5e-4 of 5e-2 in Garipov et al. 2018


def learner(specification: MinimaSpecification, inputs: Inputs) -> Learner:
    """Return the learner of one run."""
    if specification.members:
        together = import_module("perturb.studies.minima.together")
        return cast("Learner", together.learner(specification, inputs))
    plain = classifier.build(
        specification,
        inputs,
        method=f"{'ugd' if specification.normalised else 'sgd'}_{specification.epochs}",
        learning_rate_schedule="constant",
    )
    return Repelled(specification, plain, inputs)


class Repelled(Classifier):
    """A classifier with the distance term, schedules of rate and strength, and what is traced."""

    def __init__(
        self, specification: MinimaSpecification, plain: Classifier, inputs: Inputs
    ) -> None:
        s = self.specification = specification
        self.repulsion = Repulsion(s.strength, s.width, s.kernel, s.keep, s.most)
        self.observed = Observed()
        self.push = Push(self.repulsion, inputs.device, s.boost)
        steps = len(plain.feeds["train"])
        self.begun: list[Cycled | Traced] = []
        self._optimizer = plain.optimizer
        if s.schedule == "triangle":
            self.begun.append(Cycled(self._set_rate, steps))
        if s.trace and inputs.data:
            at = network_at(s, plain.model, inputs.data, inputs.device)
            self.begun.append(Traced(at, self.repulsion, self._flat, s.trace, steps))
        # What only looks comes first: it sees the cross-entropy's gradient alone.
        terms: list[Term] = [self.observed, *self.begun, self.push]
        super().__init__(plain.model, plain.optimizer, plain.feeds, terms, plain.forward)
        self.stored = s.stored
        self._begin()

    def _begin(self) -> None:
        """Store the weights that it begins from, and displace them, where that is asked for."""
        s = self.specification
        if s.start:
            self.repulsion.store(self._weights())
        if s.displace:
            displace(self.model, s.displace, s.seed)

    def train(self, epoch: int) -> Trained:
        """Train for an epoch; the row also has the push, the distances and the gradients' means."""
        s = self.specification
        if epoch == 0:
            self._say_escape()
        if s.every and epoch and epoch % s.every == 0:
            self.repulsion.store(self._weights())
        gone = bool(s.off) and epoch >= s.off
        self.repulsion.strength = 0.0 if gone else self._scheduled(s.anneal, s.strength, epoch)
        self._set_rate(epoch)
        for term in self.begun:
            term.begin(epoch)
        trained = super().train(epoch)
        series = trained.series
        row = {
            "strength": self.repulsion.strength,
            "cross_entropy_gradient_squared": _mean_square(series["cross_entropy_gradient_norm"]),
            "kernel_gradient_squared": _mean_square(series["kernel_gradient_norm"]),
            "gradient_squared": _mean_square(series["gradient_norm"]),
            "gradient_cosine": self.observed.cosine(),
            **distances_to(self.repulsion.checkpoints, self._weights(), self.stored),
        }
        return replace(trained, row={**trained.row, **row})

    def facts(self) -> dict[str, Any]:
        """Return also how long it takes to leave a checkpoint."""
        return super().facts() | {"escape_steps": self.escape_steps()}

    def escape_steps(self) -> float | None:
        """Return the steps in which a small distance grows e-fold; None where it never does."""
        s = self.specification
        settings = (s.strength, s.width, s.weight_decay, s.learning_rate, s.momentum)
        return law.escape_steps(*settings)

    def _say_escape(self) -> None:
        """Say before the run starts how long it takes to leave a checkpoint."""
        s, steps = self.specification, self.escape_steps()
        if not s.strength:
            return
        if steps is None:
            print(
                f"perturb: strength {s.strength:g}, width {s.width:g}: never escapes by itself, "
                f"for 2 s w = {2 * s.strength * s.width:g} is no more than the weight decay "
                f"{s.weight_decay:g}. Take a larger strength or width.",
                file=sys.stderr,
            )
            return
        epochs = steps / self.steps
        print(
            f"near a checkpoint the distance grows e-fold in {steps:.0f} steps ({epochs:.2g} "
            "epochs)",
            file=sys.stderr,
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, on the model's device."""
        super().load_state_dict(state)
        device = self.push.device
        for term in self.terms:
            if isinstance(term, Observed | Traced):
                term.to(device)

    def _scheduled(self, schedule: str, value: float, time: float) -> float:
        s = self.specification
        if schedule == "step":
            return schedules.step(value, time, s.period, s.every)
        if schedule == "triangle":
            return schedules.triangle(value, time, s.period, LOWEST * value)
        return getattr(schedules, schedule)(value, time, s.period)

    def _set_rate(self, time: float) -> None:
        s = self.specification
        rate = self._scheduled(s.schedule, s.learning_rate, time)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _weights(self) -> Tensor:
        """Return the weights [n] as the optimiser lays them out, a copy."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return torch.cat([in_memory_order(p.data, p) for p in trained])

    def _flat(self) -> FlatWeights:
        return cast(FlatWeights, self._optimizer.flat)


@torch.no_grad()
def displace(model: nn.Module, squared_length: float, seed: int) -> None:
    """Move the trained weights by a random vector of a squared length, uniform in direction."""
    trained = [p for p in model.parameters() if p.requires_grad]
    random = generator(seed, 0, "displacement")
    drawn = [torch.randn(p.shape, generator=random) for p in trained]
    norm = torch.stack([part.double().square().sum() for part in drawn]).sum().sqrt().item()
    for parameter, part in zip(trained, drawn, strict=True):
        parameter.add_(part.to(parameter.device), alpha=squared_length**0.5 / norm)


def network_at(
    specification: MinimaSpecification, model: nn.Module, data: PreparedData, device: torch.device
) -> NetworkAt:
    """Return the network at any weights, on the fixed images that paths are measured on.

    Error and loss are over test images; gradients and batch-norm's statistics over training images
    that are not augmented. Both are at most `trace_images`, balanced by class.
    """
    s, splits = specification, make_splits(data, specification)
    batches = {}
    for name in ("test", "train"):
        split = thin(splits[name], s.trace_images, s.split_seed)
        feed = Feed(
            split.images,
            split.labels,
            batch_size=min(500, len(split)),
            mean=data.manifest["mean"],
            std=data.manifest["std"],
            device=device,
        )
        batches[name] = list(feed.epoch(0))
    return NetworkAt(model, batches["test"], batches["train"])


def _mean_square(norms: Any) -> float:
    return float((norms**2).mean())
