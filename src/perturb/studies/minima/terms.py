"""What runs at every step beside the update rule: the push, and what is measured of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from perturb.ensembles.paths import NetworkAt
from perturb.optim.flat import FlatWeights
from perturb.optim.norms import norm_of
from perturb.optim.repulsion import Repulsion
from perturb.train.classifier import Term

if TYPE_CHECKING:
    from perturb.train.learner import Number

TRACED = (
    "trace_loss",
    "trace_error",
    "trace_distance",
    "trace_force_ratio",
    "trace_force_cosine",
    "trace_gradient_cosine",
)
TRACED_EPOCHS = 2  # that are looked at every `trace` iterations; later ones at their start


class Observed(Term):
    """Norm of the cross-entropy's gradient at each step, and its mean over the epoch.

    It stands before every other term.
    """

    names = ("cross_entropy_gradient_norm",)

    def __init__(self) -> None:
        self._norms: list[Tensor] = []
        self._sum: Tensor | None = None
        self._before: Tensor | None = None

    def add(self, gradient: Tensor, weights: Tensor) -> None:
        """Look at the gradient; add nothing."""
        self._norms.append(norm_of(gradient))
        self._sum = gradient.clone() if self._sum is None else self._sum.add_(gradient)

    def series(self) -> dict[str, np.ndarray]:
        """Return the norms since it was last asked."""
        norms, self._norms = torch.stack(self._norms).cpu().double().numpy(), []
        return {"cross_entropy_gradient_norm": norms}

    def cosine(self) -> float | None:
        """Return the cosine of the epoch's mean gradient to the last epoch's; None in the first."""
        found, before = self._sum, self._before
        self._before, self._sum = found, None
        if before is None or found is None:
            return None
        return _cosine(found, before)

    def state_dict(self) -> dict[str, Any]:
        """Return the last epoch's mean gradient."""
        return {"before": self._before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self._before = state["before"]

    def to(self, device: torch.device) -> None:
        """Move what is remembered to a device."""
        self._before = None if self._before is None else self._before.to(device)


class Push(Term):
    """The repulsion itself, with its norm and the distance to the newest checkpoint at each step.

    With `boost` the gradient g keeps its direction and becomes as long as g + r, r the repulsion's:
    what is left of the push when it does not turn the step.
    """

    names = ("kernel_gradient_norm", "distance")

    def __init__(self, repulsion: Repulsion, device: torch.device, boost: bool = False) -> None:
        self.repulsion, self.device, self.boost = repulsion, device, boost
        self._norms: list[Tensor] = []
        self._distances: list[Tensor] = []

    def add(self, gradient: Tensor, weights: Tensor) -> None:
        """Push, and note norm and distance."""
        before = gradient.clone() if self.boost else gradient
        self.repulsion.add(gradient, weights)
        if self.boost:
            longer = norm_of(gradient) / norm_of(before).clamp_min(1e-30)
            torch.mul(before, longer, out=gradient)
        found = self.repulsion.distances
        self._distances.append(found[-1] if found else weights.new_full((), math.nan))
        self._norms.append(cast(Tensor, self.repulsion.force_norm))

    def series(self) -> dict[str, np.ndarray]:
        """Return both series since it was last asked; distances are NaN before any checkpoint."""
        norms, self._norms = self._norms, []
        distances, self._distances = self._distances, []
        return {
            name: torch.stack(values).cpu().double().numpy()
            for name, values in zip(self.names, (norms, distances), strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the checkpoints."""
        return self.repulsion.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.repulsion.load_state_dict(state, self.device)


class Cycled(Term):
    """Sets the learning rate anew at each step: FGE's cycles are of a few epochs only."""

    def __init__(self, set_rate: Callable[[float], None], steps: int) -> None:
        self.set_rate, self.steps = set_rate, steps
        self.epoch = self.step = 0

    def begin(self, epoch: int) -> None:
        """Begin an epoch."""
        self.epoch, self.step = epoch, 0

    def add(self, gradient: Tensor, weights: Tensor) -> None:
        """Set the rate of the step that is about to be made; add nothing."""
        self.set_rate(self.epoch + self.step / self.steps)
        self.step += 1


class Traced(Term):
    """Where the path of a clone runs: loss, error and distance, and the two forces on one batch.

    Before every `every`-th step of the first two epochs, and before the first of each later one,
    on fixed images; batch-norm's statistics are taken anew there. NaN at every other step.

    Args:
        at: the network at any weights.
        repulsion: whose distance and gradient are looked at.
        flat: returns the optimiser's weights, to tell the order of a vector's numbers.
        every, steps: iterations between two looks, and of an epoch.
    """

    names = TRACED

    def __init__(
        self,
        at: NetworkAt,
        repulsion: Repulsion,
        flat: Callable[[], FlatWeights],
        every: int,
        steps: int,
    ) -> None:
        self.at, self.repulsion, self.flat = at, repulsion, flat
        self.every, self.steps = every, steps
        self.epoch = self.step = 0
        self._before: Tensor | None = None
        self._rows: list[tuple[float, ...]] = []

    def begin(self, epoch: int) -> None:
        """Begin an epoch."""
        self.epoch, self.step, self._rows = epoch, 0, []

    def add(self, gradient: Tensor, weights: Tensor) -> None:
        """Look, where it is time to; add nothing."""
        every = self.every if self.epoch < TRACED_EPOCHS else self.steps
        looks = self.step % every == 0
        self._rows.append(self._look(weights) if looks else (math.nan,) * len(TRACED))
        self.step += 1

    def _look(self, weights: Tensor) -> tuple[float, ...]:
        with torch.enable_grad():
            shaped = self._in_order(weights)
            point = self.at.point(shaped)
            gradient = self.at.gradient(shaped, 0)
        force = torch.zeros_like(weights)
        self.repulsion.add(force, weights)
        distances = self.repulsion.distances
        before, self._before = self._before, gradient
        length = norm_of(force)
        return (
            point.loss,
            point.error,
            distances[-1].item() if distances else math.nan,
            (length / norm_of(gradient)).item(),
            _cosine(gradient, self._in_order(force)) if length > 0 else math.nan,
            math.nan if before is None else _cosine(gradient, before),
        )

    def _in_order(self, vector: Tensor) -> Tensor:
        """Return a vector of the optimiser's in the order of `NetworkAt`."""
        return torch.cat([part.reshape(-1) for part in self.flat().shaped(vector)])

    def series(self) -> dict[str, np.ndarray]:
        """Return what was seen in the epoch."""
        columns = np.asarray(self._rows, dtype=np.float64).T
        return dict(zip(TRACED, columns, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the gradient that it saw last."""
        return {"before": self._before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self._before = state["before"]

    def to(self, device: torch.device) -> None:
        """Move what is remembered to a device."""
        self._before = None if self._before is None else self._before.to(device)


def distances_to(checkpoints: list[Tensor], weights: Tensor, number: int) -> dict[str, Number]:
    """Return `distance_1` ... `distance_<number>` of weights [n]; None of those not stored yet."""
    found: list[Number] = [(weights - one).square().sum().item() for one in checkpoints]
    found += [None] * (number - len(found))
    return {f"distance_{at}": value for at, value in enumerate(found, 1)}


def _cosine(one: Tensor, other: Tensor) -> float:
    lengths = norm_of(one) * norm_of(other)
    return (torch.dot(one, other) / lengths.clamp_min(1e-30)).item()
