"""Coordinate gradients of single layers of a trained XNOR-ResNet, against straight-through ones.

A weight of a convolution touches one output channel. What comes before the layer is computed once,
the touched channel from what it was, and only the units after the layer are run for each weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.gradients.kept import Kept
from perturb.gradients.steps import learning_rates
from perturb.models.binary import sign
from perturb.models.xnor_resnet import BinaryConvolution, XNORResNet18

# Activations of the layer in flight: what stays in a core's cache, found by measuring; on a GPU a
# guess.
_AT_ONCE = {"cpu": 2**20, "cuda": 2**27}


@dataclass(frozen=True)
class Layer:
    """Unit `number` (from 1) of a network in evaluation mode, on images [B, C, H, W] and labels."""

    network: XNORResNet18
    number: int
    images: Tensor
    labels: Tensor

    @property
    def convolution(self) -> BinaryConvolution:
        """The unit's convolution, which has one weight tensor."""
        return self.network.units[self.number - 1].convolution

    @torch.inference_mode()
    def coordinate(self, eps: float) -> Tensor:
        """Return [L(w + eps) - L(w - eps)] / (2 eps) of every weight, [out, in, 3, 3]."""
        prefix = _Prefix.of(self)
        weight = self.convolution.weight
        parts = [
            self._losses(prefix, chosen, eps) - self._losses(prefix, chosen, -eps)
            for chosen in prefix.some_at_once(weight.numel())
        ]
        return (torch.cat(parts) / (2 * eps)).view_as(weight).to(weight)

    @torch.inference_mode()
    def sign_difference(self) -> Tensor:
        """Return [L(sign 1) - L(sign -1)] / 2 of every weight of a binary layer, [out, in, 3, 3].

        The difference by the weight's sign is what the straight-through gradient stands for. One by
        the weight would be divided by its size, and of the few next to zero alone.
        """
        prefix, before = _Prefix.of(self), self.loss()
        weight = self.convolution.weight
        parts = [
            self._losses(prefix, chosen, -2 * weight.flatten()[chosen]) - before
            for chosen in prefix.some_at_once(weight.numel())
        ]
        return (torch.cat(parts).view_as(weight) / (-2 * sign(weight))).to(weight)

    def loss(self) -> float:
        """Return the network's mean cross-entropy."""
        with torch.inference_mode():
            logits = self.network(self.images).double()
            return F.cross_entropy(logits, self.labels).item()

    def straight_through(self) -> Tensor:
        """Return the gradient that training follows, [out, in, 3, 3]."""
        loss = F.cross_entropy(self.network(self.images), self.labels)
        return torch.autograd.grad(loss, self.convolution.weight)[0]

    @torch.no_grad()
    def decreases(self, gradient: Tensor, rates: Sequence[float]) -> list[float]:
        """Return L(w) - L(w - eta g / norm(g)) for each learning rate eta."""
        weight = self.convolution.weight
        kept, before, found = weight.clone(), self.loss(), []
        direction = F.normalize(gradient.flatten(), dim=0).view_as(weight)
        for rate in rates:
            weight.copy_(kept - rate * direction)
            found.append(before - self.loss())
        weight.copy_(kept)
        return found

    def _losses(self, prefix: _Prefix, chosen: Tensor, change: float | Tensor) -> Tensor:
        """Return the loss [P] with each of the chosen weights, by flat index [P], changed."""
        channels = prefix.channels(self.convolution, chosen, change)  # [P, B, H, W]
        out = chosen // self.convolution.weight[0].numel()
        features = prefix.features.repeat(len(chosen), 1, 1, 1, 1)
        index = torch.arange(len(chosen), device=chosen.device)
        shortcut = prefix.shortcut[:, out].transpose(0, 1)
        features[index, :, out] = F.relu(channels) + shortcut
        features = features.flatten(0, 1)
        if features.device.type == "cpu":
            # Convolutions of so few channels are up to 1.35 times as fast.
            features = features.contiguous(memory_format=torch.channels_last)
        for unit in self.network.units[self.number :]:
            features = unit(features)
        logits = self.network.finish(features).double()
        labels = self.labels.repeat(len(chosen))
        losses = F.cross_entropy(logits, labels, reduction="none")
        return losses.view(len(chosen), -1).mean(dim=1)


@dataclass(frozen=True)
class _Prefix:
    """What does not depend on the weight that moves.

    `windows` are the binary inputs that each of the nine positions of a filter sees,
    [in, 9, B, H, W]; `before` the convolution's output, `features` the unit's, [B, out, H, W].
    """

    windows: Tensor
    before: Tensor
    shortcut: Tensor
    features: Tensor

    @classmethod
    def of(cls, layer: Layer) -> _Prefix:
        inputs = layer.network.stem(layer.images)
        for unit in layer.network.units[: layer.number - 1]:
            inputs = unit(inputs)
        unit = layer.network.units[layer.number - 1]
        activations = unit.activations(inputs)
        before, shortcut = unit.convolution(activations), unit.shortcut(inputs)
        batch, channels, height, width = activations.shape
        windows = F.unfold(activations, 3, padding=1).view(batch, channels, 9, height, width)
        windows = windows.permute(1, 2, 0, 3, 4).contiguous()
        return cls(windows, before, shortcut, F.relu(before) + shortcut)

    def some_at_once(self, count: int) -> Sequence[Tensor]:
        """Return the flat indices of `count` weights, as many at a time as are fast."""
        step = max(1, _AT_ONCE[self.features.device.type] // self.features.numel())
        return torch.arange(count, device=self.features.device).split(step)

    def channels(
        self, convolution: BinaryConvolution, chosen: Tensor, change: float | Tensor
    ) -> Tensor:
        """Return the touched output channel [P, B, H, W] of the convolution for each weight."""
        weight = convolution.weight.clamp(-1, 1).flatten()
        size = convolution.weight[0].numel()
        out, within = chosen // size, chosen % size
        old, new = weight[chosen], (convolution.weight.flatten()[chosen] + change).clamp(-1, 1)
        ratio, moved = torch.ones_like(old), new - old
        if convolution.binary:
            scale = weight.view(-1, size).abs().mean(dim=1)[out]
            scaled = scale + (new.abs() - old.abs()) / size
            ratio, moved = scaled / scale, scaled * (sign(new) - sign(old))
        seen = self.windows[within // 9, within % 9]
        before = self.before[:, out].transpose(0, 1)
        return ratio.view(-1, 1, 1, 1) * before + moved.view(-1, 1, 1, 1) * seen


def measure(
    network: XNORResNet18,
    numbers: Sequence[int],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    windows: Sequence[float],
    rates_a_decade: int,
    kept: Kept,
) -> pd.DataFrame:
    """Return one row per layer, estimator, window and learning rate.

    Gradients are estimated on `train` (images, labels), steps measured on `test`; `cosine` is that
    of the estimate and the straight-through gradient, `reliability` of the halves of `train`.
    """
    network.eval()
    rates, rows = learning_rates(rates_a_decade), []
    middle = len(train[1]) // 2
    for number in numbers:
        whole, held_out = Layer(network, number, *train), Layer(network, number, *test)
        halves = [
            Layer(network, number, *(part[piece] for part in train))
            for piece in (slice(middle), slice(middle, 2 * middle))
        ]
        reference = whole.straight_through()
        estimates: list[tuple[str, float, Tensor, float]] = [
            ("ste", 0.0, reference, _cosine(*(half.straight_through() for half in halves)))
        ]
        for eps in windows:
            pair = _of_halves(
                f"layer{number}_eps{eps:g}", partial(Layer.coordinate, eps=eps), halves, kept
            )
            estimates.append(("cdg", eps, (pair[0] + pair[1]) / 2, _cosine(*pair)))
        if whole.convolution.binary:
            pair = _of_halves(f"layer{number}_signs", Layer.sign_difference, halves, kept)
            estimates.append(("sign_flip", 0.0, (pair[0] + pair[1]) / 2, _cosine(*pair)))
        for estimator, eps, gradient, reliability in estimates:
            what: dict[str, Any] = {
                "layer": number,
                "weights": gradient.numel(),
                "estimator": estimator,
                "window": eps,
                "cosine": _cosine(gradient, reference),
                "reliability": reliability,
            }
            decreases = held_out.decreases(gradient, rates)
            rows += [
                what | {"learning_rate": rate, "decrease": decrease}
                for rate, decrease in zip(rates, decreases, strict=True)
            ]
    return pd.DataFrame(rows)


def _of_halves(
    name: str, estimate: Callable[[Layer], Tensor], halves: Sequence[Layer], kept: Kept
) -> list[Tensor]:
    """Return the estimate from each half of the images."""
    return [
        kept(f"{name}_half{i}", lambda half=half: {"gradient": estimate(half)})[0]["gradient"].to(
            half.images.device
        )
        for i, half in enumerate(halves, 1)
    ]


def _cosine(first: Tensor, second: Tensor) -> float:
    pair = [np.asarray(g.detach().cpu().double()).ravel() for g in (first, second)]
    norms = np.linalg.norm(pair[0]) * np.linalg.norm(pair[1])
    return float(pair[0] @ pair[1] / norms) if norms > 0 else 0.0
