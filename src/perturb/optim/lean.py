"""Gradients that live in vectors, tensor by tensor as the backward pass makes them.

So a large net's gradients are never there twice, as PyTorch's own and in a flat vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor


class FlatGradients:
    """The gradients of some tensors as views of a vector, one of each tensor's shape.

    A tensor's gradient is moved into its view, and freed, as soon as a backward pass has made it.

    Args:
        shaped: returns views of a vector [n], one of each tensor's shape.
        vector: where gradients go, until `into` says another.
    """

    def __init__(
        self, tensors: Sequence[Tensor], shaped: Callable[[Tensor], list[Tensor]], vector: Tensor
    ) -> None:
        self._tensors, self._shaped = tensors, shaped
        self._vector, self._views = vector, shaped(vector)
        # The hooks hold the views and no more, which leaves the tensors free to go.
        self._hooks = [
            tensor.register_post_accumulate_grad_hook(partial(_move, self._views, number))
            for number, tensor in enumerate(tensors)
        ]

    def into(self, vector: Tensor) -> None:
        """Let gradients go into `vector` from the next pass on; those that are there stay."""
        if vector is not self._vector:
            self._vector, self._views[:] = vector, self._shaped(vector)

    def collect(self) -> None:
        """Let the vector hold the gradients that are there now, zero where a tensor has none."""
        for number, tensor in enumerate(self._tensors):
            if tensor.grad is None:
                self._views[number].zero_()
            else:
                _move(self._views, number, tensor)

    def release(self) -> None:
        """Leave further gradients where PyTorch puts them."""
        for hook in self._hooks:
            hook.remove()


def _move(views: Sequence[Tensor], number: int, tensor: Tensor) -> None:
    if tensor.grad is not views[number] and tensor.grad is not None:
        views[number].copy_(tensor.grad)
        tensor.grad = views[number]
