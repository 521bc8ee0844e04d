"""Architectures, one file each, in one registry; torch is imported when a model is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perturb.models.registry import MODELS, Model, Option, get, names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from perturb.models.described import Source

__all__ = ["MODELS", "Model", "build", "get", "initial_weights", "names"]


def build(
    name: str,
    num_classes: int,
    image_size: int,
    channels: int | None = None,
    options: Mapping[str, Option] | None = None,
) -> nn.Module:
    """Return model `name` for square images, its weights drawn from torch's global generator.

    It maps [B, channels, image_size, image_size] to logits [B, num_classes]. `name` is one of the
    registry or a library's (`timm:resnet26`, `torchvision:mobilenet_v3_small`), which takes
    `options`, further arguments of the library's own function. `channels` is the model's own where
    None: 3, or 1 for `cnn`. PerturbError for an unknown name, or for a size, a number of channels
    or an option that the model does not take.
    """
    model = get(name)
    channels = model.channels if channels is None else channels
    model.check(num_classes, image_size, channels)
    return model.load(options)(num_classes, image_size, channels)


def initial_weights(
    name: str,
    num_classes: int,
    image_size: int,
    channels: int | None = None,
    seed: int = 0,
    *,
    options: Mapping[str, Option] | None = None,
    source: Source | None = None,
    data_root: str | Path | None = None,
) -> dict[str, Tensor]:
    """Return the state dict on the CPU that every run of (model, seed) starts from.

    The same bytes on every call: torch's global generators are neither read nor moved. Weights
    come from `source` (`perturb.models.described.Source`; published ones for a pretrained model,
    else random) under a head drawn from `seed`. A `run` source names a file of weights here.
    Nothing is downloaded: published weights are looked for by `perturb.models.pretrained.find`,
    in `data_root`/weights and the caches of this machine. PerturbError where there are none, or
    where they do not fit.
    """
    from perturb.models import initial

    shape = (num_classes, image_size, channels)
    return initial.weights(name, shape, seed, options or {}, source, data_root)
