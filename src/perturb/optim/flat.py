"""Trainable tensors as one vector, so that an update is a few operations whatever the net.

The tensors become views of the vector; they keep their shapes, strides and identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Neighbouring tensors of one parameter group, which a base optimiser steps together.

    Attributes:
        settings: the group's own dict, to be read at each step.
        where: the part lies in vectors [n].
        weights: of the part, a view [k].
        state: what the base remembers, by name: its vectors, views [k], and its counters, 0-d.
    """

    settings: dict[str, Any]
    where: slice
    weights: Tensor
    state: dict[str, Tensor]


@dataclass(frozen=True)
class FlatWeights:
    """The weights [n] of some tensors, what is remembered of each (momentum), and room [n].

    The room is for what a step computes. It is kept from step to step: a fresh vector of a large
    net costs more in page faults than what is computed in it. `first` and `second` hold the
    gradients at w and at w + e, `saved` the weights while they are moved, and `scratch` is the
    rule's own. `vectors` [n] are the base optimiser's, by name; `parts` is what it steps.
    """

    tensors: list[Tensor]
    addresses: list[int]
    weights: Tensor
    vectors: dict[str, Tensor]
    parts: list[Part]
    saved: Tensor
    first: Tensor
    second: Tensor
    scratch: Tensor

    @classmethod
    def of(
        cls,
        tensors: list[Tensor],
        param_groups: list[dict[str, Any]],
        state: dict[Tensor, Any],
        vectors: Iterable[str],
        counters: Iterable[str] = (),
    ) -> FlatWeights:
        """Make `tensors` (in the groups' order) views of one vector.

        What `state` has of a tensor under the names in `vectors` (a number for each weight) and
        `counters` (a number for the tensor) goes on from there, else from zero; it shows what is
        in the parts from then on.
        """
        for tensor in tensors:
            if not tensor.data.permute(_order(tensor)).is_contiguous():  # it has gaps
                tensor.data = tensor.data.contiguous()
        weights = torch.cat([in_memory_order(t.data, t) for t in tensors])
        kept = {name: _joined(tensors, state, name) for name in vectors}
        start = 0
        for tensor in tensors:
            layout = (tensor.size(), tensor.stride(), start)
            tensor.data = weights.as_strided(*layout)
            state[tensor] |= {name: kept[name].as_strided(*layout) for name in kept}
            start += tensor.numel()
        parts = _parts(tensors, param_groups, state, weights, kept, tuple(counters))
        addresses = [tensor.data_ptr() for tensor in tensors]
        room = [torch.empty_like(weights) for _ in range(4)]
        return cls(tensors, addresses, weights, kept, parts, *room)

    def is_of(self, tensors: list[Tensor]) -> bool:
        """Whether these are the tensors, and nobody has moved their data elsewhere since."""
        return [t.data_ptr() for t in tensors] == self.addresses

    def gradient(self, buffer: Tensor) -> Tensor:
        """Write the gradients into `buffer` [n] and return it; zero where a tensor has none."""
        gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in self.tensors]
        return torch.cat(list(map(in_memory_order, gradients, self.tensors)), out=buffer)

    def shaped(self, vector: Tensor) -> list[Tensor]:
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


def in_memory_order(tensor: Tensor, like: Tensor) -> Tensor:
    """Return `tensor` as a vector, in the order in which `like` holds its numbers in memory."""
    if like.is_contiguous():
        return tensor.reshape(-1)
    return tensor.permute(_order(like)).reshape(-1)


def _joined(tensors: list[Tensor], state: dict[Tensor, Any], name: str) -> Tensor:
    """Return what `state` has of the tensors under `name`, as one vector; zero where nothing."""
    return torch.cat(
        [
            torch.zeros_like(in_memory_order(t.data, t))
            if state[t].get(name) is None
            else in_memory_order(state[t][name], t)
            for t in tensors
        ]
    )


def _parts(
    tensors: list[Tensor],
    param_groups: list[dict[str, Any]],
    state: dict[Tensor, Any],
    weights: Tensor,
    vectors: dict[str, Tensor],
    counters: tuple[str, ...],
) -> list[Part]:
    """Return each group's tensors as one part, or several where their counters differ.

    They differ where a tensor had no gradient in a step that its neighbours made.
    """

    def counts(tensor: Tensor) -> list[float]:
        return [float(state[tensor].get(name, 0)) for name in counters]

    members, parts, start = {id(t) for t in tensors}, [], 0
    for group in param_groups:
        used = [p for p in group["params"] if id(p) in members]
        for values, alike in groupby(used, counts):
            together = list(alike)
            part = slice(start, start + sum(t.numel() for t in together))
            start = part.stop
            of_part = {name: vector[part] for name, vector in vectors.items()}
            for name, value in zip(counters, values, strict=True):
                # float32 on the weights' device, as torch's fused optimisers want it
                of_part[name] = torch.tensor(value, dtype=torch.float32, device=weights.device)
                for tensor in together:
                    state[tensor][name] = of_part[name]
            parts.append(Part(group, part, weights[part], of_part))
    return parts


def _order(tensor: Tensor) -> list[int]:
    """Return the dimensions from the slowest to the fastest in memory (channels_last: 0 2 3 1)."""
    return sorted(range(tensor.dim()), key=lambda d: (-tensor.stride(d), d))
