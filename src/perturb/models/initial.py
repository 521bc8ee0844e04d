"""The weights that every run of (model, seed) starts from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from perturb.errors import PerturbError
from perturb.models import build, get
from perturb.models.described import Source
from perturb.models.heads import head_of, is_of
from perturb.models.registry import LibraryModel, Model, Option
from perturb.random import stream

Shape = tuple[int, int, int | None]
SHOWN = 3  # tensors that a message names


class HasBackbone(Protocol):
    """A network that takes the weights of its backbone under the names of their makers."""

    def load_backbone(self, published: Mapping[str, Tensor]) -> None:
        """Load them in place; PerturbError where they do not fit."""


def weights(
    name: str,
    shape: Shape,
    seed: int,
    options: Mapping[str, Option],
    source: Source | None,
    data_root: str | Path | None,
) -> dict[str, Tensor]:
    """Return what `perturb.models.initial_weights` says; `shape` is classes, size, channels."""
    model = get(name)
    source = source or Source("published" if model.pretrained else "random")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed, which would seed the GPUs' generators too.
        torch.default_generator.manual_seed(stream(seed, 0, f"initial weights of {model.name}"))
        network = build(name, *shape, options)
    own = {key: tensor.detach() for key, tensor in network.state_dict().items()}
    if source.kind == "random":
        return own
    path = _file_of(model, source, data_root)
    given = read(path)
    try:
        if not isinstance(model, LibraryModel) and _is_of_backbone(network, source, given):
            _load_backbone(cast(HasBackbone, network), given)
            return {key: tensor.detach() for key, tensor in network.state_dict().items()}
        if isinstance(model, LibraryModel) and model.library == "timm":
            given = _as_timm_loads(model, shape, options, given)
        return with_body(network, own, given)
    except PerturbError as error:
        raise PerturbError(f"{path}: these weights do not fit model '{name}': {error}") from None


def _is_of_backbone(network: nn.Module, source: Source, given: Mapping[str, Tensor]) -> bool:
    """Return whether weights are of a network's backbone, under the names of their makers.

    So are published ones, and those of a file without any of the network's own names.
    """
    if source.kind == "published":
        return True
    return hasattr(network, "load_backbone") and not given.keys() & network.state_dict().keys()


def _load_backbone(network: HasBackbone, given: Mapping[str, Tensor]) -> None:
    try:
        network.load_backbone(given)
    except RuntimeError as error:
        raise PerturbError(_told(error)) from None


def _file_of(model: Model, source: Source, data_root: str | Path | None) -> Path:
    if source.kind == "published":
        from perturb.models import pretrained

        if isinstance(model, LibraryModel):
            return pretrained.find(model, source.where, data_root)
        return pretrained.find_backbone(model.name, data_root)
    path = Path(source.where)
    if not path.is_file():
        raise PerturbError(
            f"{path}: no such file of weights. Give the path of a checkpoint of PyTorch or "
            "safetensors under `models` in the configuration."
        )
    return path


def read(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file of safetensors or PyTorch, whatever wrote it, on the CPU.

    A checkpoint of a training (`state_dict` or `model` in it) and wrapped names (`module.`) are
    understood. PerturbError where the file is damaged or holds more than tensors and plain values.
    """
    from timm.models import load_state_dict

    from perturb.models.weights import load_weights

    if path.suffix == ".safetensors":
        return load_weights(path)
    try:
        found = load_state_dict(str(path), use_ema=False)
    except Exception as error:  # PyTorch meets damage with any of a dozen
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PerturbError(f"{path}: no file of weights, or a damaged one ({reason}).") from error
    if not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise PerturbError(
            f"{path}: not the weights of a network: it holds {', '.join(list(found)[:5])}. Give a "
            "state dict, or a checkpoint with one under `state_dict` or `model`."
        )
    return found


def with_body(
    network: nn.Module, own: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return `given` under the head of `own`; PerturbError with the first tensors that differ.

    Counters of batches, which old checkpoints lack, may be missing. A torchvision checkpoint has
    the names of the network inside our wrapper.
    """
    head = head_of(network)
    prefix = "network."
    if all(key.startswith(prefix) for key in own) and not any(k.startswith(prefix) for k in given):
        given = {f"{prefix}{key}": tensor for key, tensor in given.items()}
    body = {key: tensor for key, tensor in given.items() if not is_of(key, head)}
    wanted = {key: tensor for key, tensor in own.items() if not is_of(key, head)}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    differences = [f"{key} is missing" for key in wanted if key not in body and key not in optional]
    differences += [f"{key} is not in the model" for key in body if key not in wanted]
    differences += [
        f"{key} is {tuple(body[key].shape)}, the model's {tuple(wanted[key].shape)}"
        for key in wanted
        if key in body and body[key].shape != wanted[key].shape
    ]
    if differences:
        raise PerturbError(_listed(differences))
    return {key: body.get(key, tensor).to(tensor.dtype) for key, tensor in own.items()}


def _listed(differences: list[str]) -> str:
    more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    return "; ".join(differences[:SHOWN]) + more + "."


def _as_timm_loads(
    model: LibraryModel,
    shape: Shape,
    options: Mapping[str, Option],
    given: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return the weights as timm's own loading makes them, for the network's sizes.

    timm resamples patches and positions, and adapts the first convolution to other channels. It is
    told the number of classes that the weights have, so that it refuses every other difference.
    """
    _, image_size, channels = shape
    channels = model.channels if channels is None else channels
    with torch.device("meta"):
        plain = build(model.name, 2, image_size, channels, options)
    classes = [given.get(f"{name}.weight") for name in head_of(plain)]
    count = 0 if classes[0] is None else len(classes[0])
    first = plain.pretrained_cfg.get("first_conv")
    first = first[0] if isinstance(first, tuple | list) else first
    stem = given.get(f"{first}.weight")
    size = plain.pretrained_cfg.get("input_size", (3, 224, 224))
    overlay = {
        "state_dict": given,
        "num_classes": count,
        "label_offset": 0,
        "input_size": (size[0] if stem is None else stem.shape[1], *size[1:]),
        "custom_load": False,
        "url": "",
    }
    load = dict(pretrained=True, pretrained_cfg_overlay=overlay) | dict(options)
    with torch.random.fork_rng(devices=[]):
        try:
            loaded = model.load(load)(count, image_size, channels)
        except PerturbError as error:
            raise PerturbError(_told(error.__cause__ or error)) from None
    return {key: tensor.detach() for key, tensor in loaded.state_dict().items()}


def _told(error: BaseException) -> str:
    """Return the first differences of PyTorch's message, which lists all of them."""
    lines = [line.strip() for line in str(error).splitlines()]
    found = [line for line in lines if line.startswith("size mismatch")]
    for start, words in (("Missing", "is missing"), ("Unexpected", "is not in the model")):
        listed = " ".join(line for line in lines if line.startswith(start))
        found += [f"{name} {words}" for name in re.findall(r'"([^"]+)"', listed)]
    return _listed(found or lines[:1] or [type(error).__name__])
