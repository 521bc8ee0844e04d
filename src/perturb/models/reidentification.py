"""Networks for re-identification: pooled features, an embedding and a classifier of identities.

The head is that of the person re-identification baselines that CORE and ACT build on: Linear,
batch-norm, LeakyReLU (0.1), dropout (0.5), and a Linear to the classes. What images are compared
by is the backbone's pooled features, before the head.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

EMBEDDING = 512
SMALL_WIDTHS = (24, 48, 96)
SMALL_EMBEDDING = 64


class ReidNetwork(nn.Module):
    """A backbone [B, channels, H, W] -> [B, features, h, w] of any size, pooled, under a head."""

    def __init__(
        self, backbone: nn.Module, features: int, embedding: int, num_classes: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.embedding = nn.Sequential(
            nn.Linear(features, embedding),
            nn.BatchNorm1d(embedding),
            nn.LeakyReLU(0.1),
            nn.Dropout(0.5),
        )
        self.classifier = nn.Linear(embedding, num_classes)
        nn.init.kaiming_normal_(self.embedding[0].weight, mode="fan_out")
        nn.init.zeros_(self.embedding[0].bias)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def features(self, inputs: Tensor) -> Tensor:
        """Return what images are compared by, [B, features], not normalised."""
        return self.pool(self.backbone(inputs))

    def forward_both(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, num_classes] and features [B, features] from one pass."""
        features = self.features(inputs)
        return self.classifier(self.embedding(features)), features

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, num_classes]."""
        return self.forward_both(inputs)[0]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the embedding and the classifier."""
        return [*self.embedding.parameters(), *self.classifier.parameters()]

    def load_backbone(self, published: Mapping[str, Tensor]) -> None:
        """Load the backbone from torchvision's state dict of the whole network."""
        own = self.backbone.state_dict()
        self.backbone.load_state_dict({name: published[name] for name in own if name in published})


class _ResNet50(nn.Sequential):
    """torchvision's ResNet-50 without pooling and classifier, its tensors named as there."""

    def __init__(self) -> None:
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        import torchvision  # more than a second, and the small network does without

        network = torchvision.models.resnet50()
        super().__init__()
        for name in names:
            self.add_module(name, getattr(network, name))


def resnet50(num_classes: int, image_size: int, channels: int) -> ReidNetwork:
    """Return the network on ResNet-50: 24,943,407 parameters for 751 classes."""
    return ReidNetwork(_ResNet50(), 2048, EMBEDDING, num_classes)


def small(num_classes: int, image_size: int, channels: int) -> ReidNetwork:
    """Return a stand-in for a CPU: three strided 3x3 convolutions with batch-norm."""
    layers: list[nn.Module] = []
    for inside, width in zip((channels, *SMALL_WIDTHS), SMALL_WIDTHS, strict=False):
        layers += [
            nn.Conv2d(inside, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return ReidNetwork(nn.Sequential(*layers), SMALL_WIDTHS[-1], SMALL_EMBEDDING, num_classes)
