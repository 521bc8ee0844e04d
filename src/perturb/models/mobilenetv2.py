"""MobileNetV2 for CIFAR (Sandler et al. 2018): strides of the stem and the second stage are 1."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# expansion, channels, blocks, stride of the first
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Block(nn.Module):
    """Expand, filter each channel, project; added to x, or to BN(1x1 conv(x)), at stride 1."""

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.path = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module | None = nn.Identity() if stride == 1 else None
        if stride == 1 and in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output for inputs [B, in_channels, H, W]."""
        outputs = self.path(inputs)
        return outputs if self.shortcut is None else outputs + self.shortcut(inputs)


class MobileNetV2(nn.Module):
    """Seventeen blocks between a 3x3 stem of 32 channels and a 1x1 head of 1,280."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        blocks, before = [], 32
        for expansion, width, count, first_stride in STAGES:
            for at in range(count):
                blocks.append(Block(before, width, expansion, first_stride if at == 0 else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.Conv2d(before, 1280, 1, bias=False), nn.BatchNorm2d(1280))
        self.head = nn.Linear(1280, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, num_classes] for inputs [B, channels, H, W]."""
        features = F.relu(self.last(self.blocks(self.stem(inputs))), inplace=True)
        # A mean, since adaptive pooling has no deterministic backward on CUDA.
        return self.head(features.mean(dim=(2, 3)))


def mobilenetv2(num_classes: int, image_size: int, channels: int) -> MobileNetV2:
    """Return MobileNetV2 for CIFAR; it pools globally, so any `image_size` will do."""
    return MobileNetV2(num_classes, channels)
