"""Whether a saved state is this optimiser's, before anything of it is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from perturb.errors import PerturbError


def refuse_foreign(
    optimizer: Optimizer,
    state_dict: Mapping[str, Any],
    kind: Mapping[str, Any],
    vectors: Iterable[str],
) -> None:
    """Raise PerturbError where a state is not of this kind (base, rule, timing) and parameters.

    `vectors` are the names of what the base remembers of each weight.
    """
    if "perturb" not in state_dict:
        raise PerturbError(
            "optimiser: this state has no 'perturb': it is another optimiser's, or a model's "
            f"(keys: {', '.join(map(str, list(state_dict)[:5]))}). Load what state_dict() of "
            "perturb's own optimiser returned, or start anew."
        )
    for what, own in kind.items():
        # States of before there were other bases do not name theirs; nor rule and timing.
        found = state_dict["perturb"].get(what, "sgd" if what == "base" else own)
        if found != own:
            raise PerturbError(
                f"optimiser: this state is of the {what} '{found}', the optimiser's is "
                f"'{own}'. Build one with the {what} '{found}', or start anew."
            )
    sizes = [len(group["params"]) for group in state_dict["param_groups"]]
    own_sizes = [len(group["params"]) for group in optimizer.param_groups]
    if sizes != own_sizes:
        raise PerturbError(
            f"optimiser: this state is of groups of {sizes} parameters, the optimiser's are of "
            f"{own_sizes}. Build it with the parameters that the state was saved of."
        )
    for tensor, saved in _with_saved(optimizer, state_dict):
        numbers = tensor.numel() * (2 if tensor.is_complex() else 1)
        for name in vectors:
            if name in saved and saved[name].numel() != numbers:
                raise PerturbError(
                    f"optimiser: this state has {saved[name].numel()} numbers of {name} for a "
                    f"parameter of shape {list(tensor.shape)}. Build the optimiser with the "
                    "parameters that the state was saved of, in their order."
                )


def restore_formats(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Undo that PyTorch rounds what it loads to the format of each parameter.

    What is remembered of a bfloat16 beside a float32 is float32.
    """
    for tensor, saved in _with_saved(optimizer, state_dict):
        for name, value in saved.items():
            if isinstance(value, Tensor) and value.dtype != optimizer.state[tensor][name].dtype:
                optimizer.state[tensor][name] = value.to(tensor.device, copy=True)


def _with_saved(
    optimizer: Optimizer, state_dict: Mapping[str, Any]
) -> list[tuple[Tensor, dict[str, Any]]]:
    """Return each parameter with what a state has of it."""
    keys = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    tensors = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    return [
        (tensor, state_dict["state"].get(key, {}))
        for key, tensor in zip(keys, tensors, strict=True)
    ]
