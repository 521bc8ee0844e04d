"""Trainable tensors as one vector, so that an update is a few operations whatever the net.

The tensors become views of the vector; they keep their shapes, strides and identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupPart:
    """A parameter group (its own dict, read at each step), where it lies, its weights, momentum."""

    settings: dict[str, Any]
    part: slice
    weights: Tensor
    velocity: Tensor


@dataclass(frozen=True)
class FlatWeights:
    """The weights [n] of some tensors, their momentum [n], and room [n] for what a step computes.

    The room is kept from step to step: a fresh vector of a large net costs more in page faults
    than what is computed in it. `first` and `second` hold the gradients at w and at w + e, `saved`
    the weights while they are moved, and `scratch` is the rule's own.
    """

    tensors: list[Tensor]
    addresses: list[int]
    weights: Tensor
    velocity: Tensor
    groups: list[GroupPart]
    saved: Tensor
    first: Tensor
    second: Tensor
    scratch: Tensor

    @classmethod
    def of(
        cls, tensors: list[Tensor], param_groups: list[dict[str, Any]], state: dict[Tensor, Any]
    ) -> FlatWeights:
        """Make `tensors` (in the groups' order) views of one vector.

        Momentum goes on from each tensor's `momentum_buffer` in `state`, a view from then on.
        """
        for tensor in tensors:
            if not tensor.data.permute(_order(tensor)).is_contiguous():  # it has gaps
                tensor.data = tensor.data.contiguous()
        before = [state[t].get("momentum_buffer") for t in tensors]
        weights = torch.cat([in_memory_order(t.data, t) for t in tensors])
        velocity = torch.cat(
            [
                torch.zeros_like(in_memory_order(t.data, t))
                if buffer is None
                else in_memory_order(buffer, t)
                for t, buffer in zip(tensors, before, strict=True)
            ]
        )
        start = 0
        for tensor in tensors:
            layout = (tensor.size(), tensor.stride(), start)
            tensor.data = weights.as_strided(*layout)
            state[tensor]["momentum_buffer"] = velocity.as_strided(*layout)
            start += tensor.numel()
        members, groups, start = {id(t) for t in tensors}, [], 0
        for group in param_groups:
            size = sum(p.numel() for p in group["params"] if id(p) in members)
            part = slice(start, start + size)
            groups.append(GroupPart(group, part, weights[part], velocity[part]))
            start += size
        addresses = [tensor.data_ptr() for tensor in tensors]
        room = [torch.empty_like(weights) for _ in range(4)]
        return cls(tensors, addresses, weights, velocity, groups, *room)

    def is_of(self, tensors: list[Tensor]) -> bool:
        """Whether these are the tensors, and nobody has moved their data elsewhere since."""
        return [t.data_ptr() for t in tensors] == self.addresses

    def gradient(self, buffer: Tensor) -> Tensor:
        """Write the gradients into `buffer` [n] and return it; zero where a tensor has none."""
        gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in self.tensors]
        return torch.cat(list(map(in_memory_order, gradients, self.tensors)), out=buffer)

    def parts(self, vector: Tensor) -> list[Tensor]:
        """Return views of a vector [n], one of each tensor's shape."""
        starts = [address - self.addresses[0] for address in self.addresses]
        size = self.weights.element_size()
        return [
            vector.as_strided(t.size(), t.stride(), start // size)
            for t, start in zip(self.tensors, starts, strict=True)
        ]

    @contextmanager
    def moved_by(self, perturbation: Tensor) -> Iterator[None]:
        """Add `perturbation` [n] to the weights in this block, and put them back to the bit."""
        self.saved.copy_(self.weights)
        self.weights.add_(perturbation)
        try:
            yield
        finally:
            # Copied back, not subtracted, which would leave rounding behind.
            self.weights.copy_(self.saved)

    def descend(self, direction: Tensor) -> None:
        """Make one step of SGD: d = u + wd*w; v = m*v + d; w -= lr*v, each group by its own."""
        for group in self.groups:
            v, w, settings = group.velocity, group.weights, group.settings
            v.mul_(settings["momentum"]).add_(direction[group.part])
            v.add_(w, alpha=settings["weight_decay"])
            w.add_(v, alpha=-settings["lr"])


def in_memory_order(tensor: Tensor, like: Tensor) -> Tensor:
    """Return `tensor` as a vector, in the order in which `like` holds its numbers in memory."""
    if like.is_contiguous():
        return tensor.reshape(-1)
    return tensor.permute(_order(like)).reshape(-1)


def _order(tensor: Tensor) -> list[int]:
    """Return the dimensions from the slowest to the fastest in memory (channels_last: 0 2 3 1)."""
    return sorted(range(tensor.dim()), key=lambda d: (-tensor.stride(d), d))
