"""Trainable tensors as one vector, so that an update is a few operations whatever the net.

Tensors of one device and real number format become views of the vector; they keep their shapes,
strides and identity, and each a storage of its own, so that one saved alone is as large as itself.
Others (bfloat16 beside float32, complex numbers, parts on two devices) stay where they are: the
vector is filled from them, in the format that holds them all, and written back. A complex number
is two real ones there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from perturb.errors import PerturbError
from perturb.optim.lean import FlatGradients


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


class Layout(NamedTuple):
    """Where one tensor's numbers lie in a vector [n]: shape, strides and start."""

    size: torch.Size
    stride: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class FlatWeights:
    """The weights [n] of some tensors, what is remembered of each (momentum), and room [n].

    The room is for what a step computes. It is kept from step to step: a fresh vector of a large
    net costs more in page faults than what is computed in it. `first` and `second` hold the
    gradients at w and at w + e, `spare` is w + e, and `scratch` is the rule's own. `vectors` [n]
    are the base optimiser's, by name; `parts` is what it steps. `own` is where the tensors' numbers
    are; `shared`: these are views of `weights`, else `read` and `write` go between them.
    `gradients`: of lean vectors, where `first` and `second` hold the tensors' own gradients, and
    `second` is `scratch` too, and without a second point is `first`; else None.
    """

    tensors: list[Tensor]
    layouts: list[Layout]
    own: list[Tensor]
    shared: bool
    weights: Tensor
    vectors: dict[str, Tensor]
    parts: list[Part]
    spare: Tensor
    first: Tensor
    second: Tensor
    scratch: Tensor
    gradients: FlatGradients | None = None

    @classmethod
    def of(
        cls,
        tensors: list[Tensor],
        param_groups: list[dict[str, Any]],
        state: dict[Tensor, Any],
        vectors: Iterable[str],
        counters: Iterable[str] = (),
        lean: str = "",
    ) -> FlatWeights:
        """Put `tensors` (in the groups' order) into one vector.

        What `state` has of a tensor under the names in `vectors` (a number for each weight) and
        `counters` (a number for the tensor) goes on from there, else from zero; it shows what is
        in the parts from then on. `lean`: keep as few vectors as can be, for a rule that looks at
        "two" points or "one"; "" keeps all. PerturbError where two tensors share memory, or where
        lean vectors cannot hold the tensors.
        """
        _refuse_overlaps(tensors)
        shared = len({(t.dtype, t.device) for t in tensors}) == 1 and not tensors[0].is_complex()
        if shared:
            for tensor in tensors:
                if not _is_dense(tensor.data):  # it has gaps
                    tensor.data = tensor.data.contiguous()
        dtype, device = _common_dtype(tensors), tensors[0].device
        weights = torch.cat([_as_vector(t.data, t, dtype, device) for t in tensors])
        kept = {name: _joined(tensors, state, name, weights) for name in vectors}
        layouts = _layouts(tensors)
        for tensor, layout in zip(tensors, layouts, strict=True):
            if shared and tensor.numel():
                tensor.data = _with_own_storage(weights, layout)
            state[tensor] |= {name: _with_own_storage(v, layout) for name, v in kept.items()}
        parts = _parts(tensors, param_groups, state, weights, kept, tuple(counters))
        own = [tensor.data for tensor in tensors]
        made = partial(cls, tensors, layouts, own, shared, weights, kept, parts)
        if not lean:
            return made(*(torch.empty_like(weights) for _ in range(4)))
        if not shared:
            raise PerturbError(
                "optimiser: lean is true, but the parameters are of several number formats or "
                "devices, or complex. Leave it out, or give them one format."
            )
        first = torch.empty_like(weights)
        gradients = FlatGradients(tensors, partial(_shaped, layouts), first)
        gradients.collect()  # before more room is taken
        second, spare = (torch.empty_like(first) if lean == "two" else first for _ in range(2))
        return made(spare, first, second, second, gradients)

    def is_of(self, tensors: list[Tensor]) -> bool:
        """Whether these are the tensors, and nobody has moved their data elsewhere since."""
        return [t.data_ptr() for t in tensors] == [own.data_ptr() for own in self.own]

    def expect(self, buffer: Tensor) -> None:
        """Have lean vectors' next gradients made in `buffer` [n], where `gradient` wants them."""
        if self.gradients is not None:
            self.gradients.into(buffer)

    def gradient(self, buffer: Tensor) -> Tensor:
        """Write the gradients into `buffer` [n] and return it; zero where a tensor has none."""
        if self.gradients is not None:
            self.gradients.into(buffer)
            self.gradients.collect()
            return buffer
        to = buffer.dtype, buffer.device
        gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in self.tensors]
        vectors = [_as_vector(g, t, *to) for g, t in zip(gradients, self.tensors, strict=True)]
        return torch.cat(vectors, out=buffer)

    def shaped(self, vector: Tensor) -> list[Tensor]:
        """Return views of a vector [n], one of each tensor's shape (complex: [..., 2])."""
        return _shaped(self.layouts, vector)

    def read(self) -> None:
        """Fill the vector from tensors that are not views of it."""
        if not self.shared:
            for tensor, part in zip(self.tensors, self.shaped(self.weights), strict=True):
                part.copy_(_real(tensor.data))

    def write(self) -> None:
        """Fill tensors that are not views of the vector from it, each rounded to its format."""
        if not self.shared:
            for tensor, part in zip(self.tensors, self.shaped(self.weights), strict=True):
                _real(tensor.data).copy_(part)

    @contextmanager
    def moved_by(self, perturbation: Tensor, factor: Tensor | float = 1.0) -> Iterator[Tensor]:
        """Let the tensors hold w + factor * `perturbation` [n] in this block, then w to the bit.

        The sum is given to the block as a vector [n]. On the CPU views of the weights look at it
        meanwhile, which spares two copies of all weights. A graph of CUDA reads where it was
        recorded, so there the numbers move.
        """
        if self.shared and self.weights.device.type == "cpu":
            moved = torch.add(self.weights, perturbation, alpha=factor, out=self.spare)
            go, back = partial(self._look_at, self._moved), partial(self._look_at, self.own)
        else:
            self.spare.copy_(self.weights)
            if isinstance(factor, Tensor):  # on a GPU, where reading it would wait
                moved = self.weights.addcmul_(perturbation, factor)
            else:
                moved = self.weights.add_(perturbation, alpha=factor)
            go, back = self.write, self._put_back
        try:
            go()
            torch.clear_autocast_cache()  # copies of the weights, where autocast is around the step
            yield moved
        finally:
            back()
            torch.clear_autocast_cache()

    @cached_property
    def _moved(self) -> list[Tensor]:
        return self.shaped(self.spare)

    def _look_at(self, views: list[Tensor]) -> None:
        for tensor, view in zip(self.tensors, views, strict=True):
            tensor.data = view

    def _put_back(self) -> None:
        # Copied, not subtracted, which would leave rounding behind.
        self.weights.copy_(self.spare)
        self.write()


def in_memory_order(tensor: Tensor, like: Tensor) -> Tensor:
    """Return `tensor` as a vector, in the order in which `like` holds its numbers in memory."""
    if like.is_contiguous():
        return tensor.reshape(-1)
    return tensor.permute(_order(like)).reshape(-1)


def _shaped(layouts: list[Layout], vector: Tensor) -> list[Tensor]:
    return [vector.as_strided(*layout) for layout in layouts]


def _real(tensor: Tensor) -> Tensor:
    """Return a view of a complex tensor as a real one [..., 2]; a real one as it is."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _as_vector(tensor: Tensor, like: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `tensor`, dense and real, in the order in which `like` lies in the flat vector."""
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    return in_memory_order(_real(tensor), _real(like)).to(device, dtype)


def _common_dtype(tensors: list[Tensor]) -> torch.dtype:
    """Return the real number format that holds the numbers of all tensors."""
    return reduce(torch.promote_types, (t.dtype.to_real() for t in tensors))


def _layouts(tensors: list[Tensor]) -> list[Layout]:
    """Return where each tensor lies in the vector, one after the other, in its memory order."""
    layouts, start = [], 0
    for tensor in map(_real, tensors):
        stride = tensor.stride()
        if not _is_dense(tensor):
            order = _order(tensor)
            dense = torch.empty_like(tensor.permute(order), memory_format=torch.contiguous_format)
            stride = tuple(dense.stride(order.index(d)) for d in range(tensor.dim()))
        layouts.append(Layout(tensor.size(), stride, start))
        start += tensor.numel()
    return layouts


def _is_dense(tensor: Tensor) -> bool:
    return tensor.permute(_order(tensor)).is_contiguous()


def _with_own_storage(vector: Tensor, layout: Layout) -> Tensor:
    """Return the view of `vector` [n], its storage no larger than itself, in the same memory.

    A plain view shares the vector's storage, which is saved whole with each of its views.
    """
    size, stride, start = layout
    if not size.numel():
        return vector.new_empty(size)
    part = vector[start : start + size.numel()]
    return torch.from_dlpack(part).as_strided(size, stride)


def _refuse_overlaps(tensors: list[Tensor]) -> None:
    """Raise PerturbError where an update of one tensor would move another, or part of itself."""
    spans = []
    for t in tensors:
        repeats = any(
            step == 0 and size > 1 for size, step in zip(t.shape, t.stride(), strict=True)
        )
        if repeats:
            raise PerturbError(_SHARED.format(f"numbers of one parameter of shape {list(t.shape)}"))
        if t.numel():
            length = t.numel() * t.element_size() if _is_dense(t) else 1  # else it has gaps
            spans.append((t.data_ptr(), t.data_ptr() + length, list(t.shape)))
    for (_, end, shape), (start, _, other) in pairwise(sorted(spans)):
        if start < end:
            raise PerturbError(_SHARED.format(f"parameters of shapes {shape} and {other}"))


_SHARED = (
    "optimiser: {} share memory, so an update of one would move the other. Tie modules by the "
    "parameter itself (`decoder.weight = encoder.weight`), or give each its own (`.clone()`)."
)


def _joined(tensors: list[Tensor], state: dict[Tensor, Any], name: str, like: Tensor) -> Tensor:
    """Return what `state` has of the tensors under `name`, as one vector; zero where nothing."""
    return torch.cat(
        [
            torch.zeros_like(_real(t.data)).reshape(-1).to(like)
            if state[t].get(name) is None
            else in_memory_order(state[t][name], _real(t)).to(like)
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
            part = slice(start, start + sum(_real(t).numel() for t in together))
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
