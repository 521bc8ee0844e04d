"""The loss of a trained network over fixed images, as a function of its weights as one vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from perturb import functional
from perturb.errors import PerturbError
from perturb.landscape.batches import Batch, LossFunction, examples, loss_of
from perturb.landscape.surface import evaluating


@dataclass(frozen=True, eq=False)
class Objective:
    """L(w): the mean loss over all images of a model in evaluation mode, and its derivatives.

    The model is never written to: each pass runs it with views of a vector [n] in the place of its
    trainable parameters, which are laid out in the order of `model.named_parameters()`. Its
    `.grad`, its buffers and its modules' training flags are after every call what they were
    before. Everything is in the parameters' own precision and on their device; where they differ
    among themselves, the vector is in the one that holds them all.

    `batches` are (inputs, labels), of any sizes, each weighted by its own, inputs whatever the
    model takes as its one argument; `loss_function(outputs, labels)` returns a batch's mean loss
    (`perturb.landscape.batches`). One large batch is fastest as long as its activations fit in
    memory (see `hessian`).

    Raises ValueError where there is no image or no trainable parameter, PerturbError where
    parameters are complex, or the model cannot be differentiated.
    """

    model: nn.Module
    batches: Sequence[Batch]
    loss_function: LossFunction = F.cross_entropy

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("an objective needs at least one image")
        if not self._parameters():
            raise ValueError("the model has no trainable parameter")
        for name, parameter in self._parameters().items():
            if parameter.is_complex():
                raise PerturbError(
                    f"curvature: parameter '{name}' is complex. Keep it as real numbers [..., 2] "
                    "(torch.view_as_complex in the network) to look at its curvature."
                )

    @property
    def images(self) -> int:
        """Number of images in all batches."""
        return sum(map(examples, self.batches))

    @property
    def weights(self) -> Tensor:
        """A copy of the model's trainable parameters as one vector [n]."""
        return torch.cat([p.detach().reshape(-1) for p in self._parameters().values()])

    @property
    def is_weight(self) -> Tensor:
        """Which entries [n], bool, are of weights: tensors of two dimensions or more.

        The others are of biases and of normalisation's gains and offsets.
        """
        return torch.cat(
            [
                torch.full((p.numel(),), p.dim() >= 2, device=p.device)
                for p in self._parameters().values()
            ]
        )

    def loss(self, weights: Tensor | None = None) -> float:
        """Return L at `weights` [n], or at the model's own; NaN and infinities as they are."""
        weights = self.weights if weights is None else weights
        with torch.no_grad(), _evaluating(self.model):
            return sum(self._part(weights, batch).item() for batch in self.batches)

    def gradient(self, weights: Tensor | None = None) -> Tensor:
        """Return the gradient of L [n] at `weights` [n], or at the model's own."""
        return self.loss_and_gradient(weights)[1]

    def loss_and_gradient(self, weights: Tensor | None = None) -> tuple[float, Tensor]:
        """Return `loss(weights)` and `gradient(weights)` from one pass."""
        at = (self.weights if weights is None else weights).detach().requires_grad_()
        loss, gradient = 0.0, torch.zeros_like(at)
        with torch.enable_grad(), _evaluating(self.model):
            for batch in self.batches:
                part = self._part(at, batch)
                with _differentiating("differentiated"):
                    gradient += torch.autograd.grad(part, at)[0]
                loss += part.item()
        return loss, gradient

    def hessian(self) -> Callable[[Tensor], Tensor]:
        """Return v [n] -> H v [n] at the model's own weights, exact, by differentiating twice.

        A single batch's gradient is differentiated once and its graph kept for as long as the
        function lives, which saves a third of each product; several batches are passed through
        the model anew for each product, so that only one is in memory.
        """
        at = self.weights.requires_grad_()

        def gradient(batch: Batch) -> Tensor:
            with torch.enable_grad(), _evaluating(self.model):
                part = self._part(at, batch)
                with _differentiating("differentiated"):
                    return torch.autograd.grad(part, at, create_graph=True)[0]

        def times(gradient: Tensor, vector: Tensor, keep: bool) -> Tensor:
            if not gradient.requires_grad:  # it is constant: the loss is linear in the weights
                return torch.zeros_like(vector)
            with _differentiating("differentiated twice"):
                return torch.autograd.grad(gradient, at, vector, retain_graph=keep)[0]

        if len(self.batches) == 1:
            kept = gradient(self.batches[0])
            return lambda vector: times(kept, vector, True)
        return lambda vector: sum(
            (times(gradient(batch), vector, False) for batch in self.batches),
            start=torch.zeros_like(vector),
        )

    def hessian_vector_product(self, vector: Tensor) -> Tensor:
        """Return H v [n] for one `vector` [n]; for many, call what `hessian` returns."""
        return self.hessian()(vector)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _part(self, weights: Tensor, batch: Batch) -> Tensor:
        """Return what `batch` adds to L at `weights` [n]: its mean loss times its share."""
        parameters = self._parameters()
        parts = weights.split([p.numel() for p in parameters.values()])
        named = {
            name: part.view(p.shape).to(p.dtype)
            for (name, p), part in zip(parameters.items(), parts, strict=True)
        }
        inputs, labels = batch
        outputs: Any = functional.call(self.model, named, inputs)
        loss, _ = loss_of(outputs, labels, self.loss_function)
        return loss * (examples(batch) / self.images)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluate `model` in this block, attention by plain operations.

    The fused ones cannot be differentiated twice.
    """
    with evaluating(model), sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def _differentiating(how: str) -> Iterator[None]:
    """Say in one message where PyTorch has no derivative, or the model cuts the graph."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise PerturbError(
            f"curvature: this network cannot be {how} by its weights ({reason}). Its loss surface "
            "(`Surface`) needs no derivative; sharpness needs the first only."
        ) from error
