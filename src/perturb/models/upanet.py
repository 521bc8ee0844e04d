"""UPANets: a CNN with channel and spatial pixel attention (Tseng et al. 2021, arXiv 2103.08640)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def layer_norm(inputs: Tensor) -> Tensor:
    """Normalise each sample over all its axes but the first, without affine parameters."""
    return F.layer_norm(inputs, inputs.shape[1:])


def pixelwise_linear(in_channels: int, channels: int) -> nn.Sequential:
    """Return BN(W x): a Linear over the channels at every pixel (a 1x1 convolution), normalised."""
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1), nn.BatchNorm2d(channels))


def convolution_path(in_channels: int, channels: int) -> nn.Sequential:
    """Return two 3x3 convolutions, in_channels -> 2 channels -> channels, each with BN and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 2 * channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(2 * channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class Block(nn.Module):
    """CPA(x, y) with y the convolution path of x: channel pixel attention.

    LN(y + BN(W1 x)), plus BN(W2 x) where `shortcut`, then an average pool where `stride` is 2.
    Maps [B, in_channels, H, W] to [B, channels, H/stride, W/stride].
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, shortcut: bool = False
    ) -> None:
        super().__init__()
        self.stride = stride
        self.convolutions = convolution_path(in_channels, channels)
        self.attention = pixelwise_linear(in_channels, channels)
        self.shortcut = pixelwise_linear(in_channels, channels) if shortcut else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output for inputs [B, in_channels, H, W]."""
        outputs = layer_norm(self.convolutions(inputs) + self.attention(inputs))
        if self.shortcut is not None:
            outputs = outputs + self.shortcut(inputs)
        return F.avg_pool2d(outputs, self.stride) if self.stride > 1 else outputs


class Stage(nn.Module):
    """One block of the stage's width c, then four of c/4 whose outputs join their inputs.

    Maps [B, in_channels, H, W] to [B, 2 channels, H/stride, W/stride].
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = Block(in_channels, channels, stride, shortcut=True)
        growth = channels // 4
        self.dense = nn.ModuleList(Block(channels + i * growth, growth) for i in range(4))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the stage's output for inputs [B, in_channels, H, W]."""
        outputs = self.first(inputs)
        for block in self.dense:
            outputs = torch.cat([outputs, block(outputs)], dim=1)
        return outputs


class SpatialPixelAttention(nn.Linear):
    """LN(global average pool + SPA): a Linear H*W -> 1 shared by the channels, [B,C,H,W] -> [B,C].

    The average is a Linear too, of weights 1/(H*W), so that both are one product.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__(image_size**2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return one number per channel, normalised over the channels."""
        weight = self.weight + 1 / self.in_features
        return layer_norm(F.linear(inputs.flatten(2), weight, self.bias).squeeze(2))


class UPANet(nn.Module):
    """UPANets of `filters` filters, four stages wide 1, 2, 4 and 8 times that.

    `image_size` is the height and width of the input; the last stage sees an eighth of it.
    """

    def __init__(self, num_classes: int, image_size: int, channels: int, filters: int = 16) -> None:
        super().__init__()
        self.embedding = Block(channels, filters, shortcut=True)
        widths = [filters, 2 * filters, 4 * filters, 8 * filters]
        inputs = [filters, *(2 * width for width in widths[:-1])]
        self.stages = nn.ModuleList(
            Stage(inputs[i], widths[i], stride=1 if i == 0 else 2) for i in range(4)
        )
        self.attention = nn.ModuleList(
            SpatialPixelAttention(image_size // reduction) for reduction in (1, 1, 2, 4, 8)
        )
        features = filters + sum(2 * width for width in widths)
        self.norm = nn.BatchNorm1d(features)
        self.head = nn.Linear(features, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, num_classes] for inputs [B, channels, image_size, image_size]."""
        outputs = self.embedding(inputs)
        vectors = [self.attention[0](outputs)]
        for stage, attention in zip(self.stages, self.attention[1:], strict=True):
            outputs = stage(outputs)
            vectors.append(attention(outputs))
        return self.head(self.norm(torch.cat(vectors[::-1], dim=1)))


def upanet16(num_classes: int, image_size: int, channels: int) -> UPANet:
    """Return UPANets(16), one block per stage: the model of the study's notebook."""
    return UPANet(num_classes, image_size, channels, filters=16)
