"""What the driver trains: the learner that a study brings, and what it says of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from perturb.errors import PerturbError

if TYPE_CHECKING:
    from perturb.data import PreparedData

Weights = dict[str, Tensor]
Number = float | int | None


@dataclass(frozen=True)
class Trained:
    """How the training of one epoch went.

    Args:
        row: first columns of the epoch's row: settings (learning_rate) and what training measured.
        series: by name, a number of each batch: arrays of one length in every epoch.
        not_finite: the first step of the epoch, counted from 0, whose loss was not finite; None
            where all were. It ends the run.
        totals: last columns of the row, after those of the evaluation.
    """

    row: Mapping[str, Number]
    series: Mapping[str, np.ndarray]
    not_finite: int | None = None
    totals: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluated:
    """How good the learner is at an epoch's end: columns, and a number of each batch by name.

    A series that is not finite ends the run.
    """

    row: Mapping[str, Number]
    series: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Measures:
    """Which columns of `epochs.csv` are looked at, and for what.

    Args:
        selection: by which the best epoch is chosen, the first of equal ones.
        larger_is_better: whether a larger `selection` is better.
        shown: whose curve `perturb.jobs.status` draws.
        told: after each epoch, to the log and the progress; `shown` is among them.
        last: what the record keeps of the last epoch.
        best: what the record keeps of the best epoch.
    """

    selection: str
    larger_is_better: bool
    shown: str
    told: tuple[str, ...]
    last: tuple[str, ...]
    best: tuple[str, ...]


class Learner(Protocol):
    """One run's networks, data and update rule: what an epoch is, and what is measured.

    The driver (`perturb.train.driver`) calls, for each epoch, `train`, `evaluate` and, where all
    is finite, `end_epoch`. What an epoch computes depends on the weights of `modules`, on the
    state and on the epoch's number, on nothing else: so a killed run goes on to the same bits.
    """

    @property
    def epochs(self) -> int:
        """How many epochs there are."""
        ...

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        ...

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """What is saved, by the prefix of its tensors' names.

        `{"": net}` for one network; `{"net0": ..., "net1": ...}` for two, whose tensors are called
        `net0.weight` and so on.
        """
        ...

    @property
    def series(self) -> tuple[str, ...]:
        """The names of all series, in the order of `batches.npz`."""
        ...

    @property
    def measures(self) -> Measures:
        """Which columns are looked at."""
        ...

    def train(self, epoch: int) -> Trained:
        """Train for the epoch, counted from 0."""
        ...

    def evaluate(self) -> Evaluated:
        """Measure the networks as they are; change nothing."""
        ...

    def end_epoch(self, row: Mapping[str, Number]) -> None:
        """Take note of an epoch that counts, by its row: the next ones may depend on it."""
        ...

    def network(self) -> nn.Module:
        """Return what a landscape looks at: one of `modules`."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return plain values for the record: of the run, and of how it went so far."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that training goes on from but for the weights of `modules`.

        Tensors and plain values (None, numbers, texts), in dicts, lists and tuples.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; `modules` have their weights by then."""
        ...


@dataclass(frozen=True)
class Inputs:
    """What a learner is made of, beside its specification.

    Args:
        device: where it is trained; deterministic algorithms and threads are set by then.
        data: the data set; None where the study has none.
        initial: initial weights of the specification's model; None where the study has none, and
            where a finished run is opened again, whose weights are loaded later.
        initial_path: their file, for messages.
    """

    device: torch.device
    data: PreparedData | None = None
    initial: Weights | None = None
    initial_path: Path | None = None

    def load_initial(self, network: nn.Module) -> None:
        """Give a network its initial weights; PerturbError where they do not fit.

        Without any it stays as it is.
        """
        if self.initial is None:
            return
        try:
            network.load_state_dict(self.initial)
        except RuntimeError as error:
            raise PerturbError(
                f"{self.initial_path}: these weights do not fit the model ({error}). "
                "Delete the file and rerun."
            ) from None


# A study's `learner` is such a function, of its own class of specification.
MakeLearner = Callable[[Any, Inputs], Learner]


def weights_of(learner: Learner) -> Weights:
    """Return a real copy of what is saved of a learner, on the CPU, buffers included."""
    return {
        f"{_prefix(key)}{name}": tensor.detach().to("cpu", copy=True)
        for key, module in learner.modules.items()
        for name, tensor in module.state_dict().items()
    }


def load_weights_into(learner: Learner, weights: Mapping[str, Tensor]) -> None:
    """Give a learner's modules the weights that `weights_of` returned."""
    for key, module in learner.modules.items():
        module.load_state_dict(part_of(weights, key))


def part_of(weights: Mapping[str, Tensor], key: str) -> Weights:
    """Return the tensors of one of a learner's modules, under the names that the module knows."""
    prefix = _prefix(key)
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }


def network_key(learner: Learner) -> str:
    """Return under which key of `modules` the learner's `network()` is."""
    network = learner.network()
    (key,) = (key for key, module in learner.modules.items() if module is network)
    return key


def _prefix(key: str) -> str:
    return f"{key}." if key else ""
