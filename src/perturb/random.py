"""Random generators that depend on what they are for, never on what ran before."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream(seed: int, epoch: int, purpose: str) -> int:
    """Return the 63-bit seed of the stream `(seed, epoch, purpose)`: its SHA-256, cut."""
    digest = hashlib.sha256(f"{seed}:{epoch}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for `(seed, epoch, purpose)`; the same draws on every device."""
    import torch  # data are prepared without it

    return torch.Generator("cpu").manual_seed(stream(seed, epoch, purpose))


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """Return a NumPy generator for `(seed, purpose)`."""
    return np.random.default_rng(stream(seed, 0, purpose))
