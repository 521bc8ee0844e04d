"""A perceptron with hidden layers of 512 and 256 units, the thesis log's for 28x28 digits."""

from __future__ import annotations

from torch import nn


def mlp(num_classes: int, image_size: int, channels: int) -> nn.Sequential:
    """Return the network: [B, channels, image_size, image_size] -> logits [B, num_classes]."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * image_size**2, 512),
        nn.ReLU(inplace=True),
        nn.Linear(512, 256),
        nn.ReLU(inplace=True),
        nn.Linear(256, num_classes),
    )
