"""The models there are, by name. Imports no torch, so that a workflow can plan with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from perturb.errors import PerturbError, did_you_mean
from perturb.models import libraries

if TYPE_CHECKING:
    from torch import nn

Option = bool | int | float | str


@dataclass(frozen=True)
class Model:
    """One architecture and the inputs that it takes.

    `function` is "module:name" of a function (num_classes, image_size, channels) -> nn.Module;
    `pretrained` says whether its backbone starts from published weights where nobody says
    otherwise (models/pretrained.py). Images are square, `smallest_image` pixels or more and
    divisible by `image_multiple`; `channels` is what is built where nobody says. A pretrained model
    takes 1 or 3 channels.
    """

    name: str
    function: str
    description: str
    pretrained: bool = False
    channels: int = 3
    smallest_image: int = 8
    image_multiple: int = 1

    @property
    def sizes(self) -> str:
        """The sizes of images that it takes, in words: `32 pixels or more, divisible by 4`."""
        least = f"{self.smallest_image} pixels or more" if self.smallest_image > 1 else "any size"
        return least + (f", divisible by {self.image_multiple}" if self.image_multiple > 1 else "")

    def load(self, options: Mapping[str, Option] | None = None) -> Callable[..., nn.Module]:
        """Import the model's module and return its build function, with `options` if it has any.

        PerturbError where the library that it is built with is not installed.
        """
        self.check_options(options or {})
        module, _, function = self.function.partition(":")
        try:
            return getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            if error.name not in libraries.NAMES:
                raise
            raise libraries.missing(error.name) from None

    def check_options(self, options: Mapping[str, Option]) -> None:
        """Raise PerturbError for options: only a library's model has some, which it checks."""
        if options:
            raise PerturbError(
                f"Model '{self.name}' takes no options, but {', '.join(sorted(options))} is given. "
                "Leave it out; only models of timm and torchvision have options."
            )

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
            raise PerturbError(
                f"Model '{self.name}' takes square images of {self.sizes}; these have "
                f"{image_size}. Resize the images or choose another model."
            )


@dataclass(frozen=True)
class LibraryModel(Model):
    """A model of timm or torchvision: `architecture` is its name there.

    `options` are further arguments of the library's function, that a configuration may add to.
    """

    library: str = ""
    architecture: str = ""
    options: tuple[tuple[str, Option], ...] = ()

    def load(self, options: Mapping[str, Option] | None = None) -> Callable[..., nn.Module]:
        """Return the build function of this architecture, with its own options and the given."""
        function = Model.load(self)
        return partial(function, self.architecture, **dict(self.options) | dict(options or {}))

    def check_options(self, options: Mapping[str, Option]) -> None:
        """Do nothing: the library knows its options when the network is built."""


def _of_library(library: str, architecture: str) -> LibraryModel:
    """Return a library's model as it comes, under the one name that folders of runs have."""
    return LibraryModel(
        libraries.name_of(library, architecture),
        f"perturb.models.library:{library}_model",
        f"{library}'s {architecture}, from random weights",
        smallest_image=1,
        library=library,
        architecture=architecture,
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
            "small CNN for small images: two strided 3x3 convolutions",
            channels=1,
            smallest_image=4,
        ),
        Model(
            "mlp",
            "perturb.models.mlp:mlp",
            "perceptron with hidden layers of 512 and 256 units",
            channels=1,
            smallest_image=1,
        ),
        Model(
            "resnet32",
            "perturb.models.resnet32:resnet32",
            "ResNet-32 for CIFAR, shortcuts without parameters (option A)",
        ),
        Model(
            "resnet34",
            "perturb.models.resnet34:resnet34",
            "ResNet-34 with the CIFAR stem, as the code of SLS has it",
        ),
        Model(
            "mobilenetv2",
            "perturb.models.mobilenetv2:mobilenetv2",
            "MobileNetV2 for CIFAR: strides 1 in the stem and the second stage",
        ),
        LibraryModel(
            "resnet18_imagenet",
            "perturb.models.library:torchvision_model",
            "torchvision's ResNet-18 with the ImageNet stem, fine-tuned from ImageNet weights",
            pretrained=True,
            library="torchvision",
            architecture="resnet18",
        ),
        LibraryModel(
            "vit",
            "perturb.models.library:timm_model",
            "timm's ViT-B/16 with patches of 8 pixels, fine-tuned from ImageNet weights",
            pretrained=True,
            image_multiple=8,
            library="timm",
            architecture="vit_base_patch16_224",
            options=(("patch_size", 8),),
        ),
        LibraryModel(
            "deit",
            "perturb.models.library:timm_model",
            "timm's DeiT-B/16 with patches of 8 pixels, fine-tuned from ImageNet weights",
            pretrained=True,
            image_multiple=8,
            library="timm",
            architecture="deit_base_patch16_224",
            options=(("patch_size", 8),),
        ),
        Model(
            "embedding_small",
            "perturb.models.reidentification:small",
            "small CNN for re-identification: pooled features, embedding, classifier",
        ),
        Model(
            "embedding_resnet50",
            "perturb.models.reidentification:resnet50",
            "ResNet-50 for re-identification, its backbone from ImageNet weights",
            pretrained=True,
        ),
        Model(
            "embedding_resnet50_random",
            "perturb.models.reidentification:resnet50",
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
        Model(
            "ir50_vit_pretrained",
            "perturb.models.expression:ir50_vit",
            "ir50_vit whose IResNet-50 has weights from a file of the user's",
            pretrained=True,
        ),
        *(
            Model(
                f"{name}{suffix}",
                f"perturb.models.expression:{name}{suffix}",
                f"{stem}, class token and 8 {blocks}",
            )
            for name, stem in (
                ("ir50_vit", "randomly initialised IResNet-50 on images resized to 224"),
                ("small_vit", "a few strided convolutions"),
            )
            for suffix, blocks in (
                ("", "ViT blocks"),
                ("_cls", "class-attention blocks"),
                ("_cls_coded", "class-attention blocks with both bugs of the lab log's code"),
            )
        ),
    )
}


def names() -> list[str]:
    """Return the names of the models, in the registry's order; libraries have many more."""
    return list(MODELS)


def get(name: str) -> Model:
    """Return the model of that name, a library's too (`timm:resnet26` or `timm-resnet26`).

    PerturbError with the closest name where there is none, and where the same network has another
    name here.
    """
    if name in MODELS:
        return MODELS[name]
    library, architecture = libraries.split(name)
    if not library:
        closest = did_you_mean(name, MODELS).partition(" Choose from")[0]
        shown = name if len(name) <= 60 else f"{name[:40]}..."
        raise PerturbError(
            f"Unknown model '{shown}'.{closest} Models: {', '.join(MODELS)}; or one of a library, "
            "as `timm:resnet26` or `torchvision:mobilenet_v3_small`."
        )
    libraries.check(library, architecture)
    for model in MODELS.values():
        own = isinstance(model, LibraryModel) and not model.options
        if own and (model.library, model.architecture) == (library, architecture):
            raise PerturbError(
                f"Model '{name}' is called '{model.name}' here. Use that name; with random weights "
                "describe it under `models` in the configuration (docs/fine-tuning.md)."
            )
    return _of_library(library, architecture)


def library_of(name: str) -> str:
    """Return which library a model's network is of, "" for one of this project, or of no name."""
    own = MODELS.get(name)
    return own.library if isinstance(own, LibraryModel) else libraries.split(name)[0]
