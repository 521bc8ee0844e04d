"""Ensembles from one run: snapshots, fast geometric ensembles, averages of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from perturb.ensembles import schedules
from perturb.errors import PerturbError

Weights = dict[str, Tensor]


def averaged(model: nn.Module, members: Sequence[Weights], batches: Iterable[Tensor]) -> nn.Module:
    """Return the network at the mean of the members' weights (SWA, Izmailov et al. 2018).

    Batch-norm's statistics are those of `batches` of inputs, in training mode, at the mean.
    `model` ends at the last member's weights.
    """
    if not members:
        raise PerturbError("SWA: there is no member to average.")
    model.load_state_dict(members[0])
    mean = AveragedModel(model)
    for weights in members:
        model.load_state_dict(weights)
        mean.update_parameters(model)
    update_bn(batches, mean)
    return mean.module.eval()


def cyclical(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_step: Callable[[int], None],
    rate: Callable[[float], float],
    *,
    steps_of_cycle: int,
    cycles: int,
) -> Iterator[Weights]:
    """Train on and yield a copy of the weights at the end of each cycle.

    Args:
        model, optimizer: trained in place.
        train_step: makes step k, counted from 0 over all cycles, at the optimiser's rate.
        rate: the learning rate at a time in cycles.
        steps_of_cycle, cycles: of training.
    """
    for at in range(steps_of_cycle * cycles):
        for group in optimizer.param_groups:
            group["lr"] = rate(at / steps_of_cycle)
        train_step(at)
        if (at + 1) % steps_of_cycle == 0:
            yield {name: t.detach().clone() for name, t in model.state_dict().items()}


def fast_geometric(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_step: Callable[[int], None],
    *,
    highest: float,
    lowest: float,
    steps_of_cycle: int,
    cycles: int,
) -> Iterator[Weights]:
    """Yield the members of a fast geometric ensemble (Garipov et al. 2018, section 4).

    The learning rate goes from `lowest` up to `highest` and back in each short cycle.
    """
    return cyclical(
        model,
        optimizer,
        train_step,
        lambda time: schedules.triangle(highest, time, 1.0, lowest),
        steps_of_cycle=steps_of_cycle,
        cycles=cycles,
    )


def snapshots(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_step: Callable[[int], None],
    *,
    highest: float,
    steps_of_cycle: int,
    cycles: int,
) -> Iterator[Weights]:
    """Yield the members of a snapshot ensemble: cosine cycles (Huang et al. 2017, equation 2)."""
    return cyclical(
        model,
        optimizer,
        train_step,
        lambda time: schedules.cosine(highest, time, 1.0),
        steps_of_cycle=steps_of_cycle,
        cycles=cycles,
    )
