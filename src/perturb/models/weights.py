"""Weights as files: safetensors, written whole or not at all, and verified when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import safe_open
from torch import Tensor

from perturb.errors import PerturbError
from perturb.files import sha256_arrays, write_atomically

HASH_KEY = "sha256"


def _on_cpu(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors detached, on the CPU and contiguous."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}


def sha256_weights(state_dict: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the tensors' names (sorted), dtypes, shapes and bytes.

    It depends neither on the device nor on the memory layout.
    """
    return sha256_arrays({name: tensor.numpy() for name, tensor in _on_cpu(state_dict).items()})


def save_weights(path: str | Path, state_dict: Mapping[str, Tensor]) -> None:
    """Write a state dict, buffers included, to `path`: the same bytes for the same tensors.

    The file carries its own hash, so that `load_weights` notices any damage.
    """
    tensors = _on_cpu(state_dict)
    # One key only: safetensors writes several in an order of chance.
    metadata = {HASH_KEY: sha256_weights(tensors)}
    with write_atomically(path) as file:
        file.write(safetensors.torch.save(tensors, metadata))


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the state dict in `path`, on the CPU.

    PerturbError where the file is missing, truncated or damaged. A file without a hash, as other
    programs write it, is read unverified.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            remarks = file.metadata() or {}
        expected = remarks.pop(HASH_KEY, None)
        found = sha256_weights(tensors)
    except FileNotFoundError as error:
        raise PerturbError(f"No weights at {path}: run what makes the file first.") from error
    except PermissionError:
        raise
    except Exception as error:  # safetensors and torch meet damage with any of a dozen
        raise PerturbError(
            f"Weights in {path} cannot be read, the file is truncated or damaged ({error}). "
            "Delete it and run again what makes it."
        ) from error
    # Other programs leave the key "format"; any other may be ours, damaged.
    if expected != found and (expected or remarks.keys() - {"format"}):
        raise PerturbError(
            f"Weights in {path} are damaged: expected sha256 {expected}, found {found}. "
            "Delete the file and run again what makes it."
        )
    return tensors
