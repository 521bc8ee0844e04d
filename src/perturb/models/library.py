"""timm's and torchvision's networks, as this project's models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torchvision
from torch import Tensor, nn

from perturb.errors import PerturbError
from perturb.models.heads import head_of

# Those that return logits of side branches too, unless they are told not to.
_AUXILIARY = ("googlenet", "inception_v3")


class ThreeChannels(nn.Module):
    """A network of three input channels, for grey images too; its last Linear is a fresh one."""

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        (head,) = head_of(network)
        features = network.get_submodule(head).in_features
        network.set_submodule(head, nn.Linear(features, num_classes))
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, num_classes] for inputs [B, 1 or 3, H, W]."""
        return self.network(inputs.expand(-1, 3, -1, -1))


def timm_model(
    architecture: str, num_classes: int, image_size: int, channels: int, **options: Any
) -> nn.Module:
    """Return timm's model of that name, its weights drawn from torch's global generator.

    One whose input size is fixed when it is built (a ViT) is built for `image_size`. `options` are
    further arguments of `timm.create_model`; PerturbError where the model does not take one, or
    not together with this image size.
    """
    configuration = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    sized = {}
    if configuration is not None and configuration.fixed_input_size:
        sized = {"img_size": image_size}
    given = {"num_classes": num_classes, "in_chans": channels, **sized, **options}
    return _made(timm.create_model, "timm", architecture, given, options)


def torchvision_model(
    architecture: str, num_classes: int, image_size: int, channels: int, **options: Any
) -> ThreeChannels:
    """Return torchvision's model of that name under a head of its own, on images as they come."""
    if architecture.startswith("vit_"):
        options = {"image_size": image_size, **options}
    elif architecture in _AUXILIARY:
        options = {"aux_logits": False, "init_weights": False, **options}
    network = _made(torchvision.models.get_model, "torchvision", architecture, options, options)
    return ThreeChannels(network, num_classes)


def _made(
    make: Callable[..., nn.Module],
    library: str,
    architecture: str,
    arguments: dict[str, Any],
    options: dict[str, Any],
) -> nn.Module:
    try:
        return make(architecture, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError, KeyError) as error:
        said = ", ".join(f"{name}={value}" for name, value in arguments.items()) or "no options"
        raise PerturbError(
            f"Model '{library}-{architecture}' cannot be built with {said}: {error}. "
            f"Check its options ({', '.join(options) or 'none given'}) under `models` in the "
            "configuration, and the size of the images."
        ) from error
