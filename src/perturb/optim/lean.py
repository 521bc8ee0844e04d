"""Gradients that live in one vector, tensor by tensor as the backward pass makes them.

So a large net's gradients are never there twice, as PyTorch's own and in the flat vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor


class FlatGradients:
    """The gradients of some tensors as `views` of one vector, one of each tensor's shape.

    A tensor's gradient is moved into its view, and freed, as soon as a backward pass has made it.
    """

    def __init__(self, tensors: Sequence[Tensor], views: Sequence[Tensor]) -> None:
        self._pairs = list(zip(tensors, views, strict=True))
        move: Callable[[Tensor, Tensor], None] = _move
        self._hooks = [
            tensor.register_post_accumulate_grad_hook(partial(move, view))
            for tensor, view in self._pairs
        ]

    def collect(self) -> None:
        """Let the vector hold the gradients that are there now, zero where a tensor has none."""
        for tensor, view in self._pairs:
            if tensor.grad is None:
                view.zero_()
            else:
                _move(view, tensor)

    def release(self) -> None:
        """Leave further gradients where PyTorch puts them."""
        for hook in self._hooks:
            hook.remove()


def _move(view: Tensor, tensor: Tensor) -> None:
    if tensor.grad is not view and tensor.grad is not None:
        view.copy_(tensor.grad)
        tensor.grad = view
