"""The models there are, by name. Imports no torch, so that a workflow can plan with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perturb.errors import PerturbError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Model:
    """One architecture and the inputs that it takes.

    `function` is "module:name" of a function (num_classes, image_size, channels) -> nn.Module;
    `pretrained` says whether its backbone starts from published weights (models/pretrained.py).
    Images are square, `smallest_image` pixels or more and divisible by `image_multiple`;
    `channels` is what is built where nobody says. A pretrained model takes 1 or 3 channels.
    """

    name: str
    function: str
    description: str
    pretrained: bool = False
    channels: int = 3
    smallest_image: int = 8
    image_multiple: int = 1

    def load(self) -> Callable[[int, int, int], nn.Module]:
        """Import the model's module and return its build function."""
        module, _, function = self.function.partition(":")
        return getattr(importlib.import_module(module), function)

    def check(self, num_classes: int, image_size: int, channels: int) -> None:
        """Raise PerturbError where the model cannot be built for such inputs."""
        for what, value, least in (("num_classes", num_classes, 2), ("channels", channels, 1)):
            if value < least:
                raise PerturbError(f"Model '{self.name}': {what} is {value}; give {least} or more.")
        if self.pretrained and channels not in (1, 3):
            raise PerturbError(
                f"Model '{self.name}' takes images of 1 or 3 channels, as its published weights "
                f"are for 3; these have {channels}. Convert the images or choose another model."
            )
        if image_size < self.smallest_image or image_size % self.image_multiple:
            sizes = f"{self.smallest_image} pixels or more"
            if self.image_multiple > 1:
                sizes += f", divisible by {self.image_multiple}"
            raise PerturbError(
                f"Model '{self.name}' takes square images of {sizes}; these have {image_size}. "
                "Resize the images or choose another model."
            )


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "upanet16",
            "perturb.models.upanet:upanet16",
            "UPANets with 16 filters and one block a stage",
            image_multiple=8,
        ),
        Model(
            "resnet18",
            "perturb.models.resnet:resnet18",
            "ResNet-18 with the CIFAR stem: 3x3 convolution of stride 1, no max-pool",
        ),
        Model(
            "cnn",
            "perturb.models.cnn:cnn",
            "small CNN for 8x8 digits",
            channels=1,
            smallest_image=4,
        ),
        Model(
            "resnet18_imagenet",
            "perturb.models.imagenet:resnet18_imagenet",
            "torchvision's ResNet-18, fine-tuned from ImageNet weights",
            pretrained=True,
        ),
        Model(
            "vit",
            "perturb.models.imagenet:vit_b_16",
            "torchvision's ViT-B/16 on inputs resized to 224, fine-tuned from ImageNet weights",
            pretrained=True,
        ),
        Model(
            "deit",
            "perturb.models.imagenet:vit_b_16",
            "DeiT-B/16 on inputs resized to 224, fine-tuned from its published weights",
            pretrained=True,
        ),
        Model(
            "reid_small",
            "perturb.models.reid:small",
            "small CNN for re-identification: pooled features, embedding, classifier",
        ),
        Model(
            "reid_resnet50",
            "perturb.models.reid:resnet50",
            "ResNet-50 for re-identification, its backbone from ImageNet weights",
            pretrained=True,
        ),
        Model(
            "reid_resnet50_random",
            "perturb.models.reid:resnet50",
            "ResNet-50 for re-identification, its backbone drawn at random",
        ),
        *(
            Model(
                f"{prefix}xnor_resnet18_{width}",
                f"perturb.models.xnor_resnet:{prefix}xnor_resnet18_{width}",
                f"thin ResNet-18 with binary activations and {weights} weights, {width} channels",
                image_multiple=8,
            )
            for prefix, weights in (("", "binary"), ("real_", "full-precision"))
            for width in (8, 16)
        ),
    )
}


def names() -> list[str]:
    """Return the names of the models, in the registry's order."""
    return list(MODELS)


def get(name: str) -> Model:
    """Return the model of that name; PerturbError with the closest name where there is none."""
    if name not in MODELS:
        raise PerturbError(f"Unknown model '{name}'.{did_you_mean(name, MODELS)}")
    return MODELS[name]
