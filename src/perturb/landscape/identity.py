"""What a surface is of, as hashes: so that what was kept of one is never taken for another's."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the tensors' names (sorted), types, shapes and bytes, of any type."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def of_network(model: nn.Module) -> str:
    """Return the SHA-256 over how a network is built: its modules, and the code of its own ones."""
    classes = {f"{type(m).__module__}.{type(m).__qualname__}": type(m) for m in model.modules()}
    own = [_source(kind) for name, kind in sorted(classes.items()) if not name.startswith("torch.")]
    return _hashed(repr(model), *sorted(classes), *own)


def of_function(function: Callable[..., Any]) -> str:
    """Return the SHA-256 over what a function says, its arguments where it is a partial one."""
    if isinstance(function, nn.Module):
        return _hashed(of_network(function), of_tensors(function.state_dict()))
    if isinstance(function, functools.partial):
        given = repr((function.args, sorted(function.keywords.items())))
        return _hashed(of_function(function.func), given)
    name = f"{function.__module__}.{getattr(function, '__qualname__', type(function))}"
    return _hashed(name, _source(function))


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _source(thing: Any) -> str:
    """Return the source of a class or function, "" where there is none (C, an interpreter)."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return ""
