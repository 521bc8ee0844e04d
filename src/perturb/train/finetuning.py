"""Fine-tuning: frozen layers, a learning rate for each layer, warm-up.

As timm has them (`timm.optim.param_groups_layer_decay`, `timm.scheduler.CosineLRScheduler`), for
networks of any origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn import Parameter

from perturb.errors import PerturbError
from perturb.models.heads import head_of, is_of, layers_of
from perturb.train.settings import TrainSettings

BACKBONE = "backbone"


def freeze(network: nn.Module, what: int | str) -> list[nn.Module]:
    """Keep a part of a network as it is; return its modules, which stay in evaluation mode.

    `what`: "backbone" is all but the head, a number that of layers from the input, 0 nothing.
    PerturbError where that would freeze the layer of the head, too.
    """
    if not what:
        return []
    if what == BACKBONE:
        head = head_of(network)
        frozen = {name for name, _ in network.named_parameters() if not is_of(name, head)}
    else:
        layers = layers_of(network)
        count = max(layers.values())
        if not isinstance(what, int) or what > count:
            raise PerturbError(
                f"train: freeze is {what}, but the network has {count} layers below that of its "
                f"head. Give a number up to {count}, or `backbone`."
            )
        frozen = {name for name, layer in layers.items() if layer < what}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return _frozen_modules(network)


def _frozen_modules(module: nn.Module) -> list[nn.Module]:
    """Return the outermost modules that have parameters, all of them frozen."""
    parameters = list(module.parameters())
    if not parameters:
        return []
    if not any(parameter.requires_grad for parameter in parameters):
        return [module]
    return [one for child in module.children() for one in _frozen_modules(child)]


def parameter_groups(
    network: nn.Module, settings: TrainSettings
) -> list[Parameter] | list[dict[str, Any]]:
    """Return the trainable parameters, in groups where their learning rates or decays differ."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if settings.layer_decay == 1 and settings.decay_biases:
        return list(trained.values())
    layers = layers_of(network)
    last = max(layers.values())
    exempt = network.no_weight_decay() if hasattr(network, "no_weight_decay") else set()
    groups: dict[tuple[int, bool], list[Parameter]] = {}
    for name, parameter in trained.items():
        decays = settings.decay_biases or not (parameter.ndim <= 1 or name in exempt)
        groups.setdefault((layers[name], decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * settings.layer_decay ** (last - layer),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (layer, decays), parameters in groups.items()
    ]


@dataclass(frozen=True)
class WarmCosine:
    """The share of the initial learning rate in an epoch: a linear warm-up, then a cosine.

    The cosine counts from epoch 0 as without a warm-up, and ends at `minimum` after the last of
    `epochs`; the warm-up starts at `start`. Both are shares of the initial learning rate.
    """

    epochs: int
    warmup: int
    start: float
    minimum: float

    def __call__(self, epoch: int) -> float:
        """Return the share in an epoch, counted from 0."""
        if epoch < self.warmup:
            return self.start + epoch * (1 - self.start) / self.warmup
        cosine = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.minimum + (1 - self.minimum) * cosine


def learning_rate(settings: TrainSettings, epochs: int) -> WarmCosine | None:
    """Return the schedule of the learning rate; None for the optimiser's own cosine to 0."""
    values = (settings.warmup_learning_rate, settings.minimum_learning_rate)
    if not settings.warmup_epochs and not settings.minimum_learning_rate:
        return None
    if not settings.learning_rate:
        raise PerturbError("train: a warm-up or a minimum of a learning rate that is 0.")
    start, minimum = (value / settings.learning_rate for value in values)
    return WarmCosine(epochs, settings.warmup_epochs, start, minimum)
