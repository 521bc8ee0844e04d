"""Thin ResNet-18 of binary convolutions (XNOR-Net with Bi-Real Net's shortcuts).

Rastegari et al. 2016; Liu et al. 2018. Sixteen units, a convolution and a shortcut each.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perturb.models.binary import clip, sign, straight_through_sign

ACTIVATION_CLIP = 1.3


class BinaryConvolution(nn.Module):
    """3x3 convolution of latent weights [out, in, 3, 3] that are clamped to [-1, 1].

    With `binary` a weight counts as its sign times the mean abs(W) of its output channel.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, binary: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.stride = stride
        self.binary = binary

    def effective_weight(self) -> Tensor:
        """Return the weights [out, in, 3, 3] that the convolution is computed with."""
        weight = self.weight.clamp(-1, 1)
        if not self.binary:
            return weight
        scale = weight.abs().mean(dim=(1, 2, 3), keepdim=True)
        return scale * straight_through_sign(weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [B, out, H / stride, W / stride] for inputs [B, in, H, W]."""
        return F.conv2d(inputs, self.effective_weight(), stride=self.stride, padding=1)


class ShiftedConvolutions(nn.Module):
    """Doubles the channels at half the size: two convolutions, one on inputs shifted by a pixel."""

    def __init__(self, channels: int, binary: bool) -> None:
        super().__init__()
        self.first = BinaryConvolution(channels, channels, 2, binary)
        self.second = BinaryConvolution(channels, channels, 2, binary)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [B, 2 channels, H / 2, W / 2] for inputs [B, channels, H, W]."""
        shifted = F.pad(inputs, (-1, 1, -1, 1))
        return torch.cat([self.first(inputs), self.second(shifted)], dim=1)


class Unit(nn.Module):
    """ReLU(conv(sign(BN(x)))) + x, or + a full-precision 1x1 convolution of x at a new shape."""

    def __init__(self, in_channels: int, channels: int, binary: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.shortcut: nn.Module = nn.Identity()
        self.convolution: nn.Module = BinaryConvolution(in_channels, channels, 1, binary)
        if channels != in_channels:
            self.convolution = ShiftedConvolutions(in_channels, binary)
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=2, bias=False)

    def activations(self, inputs: Tensor) -> Tensor:
        """Return the binary inputs of the convolution, [B, in_channels, H, W] of 1 and -1."""
        normalised = self.norm(inputs)
        if not torch.is_grad_enabled():
            return sign(normalised)
        return straight_through_sign(normalised, partial(clip, bound=ACTIVATION_CLIP))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the unit's output for inputs [B, in_channels, H, W]."""
        return F.relu(self.convolution(self.activations(inputs))) + self.shortcut(inputs)


class XNORResNet18(nn.Module):
    """Full-precision stem, sixteen units at 1, 2, 4 and 8 times `width` channels, norm and head."""

    def __init__(self, num_classes: int, channels: int, width: int, binary: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        widths = [width * 2**stage for stage in range(4) for _ in range(4)]
        self.units = nn.ModuleList(
            Unit(before, after, binary)
            for before, after in zip([width, *widths[:-1]], widths, strict=True)
        )
        # As in every network of pre-activation units (He et al. 2016): without it the sixteen sums
        # reach the head as large as they are, and learning rates from 0.05 diverge.
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], num_classes)

    def finish(self, features: Tensor) -> Tensor:
        """Return logits [B, num_classes] for the last unit's output [B, 8 width, H, W]."""
        return self.head(self.norm(features).mean(dim=(2, 3)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, num_classes] for inputs [B, channels, H, W]."""
        features = self.stem(inputs)
        for unit in self.units:
            features = unit(features)
        return self.finish(features)


def _build(
    num_classes: int, image_size: int, channels: int, *, width: int, binary: bool
) -> XNORResNet18:
    return XNORResNet18(num_classes, channels, width, binary)


xnor_resnet18_8 = partial(_build, width=8, binary=True)
xnor_resnet18_16 = partial(_build, width=16, binary=True)
real_xnor_resnet18_8 = partial(_build, width=8, binary=False)
real_xnor_resnet18_16 = partial(_build, width=16, binary=False)
