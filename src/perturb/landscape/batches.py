"""What any network takes and returns: tensors, or tuples, lists and dicts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from perturb.errors import PerturbError

# (inputs, targets): the network is called with `inputs` as its one argument.
Batch = tuple[Any, Any]
LossFunction = Callable[[Any, Any], Tensor]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def examples(batch: Batch) -> int:
    """Return how many examples a batch has: the length of its inputs' first tensor.

    PerturbError where there is no tensor.
    """
    first = next(tensors_in(batch[0]), None)
    if first is None or not first.dim():
        raise PerturbError(
            f"landscape: a batch's inputs are {type(batch[0]).__name__} without a tensor of "
            "examples. Give (inputs, targets), inputs a tensor, or a tuple, list or dict of "
            "tensors: whatever the network takes as its one argument."
        )
    return len(first)


def loss_of(outputs: Any, targets: Any, loss_function: LossFunction) -> tuple[Tensor, Any]:
    """Return a batch's mean loss, and the class scores where there are any.

    A loss function of one's own is given what the network returns. Cross-entropy takes its
    `logits` (`logits_of`). Half precision counts as float32.
    """
    if loss_function is cross_entropy:
        outputs = logits_of(outputs)
    if isinstance(outputs, Tensor) and outputs.dtype in (torch.bfloat16, torch.float16):
        outputs = outputs.float()
    return loss_function(outputs, targets), outputs


def logits_of(outputs: Any) -> Tensor:
    """Return the class scores among what a network returns.

    That is a tensor itself, what is called `logits`, the only entry of a tuple, list or dict.
    PerturbError where it could be read two ways.
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs.get("logits") if isinstance(outputs, Mapping) else None
    named = getattr(outputs, "logits", None) if named is None else named
    if isinstance(named, Tensor):
        return named
    values = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    if isinstance(values, list | tuple) and len(values) == 1:
        return logits_of(values[0])
    keys = f" ({', '.join(map(str, outputs))})" if isinstance(outputs, Mapping) else ""
    shapes = ", ".join(str(list(t.shape)) for t in tensors_in(values)) or "no tensor"
    raise PerturbError(
        f"landscape: the network returns a {type(outputs).__name__}{keys} of {shapes}: which are "
        "its class scores? Give loss_function=lambda outputs, targets: "
        "cross_entropy(outputs[0], targets), or whatever its loss is."
    )
