"""Paths between two sets of weights: lines, Bezier curves with one bend, and their barriers.

Weights are vectors [n], `model.parameters()` one after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn

from perturb import functional
from perturb.ensembles.barrier import barrier

__all__ = ["NetworkAt", "Point", "barrier", "bezier", "line", "train_bend"]

Batches = Sequence[tuple[Tensor, Tensor]]
GradientAt = Callable[[Tensor, int], Tensor]


def line(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Return (1 - share) start + share end."""
    return torch.lerp(start, end, share)


def bezier(start: Tensor, bend: Tensor, end: Tensor, share: float) -> Tensor:
    """Return (1-t)^2 start + 2 t (1-t) bend + t^2 end (Garipov et al. 2018, equation 4)."""
    rest = 1 - share
    return rest**2 * start + 2 * share * rest * bend + share**2 * end


def train_bend(
    gradient_at: GradientAt,
    start: Tensor,
    end: Tensor,
    *,
    steps: int,
    lr: float,
    generator: torch.Generator,
    momentum: float = 0.9,
) -> Tensor:
    """Return the bend of the Bezier curve of the least mean loss between two ends.

    Each step draws a place t on the curve, uniform, and descends along the bend the gradient
    there, `2 t (1-t) * gradient_at(theta(t), step)`; the learning rate falls linearly to 0 over
    the second half. It begins in the middle of the line.
    """
    bend = line(start, end, 0.5)
    velocity = torch.zeros_like(bend)
    for at in range(steps):
        share = float(torch.rand((), generator=generator))
        gradient = gradient_at(bezier(start, bend, end, share), at)
        velocity.mul_(momentum).add_(gradient, alpha=2 * share * (1 - share))
        rate = lr * min(1.0, 2 * (steps - at) / steps)
        bend = bend - rate * velocity
    return bend


@dataclass(frozen=True)
class Point:
    """Mean loss in nats and share of wrong images at one place."""

    loss: float
    error: float


class NetworkAt:
    """A network at any weights: loss and error on fixed images, batch-norm anew at each place.

    Args:
        model: copied; its own weights and statistics stay as they are.
        evaluation: batches (inputs, labels) that points are measured on.
        training: batches that gradients are of, and that batch-norm's statistics are taken over.
    """

    def __init__(self, model: nn.Module, evaluation: Batches, training: Batches) -> None:
        self.model = copy.deepcopy(model)
        self.evaluation, self.training = evaluation, training

    def vector(self, weights: dict[str, Tensor]) -> Tensor:
        """Return the parameters among a state dict's tensors as one vector [n]."""
        named = self.model.named_parameters()
        return torch.cat([weights[name].to(p.device).reshape(-1) for name, p in named])

    @torch.no_grad()
    def set(self, weights: Tensor) -> nn.Module:
        """Return the network at `weights` [n], its statistics of the training batches there."""
        parameters = list(self.model.parameters())
        parts = weights.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view(parameter.shape))
        update_bn([inputs for inputs, _ in self.training], self.model)
        return self.model.eval()

    @torch.no_grad()
    def logits(self, weights: Tensor) -> Tensor:
        """Return the logits [N, K] of the evaluation images at `weights` [n]."""
        model = self.set(weights)
        return torch.cat([model(inputs) for inputs, _ in self.evaluation])

    def point(self, weights: Tensor) -> Point:
        """Return loss and error at `weights` [n]."""
        logits = self.logits(weights)
        labels = torch.cat([labels for _, labels in self.evaluation])
        wrong = (logits.argmax(1) != labels).double().mean()
        return Point(cross_entropy(logits, labels).item(), wrong.item())

    def gradient(self, weights: Tensor, step: int) -> Tensor:
        """Return the loss's gradient [n] on training batch `step`, in turn, in training mode."""
        inputs, labels = self.training[step % len(self.training)]
        at = weights.detach().requires_grad_()
        named = dict(self.model.named_parameters())
        parts = at.split([p.numel() for p in named.values()])
        given = {
            name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)
        }
        self.model.train()
        loss = cross_entropy(functional.call(self.model, given, inputs), labels)
        return torch.autograd.grad(loss, at)[0]
