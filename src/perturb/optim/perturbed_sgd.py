"""The optimiser that every update rule shares: SGD on a direction that the rule computes.

One step: the closure gives the gradient g at w; the rule turns it into a direction u, mostly by
asking for the gradient at w + e; then `d = u + wd*w; v = m*v + d; w -= lr*v`.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm

from perturb.errors import PerturbError
from perturb.names import Method
from perturb.optim.batch_norm import batch_norms, running_statistics_frozen
from perturb.optim.flat import FlatWeights
from perturb.optim.timing import Epoch, trigger

EPSILON = 1e-12
Closure = Callable[[], Tensor]
GradientAt = Callable[[Tensor], Tensor]


def of_length(
    length: float, vector: Tensor, norm: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Return `vector` [n] scaled to a length: length * vector / (norm(vector) + E).

    `norm` is its norm where that is known already; `out` is where the result goes, `vector` itself
    allowed. On a GPU nothing waits for it; on the CPU it
    is a number at once, which spares operations on tensors of one element.
    """
    norm = vector_norm(vector) if norm is None else norm
    divisor = (norm if norm.is_cuda else norm.item()) + EPSILON
    return torch.mul(vector, length / divisor, out=out)


class PerturbedSGD(torch.optim.Optimizer):
    """SGD with momentum and weight decay on the direction of an update rule.

    A rule is a subclass with `direction`; its parameters (`rho`, ...) are attributes named as in
    its file's `PARAMETERS`. It works on flat vectors, so all norms run over every trainable
    tensor of every group together. Tensors are of one device and type; one that has no gradient
    in a step is left out of it.

    Args:
        params: tensors or parameter groups; a group may set its own lr, momentum, weight_decay.
        method: what the name asks for (`perturb.names.parse`).
        lr, momentum, weight_decay: of SGD; weight decay is added after the rule's normalisation.
        schedule_clock: `epoch` sets radius and scale from t = e, `lagged` from t = max(e - 1, 0),
            as the notebook did.
        bn_second_pass: let the second pass update batch-norm's running statistics too, as the
            published code does.
        learning_rate_schedule: `cosine` anneals lr over the name's epochs at each `set_epoch`;
            `constant` leaves it to the caller.
        model: whose batch-norms the second pass leaves alone; by default those that run in it.
            To be given where the closure runs a compiled model.

    Attributes:
        epoch: as the last `set_epoch` left it.
        radius, scale: r and s of the epoch; None where the rule has none.
        perturbing: whether steps look at perturbed weights; a timed method is plain SGD first.
        trigger_epoch: the epoch at whose end a timed method switched, else None.
        gradient_evaluations: batch gradients computed since construction.
        gradient_norm, perturbation_norm: 0-d tensors, norms of g and e in the last step.
        flat: the trainable tensors of this step as one vector (`perturb.optim.flat`).
    """

    perturbs = True
    radius: float | None = None
    scale: float | None = None

    def __init__(
        self,
        params: Iterable[Any],
        method: Method,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        *,
        schedule_clock: str = "epoch",
        bn_second_pass: bool = False,
        learning_rate_schedule: str = "cosine",
        model: torch.nn.Module | None = None,
    ) -> None:
        _check_choice("schedule_clock", schedule_clock, ("epoch", "lagged"))
        _check_choice("learning_rate_schedule", learning_rate_schedule, ("cosine", "constant"))
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            if not 0 <= value < math.inf:
                raise PerturbError(
                    f"optimiser: {name} is {value}; it must be finite and not negative."
                )
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for name, value in method.parameters.items():
            setattr(self, name, value)
        self.method = method
        self.schedule_clock = schedule_clock
        self.bn_second_pass = bn_second_pass
        self.learning_rate_schedule = learning_rate_schedule
        self._batch_norms = None if model is None else batch_norms(model)
        self.trigger = trigger(method.timing) if method.timing else None
        self.trigger_epoch: int | None = None
        self.gradient_evaluations = 0
        self.gradient_norm = self.perturbation_norm = torch.zeros(())
        self.flat: FlatWeights | None = None
        self._norms: list[Tensor] = []
        self.set_epoch(0)

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return the direction u [n] that SGD descends, over all n trainable numbers together.

        Args:
            weights: w [n], every trainable tensor flattened, one after the other; not to be
                changed.
            gradient: g [n] at w, not to be changed. `gradient_norm` is its norm.
            gradient_at: `gradient_at(e)` returns the gradient [n] at w + e on the same batch, with
                the weights restored to the bit. The caller may change it; the next call reuses it.
        """
        raise AssertionError("an update rule says which direction it descends")

    def set_epoch(self, epoch: int) -> None:
        """Set the learning rate, and what else depends on the epoch (counted from 0)."""
        self.epoch = epoch
        if self.learning_rate_schedule == "cosine":
            for group in self.param_groups:
                group["lr"] = group["initial_lr"] * self.cosine
        if self.method.timing and self.method.timing.kind == "at":
            start = int(self.method.timing.parameters["epoch"])
            self.trigger_epoch = start - 1 if epoch >= start else None

    @property
    def cosine(self) -> float:
        """The cosine annealing's share of the initial learning rate in this epoch."""
        return (1 + math.cos(math.pi * self.epoch / self.method.epochs)) / 2

    @property
    def in_force(self) -> bool:
        """Whether the rule decides the direction in this epoch, or plain SGD still does."""
        if self.trigger is None:
            return True
        return self.trigger_epoch is not None and self.epoch > self.trigger_epoch

    @property
    def perturbing(self) -> bool:
        """Whether this epoch's steps look at the gradient of perturbed weights."""
        return self.perturbs and self.in_force

    def step(self, closure: Closure) -> Tensor:
        """Make one step; return the loss at w, detached.

        Args:
            closure: zeroes the gradients, runs forward and backward on the batch, returns the
                loss. It is called once, or twice where the rule looks at a second point.
        """
        return self.advance(closure)

    @torch.no_grad()
    def advance(self, closure: Closure) -> Tensor:
        """Make the step without what PyTorch puts around every optimiser's `step`.

        Its hooks and its mark for the profiler cost 0.2 ms, a twentieth of a small net's step.
        """
        before = self.gradient_evaluations
        loss = self._evaluate(closure)
        tensors = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not tensors:
            raise PerturbError(
                "optimiser: no parameter has a gradient after the closure. It must call "
                "backward() on a loss that depends on the parameters given to the optimiser."
            )
        if self.flat is None or not self.flat.is_of(tensors):
            self.flat = FlatWeights.of(tensors, self.param_groups, self.state)
        weights, gradient = self.flat.weights, self.flat.gradient(self.flat.first)
        self.gradient_norm = vector_norm(gradient)
        if self._watches_norms:
            self._norms.append(self.gradient_norm)
        direction = gradient
        if self.in_force:
            gradient_at = partial(self._gradient_at, closure)
            direction = self.direction(weights, gradient, gradient_at)
        if self.gradient_evaluations == before + 1:  # no second point was looked at
            self.perturbation_norm = torch.zeros_like(self.gradient_norm)
        self.flat.descend(direction)
        return loss

    def end_epoch(
        self, *, train_loss: float, validation_loss: float, validation_accuracy: float
    ) -> None:
        """Tell a timed method how the epoch went; it may perturb from the next one on."""
        norms, self._norms = self._norms, []
        if self.trigger is None or self.trigger_epoch is not None:
            return
        values = torch.stack(norms).tolist() if norms else []
        if self.trigger.observe(
            Epoch(self.epoch, train_loss, validation_loss, validation_accuracy, values)
        ):
            self.trigger_epoch = self.epoch

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose learning rate is annealed from what it is given now."""
        _plain(torch.optim.Optimizer.add_param_group)(self, param_group)
        self.param_groups[-1].setdefault("initial_lr", self.param_groups[-1]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return momentum, groups, and everything that the schedule, timing and rule remember."""
        extra = {name: getattr(self, name) for name in self._remembered()}
        extra["norms"] = [norm.item() for norm in self._norms]
        extra["history"] = copy.deepcopy(self.trigger.history) if self.trigger else None
        return _plain(torch.optim.Optimizer.state_dict)(self) | {"perturb": extra}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        extra = dict(state_dict["perturb"])
        rest = {key: value for key, value in state_dict.items() if key != "perturb"}
        _plain(torch.optim.Optimizer.load_state_dict)(self, rest)
        norms, history = extra.pop("norms"), extra.pop("history")
        like = self.param_groups[0]["params"][0]
        self._norms = [torch.tensor(norm, dtype=like.dtype, device=like.device) for norm in norms]
        if self.trigger:
            self.trigger.history = copy.deepcopy(history)
        for name, value in extra.items():
            setattr(self, name, value)
        # One vector at once, as before: where in memory the weights lie may move a last bit.
        used = [p for g in self.param_groups for p in g["params"] if self.state.get(p)]
        self.flat = FlatWeights.of(used, self.param_groups, self.state) if used else None
        self.set_epoch(self.epoch)

    @property
    def _watches_norms(self) -> bool:
        """Whether the timing rule still needs each batch's gradient norm."""
        timing = self.method.timing
        return timing is not None and timing.kind == "var" and self.trigger_epoch is None

    def _remembered(self) -> tuple[str, ...]:
        """Names of the attributes, numbers all, that a rule needs to go on where it stopped."""
        return ("epoch", "trigger_epoch", "gradient_evaluations")

    def _evaluate(self, closure: Closure) -> Tensor:
        self.gradient_evaluations += 1
        with torch.enable_grad():
            return closure().detach()

    def _gradient_at(self, closure: Closure, perturbation: Tensor) -> Tensor:
        self.perturbation_norm = vector_norm(perturbation)
        frozen = [] if self.bn_second_pass else self._batch_norms
        with self.flat.moved_by(perturbation), running_statistics_frozen(frozen):
            self._evaluate(closure)
        return self.flat.gradient(self.flat.second)


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return it without its decorator, which imports torch's compiler: 1.5 s of no use here."""
    return inspect.unwrap(method)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PerturbError(f"optimiser: {name} is '{value}'; choose from {', '.join(choices)}.")
