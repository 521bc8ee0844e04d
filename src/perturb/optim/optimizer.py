"""The optimiser that every update rule shares: a base optimiser on a direction of the rule.

One step: the closure gives the gradient g at w; the rule turns it into a direction u, mostly by
asking for the gradient at w + e; then the base optimiser takes u for the gradient. For SGD that is
`d = u + wd*w; v = m*v + d; w -= lr*v`.
"""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor

from perturb import bases
from perturb.errors import PerturbError
from perturb.methods import Method
from perturb.optim import checkpoints, checks
from perturb.optim.flat import FlatWeights
from perturb.optim.interfaces import Base, GradientAt, Term
from perturb.optim.norms import factor_to, norm_of, of_length
from perturb.optim.remembering import NOT_COPIED, of_rule, refuse_forgotten, snapshot
from perturb.optim.scaling import Overflow, Unscaler
from perturb.optim.second_pass import Surroundings
from perturb.optim.timing import Epoch, trigger

__all__ = ["GradientAt", "PerturbedOptimizer", "of_length"]

_AS_IS = nullcontext()
Closure = Callable[[], Any]


class PerturbedOptimizer(torch.optim.Optimizer):
    """A base optimiser (SGD, Adam, AdamW) on the direction of an update rule.

    A rule is a subclass with `direction`; its parameters (`rho`, ...) are attributes named as in
    its file's `PARAMETERS`. It works on flat vectors, so all norms run over every trainable
    tensor of every group together. Tensors of several devices and types are moved together, in
    the format that holds them all; a complex number counts as two real ones, a sparse gradient as
    what it says. A tensor that has no gradient in a step is left out of it.

    A second pass sees the first one's random numbers, and moves no buffer
    (`perturb.optim.second_pass`).

    Args:
        params: tensors or parameter groups; a group may set its own lr, weight_decay, options of
            the base, and `rho` where the rule has one: then its part of the ascent step is longer
            or shorter by that, still along the gradient of all groups.
        method: what the name asks for (`perturb.names.parse`).
        lr, momentum, weight_decay: of the base; only `sgd` has a momentum. Weight decay enters
            after the rule's normalisation.
        base: the base optimiser, `sgd`, `adam` or `adamw`: a file of `perturb/optim/bases/`.
        schedule_clock: `epoch` sets radius and scale from t = e, `lagged` from t = max(e - 1, 0),
            as the notebook did.
        bn_second_pass: let the second pass update batch-norm's running statistics too, as the
            published code does.
        learning_rate_schedule: `cosine` anneals lr over the name's epochs at each `set_epoch`,
            from each group's `peak_lr`; `constant` leaves it to PyTorch's schedulers or the caller.
        model: whose buffers and own generators the second pass leaves alone; by default those of
            the modules that the first pass calls. To be given where the closure runs a compiled
            model.
        lean: keep few vectors of the weights' size, for a large net: beside weights and gradients
            the base's own (momentum: 1), the gradient at w and the weights while they are moved,
            and with a rule that looks at one point the base's alone. Gradients then lie in these
            vectors, which the step overwrites. The same numbers, to the bit. Rules that combine
            earlier gradients (looksam) take more.
        options: of the base, the defaults in its file: `nesterov` of `sgd` (false), `betas` and
            `eps` of `adam` and `adamw` ((0.9, 0.999) and 1e-8).

    Raises PerturbError where a value is out of range or the base has no such option.

    Attributes:
        epoch: as the last `set_epoch` left it.
        radius, scale: r and s of the epoch; None where the rule has none.
        perturbing: whether steps look at perturbed weights; a timed method is its base alone first.
        trigger_epoch: the epoch at whose end a timed method switched, else None.
        gradient_evaluations: batch gradients computed since construction.
        gradient_norm, perturbation_norm: 0-d tensors, norms of g and e in the last step.
        flat: the trainable tensors of this step as one vector (`perturb.optim.flat`).
        terms: each adds its gradient to that of every batch; none at first.
    """

    perturbs = True
    _step_supports_amp_scaling = True  # PyTorch's word for: GradScaler leaves the gradients to it
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
        base: str = "sgd",
        schedule_clock: str = "epoch",
        bn_second_pass: bool = False,
        learning_rate_schedule: str = "cosine",
        model: torch.nn.Module | None = None,
        lean: bool = False,
        **options: Any,
    ) -> None:
        checks.choice("schedule_clock", schedule_clock, ("epoch", "lagged"))
        checks.choice("learning_rate_schedule", learning_rate_schedule, ("cosine", "constant"))
        self.base = base
        settings = bases.complete(base, {"momentum": momentum, **options})
        self._base = _base_module(base)
        self.method = method
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, **settings})
        for name, value in method.parameters.items():
            setattr(self, name, value)
        self.schedule_clock = schedule_clock
        self.bn_second_pass = bn_second_pass
        self.learning_rate_schedule = learning_rate_schedule
        self._model = model
        self.lean = lean
        self._annealed: list[float] = []
        self.trigger = trigger(method.timing) if method.timing else None
        self.trigger_epoch: int | None = None
        self.gradient_evaluations = 0
        self.gradient_norm = self.perturbation_norm = torch.zeros(())
        self.flat: FlatWeights | None = None
        self.terms: Sequence[Term] = ()
        self._norms: list[Tensor] = []
        self._at_first: Mapping[str, Any] | None = None
        self._ended_at = 0  # gradient evaluations by the last end_epoch
        self._surroundings = Surroundings(batch_norm_moves=bn_second_pass)
        self.set_epoch(0)
        self._told_epoch = False

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return the direction u [n] that the base descends, over all n trainable numbers together.

        Args:
            weights: w [n], every trainable tensor flattened, one after the other; not to be
                changed.
            gradient: g [n] at w, not to be changed. `gradient_norm` is its norm.
            gradient_at: `gradient_at(e)` returns the gradient [n] at w + e on the same batch, with
                the weights restored to the bit. The caller may change it; the next call reuses it.
                `gradient_at(v, length)` has e = length * v / (norm(v) + E), which it never writes.
        """
        raise AssertionError("an update rule says which direction it descends")

    def set_epoch(self, epoch: int) -> None:
        """Set the learning rate, and what else depends on the epoch (counted from 0).

        PerturbError where somebody else has set a rate that would be lost.
        """
        self._check_epoch(epoch)
        if self.learning_rate_schedule == "cosine":
            checks.no_second_schedule(self.param_groups, self._annealed)
        self.epoch = epoch
        if self.learning_rate_schedule == "cosine":
            for group in self.param_groups:
                group["lr"] = group["peak_lr"] * self.cosine
            self._annealed = [group["lr"] for group in self.param_groups]
        if self._model is not None:
            self._surroundings.modules = list(self._model.modules())
        if self.method.timing and self.method.timing.kind == "at":
            start = int(self.method.timing.parameters["epoch"])
            self.trigger_epoch = start - 1 if epoch >= start else None

    def _check_epoch(self, epoch: int) -> None:
        """Raise PerturbError past the last epoch; warn where a timed method was told nothing.

        The cosine would climb again there, and schedules of radius and scale leave their range.
        """
        epochs, timing = self.method.epochs, self.method.timing
        ends = self.learning_rate_schedule == "cosine" or self.method.radius or self.method.scale
        if ends and not 0 <= epoch < epochs:
            raise PerturbError(
                f"optimiser: epoch {epoch} is none of the {epochs} that the method's name has, 0 "
                f"to {epochs - 1}: its schedules end there. Build it from a name with more epochs."
            )
        untold = self.trigger_epoch is None and self.gradient_evaluations > self._ended_at
        if timing and timing.kind != "at" and epoch > self.__dict__.get("epoch", epoch) and untold:
            warnings.warn(
                f"a method timed by '{timing.kind}' was not told how epoch {self.epoch} went: call "
                "end_epoch(...) after each epoch, or it stays its base optimiser alone.",
                stacklevel=3,
            )
        self._told_epoch = True

    @property
    def cosine(self) -> float:
        """The cosine annealing's share of the initial learning rate in this epoch."""
        return (1 + math.cos(math.pi * self.epoch / self.method.epochs)) / 2

    @property
    def in_force(self) -> bool:
        """Whether the rule decides the direction in this epoch, or its base alone still does."""
        if self.trigger is None:
            return True
        return self.trigger_epoch is not None and self.epoch > self.trigger_epoch

    @property
    def perturbing(self) -> bool:
        """Whether this epoch's steps look at the gradient of perturbed weights."""
        return self.perturbs and self.in_force

    def step(self, closure: Closure | None = None, grad_scaler: Any = None) -> Any:
        """Make one step; return what the closure returned at w, a tensor detached.

        Args:
            closure: zeroes the gradients, runs forward and backward on the batch, returns the
                loss. It is called once, or twice where the rule looks at a second point. A rule
                that never does so (`sgd`, `ugd`) does without: it takes the gradients that are
                there.
            grad_scaler: the `torch.amp.GradScaler` that the closure scales its loss by. Gradients
                are divided by its scale; where one is not finite the step is left out, and the
                scaler's `update` knows. `scaler.step(optimizer, closure)` does the same.
        """
        if grad_scaler is None and hasattr(self, "grad_scale"):
            raise PerturbError(
                "optimiser: this GradScaler does not pass itself to the step, whose second pass "
                "needs it. Call optimizer.step(closure, grad_scaler=scaler) in place of "
                "scaler.step(optimizer, closure), then scaler.update() as before."
            )
        return self.advance(closure, grad_scaler, every_library=True)

    @torch.no_grad()
    def advance(
        self,
        closure: Closure | None,
        grad_scaler: Any = None,
        every_library: bool = False,
    ) -> Any:
        """Make the step without what PyTorch puts around every optimiser's `step`.

        Its hooks and its mark for the profiler cost 0.2 ms, a twentieth of a small net's step.
        Of the random numbers that the passes draw only PyTorch's are the same, unless
        `every_library` says that NumPy's and Python's are to be, as in `step`.
        """
        if closure is None and self.perturbs:
            raise PerturbError(
                f"optimiser: step() without a closure, but '{self.method.rule}' computes a second "
                "gradient at perturbed weights. Call step(closure) with a closure that zeroes the "
                "gradients, runs forward and backward on the batch, and returns the loss."
            )
        before = self.gradient_evaluations
        unscaler = self._unscaler = Unscaler(grad_scaler, self, has_closure=closure is not None)
        remembered = self._of_remembered() if grad_scaler else {}
        if self.flat is not None:
            self.flat.expect(self.flat.first)
        first = self._surroundings.first(self._devices(), every_library)
        with first if self.perturbing else _AS_IS:
            loss = self._evaluate(closure)
        tensors = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not tensors:
            raise PerturbError(
                "optimiser: no parameter has a gradient after the closure. It must call "
                "backward() on a loss that depends on the parameters given to the optimiser."
            )
        if self.flat is None or not self.flat.is_of(tensors):
            self.flat = self._flattened(tensors)
        self.flat.read()
        try:
            unscaler.unscale()
            direction = self._direction(closure, unscaler)
        except Overflow:  # as GradScaler does: no step, and a smaller scale for the next one
            for name in remembered.keys() - {"gradient_evaluations"}:
                setattr(self, name, remembered[name])
            return loss
        if self.gradient_evaluations <= before + 1:  # no second point was looked at
            self.perturbation_norm = torch.zeros_like(self.gradient_norm)
        for part in self.flat.parts:
            self._base.descend(part, direction[part.where])
        self.flat.write()
        return loss

    def _direction(self, closure: Closure | None, unscaler: Unscaler) -> Tensor:
        """Return the direction [n] of this step from the gradients that are there."""
        gradient = self._gradient(self.flat.first, self.flat.weights)
        self.gradient_norm = norm_of(gradient)
        if self._watches_norms:
            self._norms.append(self.gradient_norm)
        if not self.in_force:
            return gradient
        gradient_at = partial(self._gradient_at, closure, unscaler)
        return self.direction(self.flat.weights, gradient, gradient_at)

    def of_radius(
        self, name: str, vector: Tensor, norm: Tensor | None = None, out: Tensor | None = None
    ) -> Tensor:
        """Return `of_length` of `vector` [n], the length being the rule's parameter `name`.

        The part of a group that sets its own is scaled by that instead.
        """
        length = getattr(self, name)
        if all(name not in part.settings for part in self.flat.parts):
            return of_length(length, vector, norm, out)
        unit = of_length(1, vector, norm, out)
        for part in self.flat.parts:
            unit[part.where] *= part.settings.get(name, length)
        return unit

    def end_epoch(
        self, *, train_loss: float, validation_loss: float, validation_accuracy: float
    ) -> None:
        """Tell a timed method how the epoch went; it may perturb from the next one on."""
        self._ended_at = self.gradient_evaluations
        norms, self._norms = self._norms, []
        if self.trigger is None or self.trigger_epoch is not None:
            return
        values = torch.stack(norms).tolist() if norms else []
        if self.trigger.observe(
            Epoch(self.epoch, train_loss, validation_loss, validation_accuracy, values)
        ):
            self.trigger_epoch = self.epoch

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose learning rate is annealed from what it is given now.

        PerturbError where it sets a value out of range, an option that the base does not have or a
        parameter of the rule that is one for all, or has a parameter that is not dense.
        """
        if isinstance(param_group, Mapping):  # else PyTorch says what it must be
            bases.check_belongs(self.base, param_group)
            bases.check(self.base, {**self.defaults, **param_group})
            checks.group(self.method, param_group)
        _plain(torch.optim.Optimizer.add_param_group)(self, param_group)
        group = self.param_groups[-1]
        for tensor in group["params"]:
            if tensor.layout is not torch.strided:
                self.param_groups.pop()
                raise PerturbError(
                    f"optimiser: a parameter of shape {list(tensor.shape)} is {tensor.layout}; "
                    "parameters must be dense (their gradients may be sparse). Use .to_dense()."
                )
        group.setdefault("peak_lr", group["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return what the base, the schedule, the timing and the rule remember, and the groups.

        In `state` there are tensors only. Raises PerturbError where steps set or changed an
        attribute of the rule that would not come back with it.
        """
        refuse_forgotten(self, self._at_first, PerturbedOptimizer)
        extra = self._of_remembered() | self._kind()
        extra["norms"] = [norm.item() for norm in self._norms]
        extra["history"] = copy.deepcopy(self.trigger.history) if self.trigger else None
        return _plain(torch.optim.Optimizer.state_dict)(self) | {"perturb": extra}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        PerturbError, and nothing changed, where that was of another optimiser, base, rule or
        timing, or of other parameters.
        """
        checkpoints.refuse_foreign(self, state_dict, self._kind(), self._base.VECTORS)
        extra = {k: v for k, v in state_dict["perturb"].items() if k not in self._kind()}
        rest = {key: value for key, value in state_dict.items() if key != "perturb"}
        _plain(torch.optim.Optimizer.load_state_dict)(self, rest)
        checkpoints.restore_formats(self, rest)
        for group in self.param_groups:  # a state may be older than an option
            group |= {k: v for k, v in self.defaults.items() if k not in group}
            group.setdefault("peak_lr", group.get("initial_lr", group["lr"]))
        norms, history = extra.pop("norms"), extra.pop("history")
        like = self.param_groups[0]["params"][0]
        dtype = like.dtype.to_real()
        self._norms = [torch.tensor(norm, dtype=dtype, device=like.device) for norm in norms]
        if self.trigger:
            self.trigger.history = copy.deepcopy(history)
        for name, value in extra.items():
            setattr(self, name, _copied(value, like.device))
        self._told_epoch = True  # as the state was; set_epoch follows
        self._flatten_used()
        self._annealed = []
        self._ended_at = self.gradient_evaluations
        self.set_epoch(self.epoch)

    def __getstate__(self) -> dict[str, Any]:
        """Return what `copy.deepcopy` and `pickle` take along; hooks stay behind, as in PyTorch."""
        return {name: value for name, value in vars(self).items() if name not in NOT_COPIED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on from what `__getstate__` returned: the copy's steps are the original's."""
        super().__setstate__(state)
        self.defaults.pop("differentiable", None)  # PyTorch's, which no base of ours has
        if "method" not in state:  # PyTorch's load_state_dict comes by here
            return
        self._base = _base_module(self.base)
        self._surroundings = Surroundings(batch_norm_moves=self.bn_second_pass)
        if self._model is not None:
            self._surroundings.modules = list(self._model.modules())
        self.flat, self._at_first = None, None
        self._flatten_used()

    def _flatten_used(self) -> None:
        """Put all that has been stepped into one vector at once, as before a copy was made.

        Where in memory the weights lie may move a last bit.
        """
        used = [p for g in self.param_groups for p in g["params"] if self.state.get(p)]
        self.flat = self._flattened(used) if used else None

    def _kind(self) -> dict[str, Any]:
        """Return what a state must agree in to be this optimiser's."""
        timing = self.method.timing
        kind = timing.kind if timing else None
        return {"base": self.base, "rule": self.method.rule, "timing": kind}

    def _devices(self) -> set[torch.device]:
        return {tensor.device for group in self.param_groups for tensor in group["params"]}

    @property
    def _watches_norms(self) -> bool:
        """Whether the timing rule still needs each batch's gradient norm."""
        timing = self.method.timing
        return timing is not None and timing.kind == "var" and self.trigger_epoch is None

    def _remembered(self) -> tuple[str, ...]:
        """Names of the attributes, numbers and tensors, that a rule needs to go on."""
        return ("epoch", "trigger_epoch", "gradient_evaluations")

    def _of_remembered(self) -> dict[str, Any]:
        return {name: _copied(getattr(self, name)) for name in self._remembered()}

    def _flattened(self, tensors: list[Tensor]) -> FlatWeights:
        if self._at_first is None:  # the first step is about to be made
            if stays := "" if self._told_epoch else checks.without_epochs(self.method):
                warnings.warn(
                    "a step is taken before set_epoch(epoch) was called: call it as each epoch "
                    f"begins, or {stays}.",
                    stacklevel=4,
                )
            own = of_rule(self, PerturbedOptimizer)
            self._at_first = {name: snapshot(value) for name, value in own.items()}
        if self.flat is not None and self.flat.gradients is not None:
            self.flat.gradients.release()
        kept = self._base.VECTORS, self._base.COUNTERS
        lean = ("two" if self.perturbs else "one") if self.lean else ""
        return FlatWeights.of(tensors, self.param_groups, self.state, *kept, lean=lean)

    def _evaluate(self, closure: Closure | None) -> Any:
        self.gradient_evaluations += 1
        if closure is None:
            return None
        with torch.enable_grad():
            loss = closure()
        return loss.detach() if isinstance(loss, Tensor) else loss

    def _gradient_at(
        self,
        closure: Closure,
        unscaler: Unscaler,
        perturbation: Tensor,
        length: float | None = None,
    ) -> Tensor:
        norm = norm_of(perturbation)
        factor = 1.0 if length is None else factor_to(length, norm)
        self.perturbation_norm = norm * factor
        for tensor in self.flat.tensors:
            tensor.grad = None  # of the first pass, for a closure that does not zero it
        self.flat.expect(self.flat.second)
        with self.flat.moved_by(perturbation, factor) as moved, self._surroundings.again():
            self._evaluate(closure)
            unscaler.unscale()
            return self._gradient(self.flat.second, moved)

    def _gradient(self, buffer: Tensor, weights: Tensor) -> Tensor:
        """Return the gradient [n] of the passes just made, at `weights` [n], and of every term."""
        gradient = self.flat.gradient(buffer)
        for term in self.terms:
            term.add(gradient, weights)
        return gradient


def _base_module(base: str) -> Base:
    return cast(Base, import_module(f"perturb.optim.bases.{base}"))


def _copied(value: Any, device: torch.device | None = None) -> Any:
    """Return a tensor's copy, on `device` where one is given; any other value as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().to(device or value.device, copy=True)


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return it without its decorator, which imports torch's compiler: 1.5 s of no use here."""
    return inspect.unwrap(method)
