"""Permutations of hidden units that bring one perceptron near another (Ainsworth et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from perturb.errors import PerturbError

Layer = tuple[np.ndarray, np.ndarray]  # weights [out, in], biases [out]


def layers_of(model: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Return the names of a perceptron's linear layers; PerturbError where it is none."""
    kinds = (nn.Linear, nn.Flatten, nn.ReLU)
    if not isinstance(model, nn.Sequential) or not all(isinstance(m, kinds) for m in model):
        raise PerturbError(
            f"matching of units is written for perceptrons, not for {type(model).__name__}."
        )
    return [name for name, module in model.named_children() if isinstance(module, nn.Linear)]


def match(reference: Sequence[Layer], other: Sequence[Layer], sweeps: int = 100) -> list:
    """Return for each hidden layer the order of `other`'s units that is nearest to `reference`.

    Weight matching (algorithm 1): each layer in turn is the linear assignment that maximises the
    inner product of the weights before and behind it, until none changes. Unit i of the reference
    goes with unit `found[layer][i]` of the other.
    """
    orders = [np.arange(len(bias)) for _, bias in reference[:-1]]
    for _ in range(sweeps):
        changed = False
        for at in range(len(orders)):
            (before, bias), (behind, _) = reference[at], reference[at + 1]
            (other_before, other_bias), (other_behind, _) = other[at], other[at + 1]
            if at:
                other_before = other_before[:, orders[at - 1]]
            if at + 1 < len(orders):
                other_behind = other_behind[orders[at + 1]]
            gain = before @ other_before.T + np.outer(bias, other_bias) + behind.T @ other_behind
            found = linear_sum_assignment(gain, maximize=True)[1]
            kept = gain[np.arange(len(found)), orders[at]].sum()
            if gain[np.arange(len(found)), found].sum() > kept + 1e-9 * abs(kept):
                orders[at], changed = found, True
        if not changed:
            break
    return orders


def permuted(layers: Sequence[Layer], orders: Sequence[np.ndarray]) -> list[Layer]:
    """Return the layers with their hidden units in the given orders: the same function."""
    found = []
    for at, (weights, bias) in enumerate(layers):
        if at:
            weights = weights[:, orders[at - 1]]
        if at < len(orders):
            weights, bias = weights[orders[at]], bias[orders[at]]
        found.append((weights, bias))
    return found


def matched(
    model: nn.Module, reference: dict[str, Tensor], other: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the state dict `other` of a perceptron with its units matched to `reference`'s."""
    import torch

    names = layers_of(model, other)

    def layers(weights: dict[str, Tensor]) -> list[Layer]:
        return [
            tuple(weights[f"{name}.{what}"].cpu().double().numpy() for what in ("weight", "bias"))
            for name in names
        ]

    both = layers(reference), layers(other)
    found = permuted(both[1], match(*both))
    named = {
        f"{name}.{what}": torch.from_numpy(np.ascontiguousarray(values)).to(other[f"{name}.{what}"])
        for name, layer in zip(names, found, strict=True)
        for what, values in zip(("weight", "bias"), layer, strict=True)
    }
    return {**other, **named}
