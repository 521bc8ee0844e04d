"""Norms of long vectors, to the precision of their numbers, and vectors of a given length."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm

EPSILON = 1e-12
ROW = 16_384  # numbers


def norm_of(vector: Tensor) -> Tensor:
    """Return the 2-norm of `vector` [n] as a 0-d tensor of its format.

    PyTorch's `vector_norm` adds the squares of a whole vector one after the other on the CPU, in
    one thread. In float32 that is 0.04 % short at 11 million numbers and 0.9 % at 85 million. Here
    it adds those of rows, in all threads, then the rows: to 2e-6 at any length.
    """
    whole = len(vector) // ROW * ROW
    if vector.is_cuda or not whole:
        return vector_norm(vector)
    wide = torch.promote_types(vector.dtype, torch.float32)
    rows = vector_norm(vector[:whole].reshape(-1, ROW), dim=1, dtype=wide)
    rest = vector_norm(vector[whole:], dtype=wide)
    return vector_norm(torch.cat([rows, rest.view(1)])).to(vector.dtype)


def of_length(
    length: float, vector: Tensor, norm: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Return `vector` [n] scaled to a length: length * vector / (norm(vector) + E).

    `norm` is its norm where that is known already; `out` is where the result goes, `vector` itself
    allowed.
    """
    norm = norm_of(vector) if norm is None else norm
    return torch.mul(vector, factor_to(length, norm), out=out)


def factor_to(length: float, norm: Tensor) -> Tensor | float:
    """Return what scales a vector of that norm to a length.

    On a GPU nothing waits for it; on the CPU it is a number at once, which spares operations on
    tensors of one element.
    """
    return length / ((norm if norm.is_cuda else norm.item()) + EPSILON)
