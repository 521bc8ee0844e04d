"""Settings of runs that the driver trains, and of those that train a classifier. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from perturb.runs import Specification


class Limit(msgspec.Struct, frozen=True):
    """How many images of each split a short run uses."""

    train: int
    test: int


class DrivenSettings(Specification, frozen=True, kw_only=True):
    """What every run has that `perturb.train.run` makes.

    `checkpoint_every`: weights are kept of every epoch whose number, counted from 1, is a multiple
    of this; 0 keeps none.
    """

    checkpoint_every: int = 0

    @property
    def architecture(self) -> str:
        """The name of the network in the registry of models."""
        return self.model

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width at which networks look at images; None: those of the prepared ones."""
        return None


class TrainSettings(DrivenSettings, frozen=True, kw_only=True):
    """What decides how a classifier is trained (config/schema.yaml, train).

    `base`, `nesterov`, `betas` and `eps` are the base optimiser's (`perturb.optim`); those that it
    does not have are left at their defaults. `network`, `network_options` and `weights` are what
    the configuration describes of the model, empty where its name says all.
    """

    NEUTRAL: ClassVar[Mapping[str, Any]] = {
        "base": "sgd",
        "nesterov": False,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "network": "",
        "network_options": [],
        "weights": "",
        "freeze": 0,
        "layer_decay": 1.0,
        "decay_biases": True,
        "warmup_epochs": 0,
        "warmup_learning_rate": 0.0,
        "minimum_learning_rate": 0.0,
        "label_smoothing": 0.0,
        "lean": False,
    }

    protocol: str = "from400"
    augment: str = "standard"
    batch_size: int = 500
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    base: str = "sgd"
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    limit: Limit | None = None
    split_seed: int = 0
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    network: str = ""
    network_options: tuple[tuple[str, bool | int | float | str], ...] = ()
    weights: str = ""
    freeze: int | str = 0
    layer_decay: float = 1.0
    decay_biases: bool = True
    warmup_epochs: int = 0
    warmup_learning_rate: float = 0.0
    minimum_learning_rate: float = 0.0
    label_smoothing: float = 0.0
    lean: bool = False

    @property
    def architecture(self) -> str:
        """The name of the network in the registry of models."""
        return self.network or self.model
