"""ResNet-34 with the CIFAR stem, as the code of SLS has it (Vaswani et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from perturb.models.resnet import BasicBlock

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # channels, blocks


class ResNet34(nn.Module):
    """Sixteen basic blocks, 3-4-6-3 at 64 to 512 channels; shortcuts are 1x1 and batch-norm."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
        )
        blocks, before = [], 64
        for width, count in STAGES:
            for at in range(count):
                blocks.append(BasicBlock(before, width, 2 if at == 0 and width > 64 else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, num_classes] for inputs [B, channels, H, W]."""
        # A mean, since adaptive pooling has no deterministic backward on CUDA.
        return self.head(self.blocks(self.stem(inputs)).mean(dim=(2, 3)))


def resnet34(num_classes: int, image_size: int, channels: int) -> ResNet34:
    """Return ResNet-34; it pools globally, so any `image_size` will do."""
    return ResNet34(num_classes, channels)
