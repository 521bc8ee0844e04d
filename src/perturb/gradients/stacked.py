"""The loss of a model at many values of its parameters, in one batched pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import vmap

from perturb import functional


class _Loss(nn.Module):
    def __init__(self, model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self) -> Tensor:
        return self.loss(self.model)


class StackedLoss:
    """`loss(model)` at P values of some parameters; the others stay as they are.

    Batch-norm must be in evaluation mode, for what it learns in a pass would be lost.
    """

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> None:
        self._wrapped = _Loss(model, loss)
        self._fixed = {name: p.detach() for name, p in self._wrapped.named_parameters()}
        self._fixed |= dict(self._wrapped.named_buffers())

    @torch.no_grad()
    def __call__(self, moved: Mapping[str, Tensor]) -> Tensor:
        """Return losses [P] for parameters by name, [P, *shape] each."""

        def at(values: dict[str, Tensor]) -> Tensor:
            named = {f"model.{name}": value for name, value in values.items()}
            return functional.call(self._wrapped, self._fixed | named)

        return vmap(at, randomness="error")(dict(moved))
