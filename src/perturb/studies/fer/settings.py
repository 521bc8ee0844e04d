"""What a run of this study is: its name, and what the name and the configuration set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perturb.errors import PerturbError, did_you_mean
from perturb.slugs import Grammar, Slug
from perturb.train.settings import TrainSettings

NAME = "fer"
# A base optimiser each: `adam` has its weight decay in the gradient, `adamw` beside it.
HEADS = ("adam", "adamw")
BLOCKS = ("baseline", "cls", "cls.dropped", "cls.inverted", "cls.coded")
DEEPEST = 8
MODELS = ("ir50_vit", "ir50_vit_pretrained", "small_vit")  # whose blocks a run's name sets
DEFAULTS: Mapping[str, Any] = {
    "lr": None,
    "depth": 2,
    "block": "baseline",
    "eps": 1e-8,
    "beta1": 0.9,
    "beta2": 0.999,
    "decay": 1e-4,
    "gamma": 0.98,
    "mixup": 0.0,
    "dropout": 0.0,
    "droppath": 0.0,
}
GRAMMARS = {head: Grammar(head, DEFAULTS) for head in HEADS}


class FerSpecification(TrainSettings, frozen=True, kw_only=True):
    """A classifier's settings, and those of the network, its regularisation and its feed.

    Args:
        block: kind of the ViT blocks, one of `BLOCKS`; those after `cls.` have the log's bugs.
        depth: number of blocks.
        gamma: the learning rate is multiplied by it after each epoch.
        mixup: alpha of MixUp and CutMix, 0 for neither.
        attention_dropout: probability that an attention weight is dropped.
        drop_path: probability that a residual branch is dropped, for each image.
        erasing: probability that a rectangle of a train image is erased.
        balanced: sample classes alike.
        drop_last: leave a last batch out that is smaller.
    """

    study: str = NAME
    block: str = "baseline"
    depth: int = 2
    gamma: float = 0.98
    mixup: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    erasing: float = 0.5
    balanced: bool = True
    drop_last: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for a probability that is none; the others are of the name."""
        if not 0 <= self.erasing <= 1:
            raise ValueError(f"erasing is {self.erasing:g}, not from 0 to 1")


def parse(method: str) -> Slug:
    """Return what a run's name says; PerturbError where it does not parse or cannot be trained."""
    head = method.partition("_")[0]
    if head not in GRAMMARS:
        raise PerturbError(f"'{method}' does not parse: it begins with {' or '.join(HEADS)}.")
    slug = GRAMMARS[head].parse(method)
    values = slug.values
    if values["block"] not in BLOCKS:
        block = values["block"]
        raise PerturbError(f"'{method}': no block '{block}'.{did_you_mean(block, BLOCKS)}")
    if not 1 <= values["depth"] <= DEEPEST:
        raise PerturbError(f"'{method}': depth is {values['depth']}; give 1 to {DEEPEST}.")
    for key in ("dropout", "droppath"):
        if not 0 <= values[key] < 1:
            raise PerturbError(f"'{method}': {key} is {values[key]}, not from 0 to below 1.")
    for key in ("gamma", "mixup"):
        if values[key] < 0 or (key == "gamma" and not 0 < values[key] <= 1):
            raise PerturbError(f"'{method}': {key} is {values[key]}; it is out of its range.")
    return slug


def format(slug: Slug) -> str:
    """Return the one spelling of a run's name."""
    return GRAMMARS[slug.head].format(slug)


def set_by_name(slug: Slug) -> dict[str, Any]:
    """Return the fields of the specification that a name sets."""
    values = slug.values
    return {
        "base": slug.head,
        "learning_rate": values["lr"],
        "depth": values["depth"],
        "block": values["block"],
        "eps": values["eps"],
        "betas": (values["beta1"], values["beta2"]),
        "weight_decay": values["decay"],
        "gamma": values["gamma"],
        "mixup": values["mixup"],
        "attention_dropout": values["dropout"],
        "drop_path": values["droppath"],
    }
