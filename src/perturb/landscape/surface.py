"""The loss at any point theta* + alpha d1 + beta d2 of weight space, fast."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturb.files import sha256_json
from perturb.landscape import identity
from perturb.landscape.batches import Batch, LossFunction, examples, loss_of, tensors_in
from perturb.optim.batch_norm import is_batch_norm
from perturb.optim.buffers import Buffers

BATCH_NORM = ("stored", "reestimated")
# What a core's cache holds of one layer's output; measured on a CNN for 8x8 digits and resnet18.
_CACHE_BYTES = {"cpu": 8 * 2**20, "cuda": 2**30}
# Outputs of the first layers are kept for the whole plane up to here.
_KEPT_BYTES = 2**28


def batch_size(model: nn.Module, example: Any) -> int:
    """Return how many images a batch should have, so that a layer's output stays in the cache.

    `example` [1, C, S, S] is one image. Depends on the model and on the kind of device only.
    """
    first = next(tensors_in(example))
    largest = sum(tensor.numel() for tensor in tensors_in(example))

    def note(_module: nn.Module, _inputs: tuple, output: Any) -> None:
        nonlocal largest
        largest = max(largest, *(tensor.numel() for tensor in tensors_in(output)), 0)

    with ExitStack() as hooks, torch.inference_mode(), evaluating(model):
        for module in model.modules():
            hooks.callback(module.register_forward_hook(note).remove)
        model(example)
    room = _CACHE_BYTES.get(first.device.type, _CACHE_BYTES["cuda"])
    return max(1, room // (largest * first.element_size()))


def mean_loss(
    model: nn.Module, batches: Sequence[Batch], loss_function: LossFunction = cross_entropy
) -> tuple[float, float]:
    """Return loss and accuracy of `model` as it stands, over all images of `batches`.

    `loss_function` maps outputs and targets to their mean loss (`perturb.landscape.batches`).
    Accuracy is NaN where outputs are not class scores [B, classes] with targets [B].
    """
    with torch.inference_mode(), evaluating(model):
        loss, accuracy = _evaluate(model, batches, loss_function).tolist()
    return loss, accuracy


def _evaluate(model: nn.Module, batches: Sequence[Batch], loss_function: LossFunction) -> Tensor:
    """Return loss and accuracy as one float64 tensor [2], left on the device."""
    total: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    count = 0
    for inputs, targets in batches:
        number = examples((inputs, targets))
        loss, outputs = loss_of(model(inputs), targets, loss_function)
        total = total + loss.double() * number
        if _are_scores(outputs, targets):
            correct = correct + (outputs.argmax(1) == targets).sum().double()
        else:
            correct = torch.full((), torch.nan, dtype=torch.float64, device=loss.device)
        count += number
    return torch.stack([total, correct]) / count


def _are_scores(outputs: Any, targets: Any) -> bool:
    return (
        isinstance(outputs, Tensor)
        and isinstance(targets, Tensor)
        and outputs.dim() == 2
        and targets.dim() == 1
        and not targets.is_floating_point()
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode in this block; modes and buffers are back afterwards.

    Some layers move their buffers in evaluation mode too.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = buffers_of(model)
    try:
        model.eval()
        yield
    finally:
        for of_module in buffers:
            of_module.rewind_changed()
        for module, training in modes:
            module.training = training


def buffers_of(model: nn.Module) -> list[Buffers]:
    """Return the buffers as they are now, of every module that may move them in evaluation mode."""
    modules = [module for module in model.modules() if not is_batch_norm(module)]
    return [Buffers.of(module) for module in modules if module._buffers]


@dataclass(frozen=True)
class _Linear:
    """A tensor that is linear in alpha and beta: at the centre, along either direction, and room.

    `line` is where it is at (0, beta), so that a row of points costs one sum each; `point` at
    (alpha, beta).
    """

    centre: Tensor
    first: Tensor
    second: Tensor
    line: Tensor
    point: Tensor


class Surface:
    """Loss and accuracy of a model over fixed images at theta* + alpha d1 + beta d2.

    theta* are the weights that `model` has. `first` and `second` are the directions, tensors by
    parameter name; parameters in neither stay as they are. `batches` are (inputs, targets) on the
    model's device, inputs whatever it takes as its one argument; `loss_function` is given what it
    returns (`perturb.landscape.batches`). `batch_norm` "reestimated" takes batch-norm's statistics
    anew at each point, from the same images, as a mean over batches. `precision` bfloat16 runs the
    network in it; the weights move in their own precision, losses are float32, their sums float64.
    Use as a context manager: it gives the model its weights, buffers and modes back, to the bit,
    also where it fails.

    `workers` rows are computed at a time, each by a thread with a copy of the model. On a CPU that
    is faster for a small net than threads within an operation: `torch.set_num_threads(1)` and a
    worker a core. The number of workers changes no bit of a value.

    The layers that read the inputs themselves are linear in alpha and beta, where they are plain
    convolutions and Linears (`first_layers`). Where their outputs are small enough to keep, those
    of theta*, d1 and d2 are computed once and added at each point, with the batch-norm that
    follows, where that does not move.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        first: Mapping[str, Tensor],
        second: Mapping[str, Tensor],
        *,
        loss_function: LossFunction = cross_entropy,
        batch_norm: str = "stored",
        precision: torch.dtype = torch.float32,
        workers: int = 1,
    ) -> None:
        if batch_norm not in BATCH_NORM:
            raise ValueError(f"batch_norm must be one of {BATCH_NORM}, not {batch_norm!r}")
        parameters = dict(model.named_parameters())
        unknown = sorted({*first, *second} - set(parameters))
        if unknown:
            raise ValueError(f"no such parameter: {', '.join(unknown)}")
        self.model = model
        self.batches = batches
        self.loss_function = loss_function
        moved = [
            name
            for name in parameters
            if any(name in d and bool(d[name].any()) for d in (first, second))
        ]
        self._moved = moved
        self._weights = [parameters[name].data for name in moved]
        self._directions = [
            [
                d[name].to(parameters[name]) if name in d else torch.zeros_like(parameters[name])
                for name in moved
            ]
            for d in (first, second)
        ]
        self._norms = [
            module
            for module in model.modules()
            if batch_norm == "reestimated" and isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        self.batch_norm, self.precision = batch_norm, precision
        options = {
            "loss_function": loss_function,
            "batch_norm": batch_norm,
            "precision": precision,
        }
        self._others = [
            Surface(copy.deepcopy(model), batches, first, second, **options)
            for _ in range(workers - 1)
        ]
        self._open = ExitStack()
        self._parts: list[_Linear] = []

    def sha256(self) -> str:
        """Return one hash over what the surface is of, the same wherever it was evaluated last.

        That is the network, theta* and all that stays as it is, the directions, the images, the
        loss function, what becomes of batch-norm, and the precision.
        """
        anew = {id(buffer) for norm in self._norms for buffer in norm.buffers()}
        model = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        fixed = {name: tensor for name, tensor in model.items() if id(tensor) not in anew}
        # Parts beyond the weights are outputs of first layers.
        centres = [part.centre for part in self._parts] or self._weights
        at_centre = dict(zip(self._moved, centres, strict=False))
        directions = {
            f"{number}/{name}": tensor
            for number, direction in enumerate(self._directions)
            for name, tensor in zip(self._moved, direction, strict=True)
        }
        batches = {
            f"{number}/{place}": tensor
            for number, batch in enumerate(self.batches)
            for place, tensor in enumerate(tensors_in(batch))
        }
        return sha256_json(
            {
                "network": identity.of_network(self.model),
                "weights": identity.of_tensors(fixed | at_centre),
                "directions": identity.of_tensors(directions),
                "batches": identity.of_tensors(batches),
                "loss_function": identity.of_function(self.loss_function),
                "batch_norm": self.batch_norm,
                "precision": str(self.precision),
            }
        )

    def __enter__(self) -> Surface:
        try:
            return self._enter()
        except BaseException:
            self._open.close()
            raise

    def _enter(self) -> Surface:
        for other in self._others:
            self._open.enter_context(other)
        self._open.enter_context(self._modes())
        self._open.enter_context(evaluating(self.model))
        anew = {id(norm) for norm in self._norms}
        self._buffers = [b for b in buffers_of(self.model) if id(b.module) not in anew]
        self._parts = [
            _Linear(w.clone(), *directions, torch.empty_like(w), w)
            for w, *directions in zip(self._weights, *self._directions, strict=True)
        ]
        self._beta: float | None = None
        self._open.callback(self._restore, [(m, dict(m._buffers), m.momentum) for m in self._norms])
        for norm in self._norms:
            norm._buffers.update({k: b.clone() for k, b in norm._buffers.items() if b is not None})
            norm.momentum = None  # a plain mean over the batches
        if not self._norms:
            self._keep_first_layers()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @contextmanager
    def _modes(self) -> Iterator[None]:
        """Have this thread compute without gradients, in the surface's precision."""
        with torch.inference_mode(), ExitStack() as lower:
            if self.precision != torch.float32:
                device = next(tensors_in(self.batches[0][0])).device.type
                lower.enter_context(
                    torch.autocast(device, dtype=self.precision, cache_enabled=False)
                )
            yield

    def rows(self, alphas: Sequence[float], betas: Sequence[float]) -> Iterator[Tensor]:
        """Yield `row(alphas, beta)` for each beta, in their order."""
        if not self._others:
            yield from (self.row(alphas, beta) for beta in betas)
            return
        free: SimpleQueue[Surface] = SimpleQueue()
        for surface in (self, *self._others):
            free.put(surface)

        def work(beta: float) -> Tensor:
            surface = free.get()
            try:
                with surface._modes():
                    return surface.row(alphas, beta)
            finally:
                free.put(surface)

        # What has not begun when the caller stops is not computed.
        with (
            ThreadPoolExecutor(1 + len(self._others)) as pool,
            closing(pool.map(work, betas)) as found,
        ):
            yield from found

    def row(self, alphas: Sequence[float], beta: float) -> Tensor:
        """Return loss and accuracy [points, 2] at each alpha, float64 on the CPU."""
        return torch.stack([self._at(alpha, beta) for alpha in alphas]).cpu()

    def at(self, alpha: float, beta: float) -> tuple[float, float]:
        """Return loss and accuracy at one point."""
        loss, accuracy = self._at(alpha, beta).tolist()
        return loss, accuracy

    def _at(self, alpha: float, beta: float) -> Tensor:
        for part in self._parts:
            if beta != self._beta:
                torch.add(part.centre, part.second, alpha=beta, out=part.line)
            torch.add(part.line, part.first, alpha=alpha, out=part.point)
        self._beta = beta
        for buffers in self._buffers:
            buffers.rewind_changed()  # no point depends on those before it
        if self._norms:
            self._estimate_statistics()
        return _evaluate(self.model, self._counted(), self.loss_function)

    def _counted(self) -> Iterator[Batch]:
        for number, batch in enumerate(self.batches):
            self._number = number
            yield batch

    def _estimate_statistics(self) -> None:
        for norm in self._norms:
            norm.reset_running_stats()
            norm.training = True
        try:
            for inputs, _ in self.batches:
                self.model(inputs)
        finally:
            for norm in self._norms:
                norm.training = False

    def _restore(self, norms: list[tuple[nn.Module, dict, float | None]]) -> None:
        for weights, part in zip(self._weights, self._parts, strict=False):
            weights.copy_(part.centre)
        for norm, buffers, momentum in norms:
            norm._buffers.update(buffers)
            norm.momentum = momentum

    def _keep_first_layers(self) -> None:
        """Make the first layers add what they say of theta*, d1 and d2 at every point."""
        if not all(isinstance(inputs, Tensor) for inputs, _ in self.batches):
            return
        images = sum(len(inputs) for inputs, _ in self.batches)
        for layer, (size, norm) in first_layers(self.model, self.batches[0][0][:1]).items():
            if 5 * images * size > _KEPT_BYTES:
                continue
            kept = [self._outputs(layer, inputs) for inputs, _ in self.batches]
            if norm is not None and not self._moves(norm):  # then it is linear in them too
                gain = _gain(norm).view(-1, *[1] * (kept[0][0].dim() - 2))
                kept = [[norm(centre), *(gain * d for d in both)] for centre, *both in kept]
                self._replace(norm, lambda inputs: inputs)
            parts = [
                _Linear(*three, torch.empty_like(three[0]), torch.empty_like(three[0]))
                for three in kept
            ]
            self._parts += parts
            self._replace(layer, lambda _inputs, parts=parts: parts[self._number].point)

    def _moves(self, module: nn.Module) -> bool:
        own = {parameter.data_ptr() for parameter in module.parameters()}
        return any(weights.data_ptr() in own for weights in self._weights)

    def _replace(self, layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
        layer.forward = forward
        self._open.callback(layer.__dict__.pop, "forward")

    def _outputs(self, layer: nn.Module, inputs: Tensor) -> list[Tensor]:
        """Return what `layer` makes of the inputs with the weights theta*, d1 and d2."""
        found = [layer(inputs)]
        own = [parameter.data for parameter in layer.parameters()]
        places = {w.data_ptr(): place for place, w in enumerate(self._weights)}
        before = [w.clone() for w in own]
        try:
            for direction in self._directions:
                for w in own:
                    place = places.get(w.data_ptr())
                    w.zero_() if place is None else w.copy_(direction[place])
                found.append(layer(inputs))
        finally:
            torch._foreach_copy_(own, before)
        return found


# A subclass, a parametrisation (weight norm) or a hook may make anything of their weights.
_LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def first_layers(
    model: nn.Module, example: Tensor
) -> dict[nn.Module, tuple[int, nn.Module | None]]:
    """Return the plain convolutions and Linears that read `example` [1, ...] itself, once.

    Each with the bytes of its output for one image, and with the batch-norm that alone reads that
    output, if there is one: the next in an `nn.Sequential`.
    """
    calls: dict[nn.Module, list[tuple[Any, Any]]] = {}

    def note(module: nn.Module, inputs: tuple, output: Any) -> None:
        given = inputs[0] if len(inputs) == 1 else None
        calls.setdefault(module, []).append((given, output))

    plain = {module for module in model.modules() if _is_plain(module, (*_LINEAR, *_NORMS))}
    sequences = [module for module in model.modules() if type(module) is nn.Sequential]
    with ExitStack() as hooks, torch.inference_mode(), evaluating(model):
        for module in (*plain, *sequences):
            hooks.callback(module.register_forward_hook(note).remove)
        model(example)
    once = {module: passed[0] for module, passed in calls.items() if len(passed) == 1}
    following = {
        member: norm
        for sequence in sequences
        if sequence in once
        for member, norm in pairwise(sequence)
        if norm in once and isinstance(norm, _NORMS) and norm.track_running_stats
    }
    return {
        layer: (output.numel() * output.element_size(), following.get(layer))
        for layer, (given, output) in once.items()
        if isinstance(layer, _LINEAR) and given is example
    }


def _is_plain(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module is of these types exactly, and nothing else runs when it is called."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return type(module) in kinds and not any(hooks) and "forward" not in vars(module)


def _gain(norm: nn.Module) -> Tensor:
    """Return what a batch-norm in evaluation mode multiplies each channel by."""
    gain = torch.rsqrt(norm.running_var + norm.eps)
    return gain if norm.weight is None else gain * norm.weight
