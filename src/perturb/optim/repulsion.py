"""A term of the loss that pushes the weights away from where they have been.

With C stored checkpoints theta_c and D_c = norm(theta - theta_c)^2 over all trainable numbers:
`s/C * sum_c k(D_c)`, `k = exp(-w D)` (RBF) or `k = 1 - tanh(w D)`. Its gradient is
`s/C * sum_c 2 k'(D_c) (theta - theta_c)`. `w = 1/sigma^2`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from perturb.errors import PerturbError
from perturb.optim.norms import norm_of

KERNELS = ("rbf", "tanh")
KEEP = ("all", "merge", "mean", "last")


class Repulsion:
    """The term, of any optimiser's parameters; a `Term` of `perturb.optim.PerturbedOptimizer`.

    Args:
        strength: s, 0 or more; may be set anew at any step. At 0 distances are measured alone.
        width: w, above 0.
        kernel: `rbf` or `tanh`.
        keep: what of the stored checkpoints pushes. `all`; the `last`; `merge`: one, the running
            mean of [merged, new], whose weights are 1/4, 1/4, 1/2 after three, as the thesis has
            it; `mean`: one, the true mean.
        most: number of checkpoints after which no more are stored; 0 for no limit.

    Attributes:
        checkpoints: those that push, vectors [n] in the order in which they were stored.
        stored: how many were given to `store`, those beyond `most` not counted.
        distances: D_c of the last call, 0-d tensors, one for each checkpoint.
        force_norm: norm of the term's gradient in the last call, a 0-d tensor; None before any.

    Memory is one vector for each checkpoint and one for work. Example, with any optimiser:

        repulsion = Repulsion(strength=10, width=1e-3)
        repulsion.store_from(model.parameters())
        loss.backward()
        repulsion.add_to(model.parameters())
        optimizer.step()
    """

    def __init__(
        self, strength: float, width: float, kernel: str = "rbf", keep: str = "all", most: int = 0
    ) -> None:
        for name, value, least in (("strength", strength, 0.0), ("width", width, 1e-300)):
            if not (math.isfinite(value) and value >= least):
                raise PerturbError(
                    f"repulsion: {name} is {value}; it must be finite and "
                    f"{'above 0' if least else 'not negative'}."
                )
        for name, chosen, choices in (("kernel", kernel, KERNELS), ("keep", keep, KEEP)):
            if chosen not in choices:
                raise PerturbError(
                    f"repulsion: {name} is '{chosen}'; choose from {', '.join(choices)}."
                )
        self.strength, self.width, self.kernel = strength, width, kernel
        self.keep, self.most = keep, most
        self.checkpoints: list[Tensor] = []
        self.stored = 0
        self.distances: list[Tensor] = []
        self.force_norm: Tensor | None = None
        self._work: Tensor | None = None
        self._force: Tensor | None = None

    def store(self, weights: Tensor) -> None:
        """Remember `weights` [n] as a checkpoint, a copy."""
        if self.most and self.stored >= self.most:
            return
        self.stored += 1
        if self.keep == "all" or not self.checkpoints:
            self.checkpoints.append(weights.detach().clone())
        elif self.keep == "last":
            self.checkpoints[0].copy_(weights)
        else:
            share = 0.5 if self.keep == "merge" else 1 / self.stored
            self.checkpoints[0].lerp_(weights, share)

    @torch.no_grad()
    def add(self, gradient: Tensor, weights: Tensor) -> None:
        """Add the term's gradient at `weights` [n] to `gradient` [n], in place.

        A subtraction, a norm and a sum of vectors for each checkpoint. On a GPU nothing waits.
        """
        self.distances = []
        if not self.checkpoints:
            self.force_norm = gradient.new_zeros(())
            return
        if self._work is None or self._work.shape != weights.shape:
            self._work = torch.empty_like(weights)
        several = len(self.checkpoints) > 1 and self.strength > 0
        if several and (self._force is None or self._force.shape != weights.shape):
            self._force = torch.empty_like(weights)
        target = gradient
        if several:
            target = self._force.zero_()
        for checkpoint in self.checkpoints:
            away = torch.sub(weights, checkpoint, out=self._work)
            distance = torch.dot(away, away)
            self.distances.append(distance)
            if self.strength > 0:
                factor = self._factor(distance)
                if weights.is_cuda:
                    target.addcmul_(away, factor)
                else:
                    target.add_(away, alpha=factor.item())
        if several:
            self.force_norm = norm_of(target)
            gradient.add_(target)
        elif self.strength > 0:
            self.force_norm = factor.abs() * distance.sqrt()
        else:
            self.force_norm = gradient.new_zeros(())

    def value(self, weights: Tensor) -> Tensor:
        """Return the term at `weights` [n], 0-d, differentiable; 0 without checkpoints."""
        if not self.checkpoints:
            return weights.new_zeros(())
        distances = torch.stack([(weights - c).square().sum() for c in self.checkpoints])
        scaled = self.width * distances
        kernel = torch.exp(-scaled) if self.kernel == "rbf" else 1 - torch.tanh(scaled)
        return self.strength * kernel.mean()

    def _factor(self, distance: Tensor) -> Tensor:
        """Return s/C * 2 k'(D), 0-d."""
        scaled = self.width * distance
        # sech^2(x) = 4 e^(-2x) / (1 + e^(-2x))^2 does not overflow where cosh does.
        if self.kernel == "rbf":
            slope = torch.exp(-scaled)
        else:
            small = torch.exp(-2 * scaled)
            slope = 4 * small / (1 + small).square()
        return slope * (-2 * self.strength * self.width / len(self.checkpoints))

    @torch.no_grad()
    def store_from(self, parameters: Iterable[Tensor]) -> None:
        """Remember the parameters that have gradients asked for, as they are now."""
        self.store(_joined([p for p in parameters if p.requires_grad]))

    @torch.no_grad()
    def add_to(self, parameters: Iterable[Tensor]) -> None:
        """Add the term's gradient to the parameters' `.grad`, after backward.

        The parameters are those of `store_from`, in its order; one without a gradient gets one.
        """
        used = [p for p in parameters if p.requires_grad]
        gradient = torch.zeros_like(weights := _joined(used))
        self.add(gradient, weights)
        for parameter, part in zip(used, gradient.split([p.numel() for p in used]), strict=True):
            shaped = part.view(parameter.shape)
            parameter.grad = shaped.clone() if parameter.grad is None else parameter.grad + shaped

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers: the checkpoints, and how many were stored."""
        return {"checkpoints": list(self.checkpoints), "stored": self.stored}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | None = None) -> None:
        """Restore what `state_dict` returned, on `device` where one is given."""
        self.checkpoints = [c.detach().to(device, copy=True) for c in state["checkpoints"]]
        self.stored = state["stored"]


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.detach().reshape(-1) for t in tensors])
