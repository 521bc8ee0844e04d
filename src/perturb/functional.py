"""A network called with other tensors in the place of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def call(model: nn.Module, tensors: Mapping[str, Tensor], *inputs: Any) -> Any:
    """Return what `model` returns with `tensors` in the place of its own of those names.

    `tensors`: by the names of parameters and buffers, of any of the names where they have several.

    As `torch.func.functional_call`, which leaves a module that has three names or more with the
    tensors of the call (PyTorch 2.14): it puts back by name what it took by name. Here each place
    is named once.

    Raises KeyError where a name is none of the network's.
    """
    return functional_call(model, _by_place(model, tensors), inputs, tie_weights=False)


def _by_place(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by one name for each place that is to have them."""
    own: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    own |= dict(model.named_buffers(remove_duplicate=False))
    if unknown := [name for name in tensors if name not in own]:
        raise KeyError(f"no parameter or buffer of this network: {', '.join(unknown)}")
    given = {id(own[name]): tensor for name, tensor in tensors.items()}
    found: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():  # each once
        parameters = module.named_parameters(prefix, recurse=False, remove_duplicate=False)
        buffers = module.named_buffers(prefix, recurse=False, remove_duplicate=False)
        for name, tensor in (*parameters, *buffers):
            if id(tensor) in given:
                found[name] = given[id(tensor)]
    return found
