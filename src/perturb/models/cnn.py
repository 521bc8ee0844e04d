"""A small CNN for small images: two strided 3x3 convolutions with batch-norm, and a Linear."""

from __future__ import annotations

import math

from torch import nn

WIDTHS = (24, 48)


def cnn(num_classes: int, image_size: int, channels: int) -> nn.Sequential:
    """Return the CNN: [B, channels, image_size, image_size] -> logits [B, num_classes].

    Each convolution halves the image (rounded up), so the Linear sees a quarter of its height and
    width: 2x2 positions of 8x8 digits, 8x8 positions of 32x32 images.
    """
    layers: list[nn.Module] = []
    for in_channels, width in zip((channels, *WIDTHS), WIDTHS, strict=False):
        layers += [
            nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    positions = math.ceil(image_size / 2 ** len(WIDTHS)) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * positions, num_classes))
