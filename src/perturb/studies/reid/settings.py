"""What decides one run of this study. Pure, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from perturb.train.settings import DrivenSettings


class ReidSpecification(DrivenSettings, frozen=True, kw_only=True):
    """How a method trains its networks, and at which size images are compared.

    Args:
        protocol: `from400`, for test images play validation: a best epoch is chosen on them.
        batch_size: images of a step; in balanced batches `images_of_identity` of each.
        learning_rate: of the backbone, for networks whose rate the method's name does not give.
        head_multiplier: the head's learning rate over the backbone's.
        decay: shares of the epochs after which learning rates fall to a tenth of what they were.
        height, width: pixels at which images are compared, and of the crops that train.
        enlargement: of the images that the crops are cut from, over `height` and `width`.
        precision: of the networks' passes: `float32`, `tf32` or `bfloat16`.
    """

    NEUTRAL: ClassVar[Mapping[str, Any]] = {}

    study: str = "reid"
    protocol: str = "from400"
    batch_size: int = 32
    learning_rate: float = 0.01
    head_multiplier: float = 10.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay: tuple[float, ...] = (20 / 61, 50 / 61)
    height: int = 256
    width: int = 128
    enlargement: float = 1.125
    images_of_identity: int = 4
    split_seed: int = 0
    precision: str = "float32"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at which networks look at images."""
        return self.height, self.width

    @property
    def limit(self) -> None:
        """All images are used: a part of a gallery is another task."""
        return None
