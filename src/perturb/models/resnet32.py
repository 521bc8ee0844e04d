"""ResNet-32 for CIFAR with shortcuts of option A (He et al. 2016, section 4.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (16, 32, 64)
BLOCKS = 5  # a stage: 6 n + 2 = 32 layers


class Block(nn.Module):
    """ReLU(x' + BN(conv(ReLU(BN(conv(x)))))); x' = x, thinned and padded where the shape changes.

    Option A: every second row and column, and channels of zeros in front and behind, half each.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.grows = channels != in_channels
        self.padding = (channels - in_channels) // 2
        self.path = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, 2 if self.grows else 1, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output for inputs [B, in_channels, H, W]."""
        shortcut = inputs
        if self.grows:
            pad = (0, 0, 0, 0, self.padding, self.padding)
            shortcut = F.pad(inputs[:, :, ::2, ::2], pad)
        return F.relu(self.path(inputs) + shortcut, inplace=True)


class ResNet32(nn.Module):
    """Fifteen blocks, five each at 16, 32 and 64 channels."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, STAGES[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(STAGES[0]),
            nn.ReLU(inplace=True),
        )
        widths = [width for width in STAGES for _ in range(BLOCKS)]
        befores = [STAGES[0], *widths[:-1]]
        self.blocks = nn.Sequential(*map(Block, befores, widths))
        self.head = nn.Linear(STAGES[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, num_classes] for inputs [B, channels, H, W]."""
        # A mean, since adaptive pooling has no deterministic backward on CUDA.
        return self.head(self.blocks(self.stem(inputs)).mean(dim=(2, 3)))


def resnet32(num_classes: int, image_size: int, channels: int) -> ResNet32:
    """Return ResNet-32; it pools globally, so any `image_size` will do."""
    return ResNet32(num_classes, channels)
