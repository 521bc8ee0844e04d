"""Random directions in weight space, normalised to the weights that they start from.

Li et al. 2018, Visualizing the Loss Landscape of Neural Nets, section 4. One pair of directions is
drawn for a seed; every method that is compared gets that pair, normalised to its own weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from perturb.errors import PerturbError
from perturb.models.weights import load_weights, save_weights
from perturb.random import generator

NORMALISATIONS = ("filter", "layer", "weight")
IGNORED = ("biasbn", "nothing")
_TINY = 1e-10  # of the released code: keeps a filter of zeros from dividing by zero

Direction = dict[str, Tensor]


def draw(shapes: Mapping[str, torch.Size], seed: int) -> tuple[Direction, Direction]:
    """Return d1 and d2 with entries N(0, 1), float32 on the CPU, a tensor for each of `shapes`.

    A tensor's entries depend on the seed, its name and its shape only.
    """
    return tuple(
        {
            name: torch.randn(shape, generator=generator(seed, 0, f"direction {number} of {name}"))
            for name, shape in shapes.items()
        }
        for number in (1, 2)
    )


def normalise(
    direction: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    normalisation: str = "filter",
    ignore: str = "biasbn",
) -> Direction:
    """Return the direction [the shapes of `weights`] at the weights' scale.

    `filter`: d_j *= norm(w_j) / (norm(d_j) + 1e-10) for every j of dimension 0; `layer`: the same
    with the whole tensors; `weight`: d *= w. With `ignore` "biasbn", tensors of dimension <= 1
    (biases, normalisation) are zero; with "nothing", each of their entries is a filter.

    Raises PerturbError where a name is unknown or the shapes differ.
    """
    if normalisation not in NORMALISATIONS or ignore not in IGNORED:
        raise PerturbError(
            f"landscape: normalisation '{normalisation}' and ignore '{ignore}' must be of "
            f"{', '.join(NORMALISATIONS)} and of {', '.join(IGNORED)}."
        )
    found = {}
    for name, w in weights.items():
        if name not in direction or direction[name].shape != w.shape:
            raise PerturbError(
                f"landscape: the direction has no tensor '{name}' of shape {list(w.shape)}. "
                "Directions belong to one model and number of classes: draw them anew."
            )
        d = direction[name].to(w)
        if w.dim() <= 1 and ignore == "biasbn":
            found[name] = torch.zeros_like(w)
        elif normalisation == "weight":
            found[name] = d * w
        elif normalisation == "layer" or w.dim() == 0:
            found[name] = d * (w.norm() / (d.norm() + _TINY))
        else:
            ratio = w.flatten(1).norm(dim=1) if w.dim() > 1 else w.abs()
            ratio = ratio / ((d.flatten(1).norm(dim=1) if w.dim() > 1 else d.abs()) + _TINY)
            found[name] = d * ratio.view(-1, *[1] * (w.dim() - 1))
    return found


def save(path: str | Path, directions: tuple[Direction, Direction], seed: int) -> None:
    """Write a pair of directions, as drawn, and their seed, atomically, with their hash."""
    named = {f"{n}/{name}": t for n, d in enumerate(directions, 1) for name, t in d.items()}
    save_weights(path, named | {"seed": torch.tensor(seed)})


def load(path: str | Path) -> tuple[tuple[Direction, Direction], int]:
    """Return the pair of directions in `path` and its seed.

    Raises PerturbError naming the file where it is missing, damaged, or holds something else.
    """
    tensors = load_weights(path)
    seed = tensors.pop("seed", None)
    if seed is None or any(name[:2] not in ("1/", "2/") for name in tensors):
        raise PerturbError(f"{path}: no directions. Delete the file and run again to draw them.")
    first, second = (
        {name[2:]: t for name, t in tensors.items() if name.startswith(f"{number}/")}
        for number in (1, 2)
    )
    return (first, second), int(seed)
