"""Batches for training with erased and mixed images and balanced classes.

Random draws are keyed by (seed, epoch, purpose), so one option changes no draw of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from perturb.data.feeding import Feed
from perturb.errors import PerturbError
from perturb.random import generator, stream

ERASED_AREA = (0.02, 0.1)  # shares of the image, as the lab log has them
ERASED_RATIO = (0.3, 3.3)  # width over height, torchvision's default
_ATTEMPTS = 10


class RegularisedFeed(Feed):
    """A train split whose images are erased, mixed and sampled as options say.

    Arguments as of `Feed`, and:

    `erasing`: probability that a rectangle of an image is set to 0 (Zhong et al. 2020), after the
    normalisation. `mixup`: alpha of Beta(alpha, alpha) that a batch's share lambda is drawn from;
    a fair draw for each batch decides between MixUp (Zhang et al. 2018) and CutMix (Yun et al.
    2019), both torchvision's; labels are then float32 [B, classes]. 0 mixes nothing. `balanced`:
    as many places as images, drawn with replacement, each class as likely as every other.
    `drop_last`: a last batch that is smaller is left out.

    Raises PerturbError where that leaves no batch.
    """

    def __init__(
        self,
        *arguments: Any,
        num_classes: int,
        erasing: float = 0.0,
        mixup: float = 0.0,
        balanced: bool = False,
        drop_last: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.num_classes = num_classes
        self.erasing, self.mixup = erasing, mixup
        self.balanced, self.drop_last = balanced, drop_last
        if drop_last and self.batch_size > len(self.labels):
            raise PerturbError(
                f"batches of {self.batch_size} images, but train has {len(self.labels)}: with the "
                "last short batch dropped there is none. Lower batch_size, or set drop_last: false."
            )

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.labels) // self.batch_size if self.drop_last else super().__len__()

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch: inputs float32 [B, C, S, S], labels int64 [B].

        With `mixup` labels are float32 [B, classes], each row of them a mixture of two.
        """
        for batch, (inputs, labels) in zip(range(len(self)), super().epoch(epoch), strict=False):
            if self.erasing:
                random = generator(self.seed, epoch, f"erasing {batch}")
                inputs = erase(inputs, self.erasing, random)
            if self.mixup:
                seed = stream(self.seed, epoch, f"mixing {batch}")
                inputs, labels = mix(inputs, labels, self.num_classes, self.mixup, seed)
            yield inputs, labels

    def _order(self, epoch: int) -> Tensor:
        if not self.balanced:
            return super()._order(epoch)
        labels = self.labels.cpu()
        weights = 1 / torch.bincount(labels).double()[labels]
        random = generator(self.seed, epoch, "balanced sampling")
        return torch.multinomial(weights, len(labels), replacement=True, generator=random)


def mix(
    images: Tensor, labels: Tensor, num_classes: int, alpha: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Return a batch mixed with itself, shifted by one: MixUp or CutMix, by a fair draw.

    Labels come back as float32 [B, num_classes]; with CutMix their share is that of the pasted
    area. The draw is fixed by `seed`; torch's global generators are not moved.
    """
    from torchvision.transforms import v2  # half a second, for who mixes

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        cut = bool(torch.rand(()) < 0.5)
        kind = v2.CutMix if cut else v2.MixUp
        return kind(alpha=alpha, num_classes=num_classes)(images, labels)


def erase(images: Tensor, probability: float, random: torch.Generator) -> Tensor:
    """Return images [B, C, H, W] with a rectangle of 0 in each that is drawn with `probability`.

    Its area is uniform in `ERASED_AREA` of the image, the logarithm of its ratio in that of
    `ERASED_RATIO`; the first of ten draws that fits into the image, and none where none does, as
    `torchvision.transforms.v2.RandomErasing` has it. An image draws for itself.
    """
    batch, _, height, width = images.shape
    chosen = torch.rand(batch, generator=random) < probability
    low, high = ERASED_AREA
    area = torch.rand(_ATTEMPTS, batch, generator=random) * (high - low) + low
    narrow, broad = torch.log(torch.tensor(ERASED_RATIO))
    uniform = torch.rand(_ATTEMPTS, batch, generator=random)
    ratio = torch.exp(uniform * (broad - narrow) + narrow)
    place = torch.rand(2, batch, generator=random)
    tall = torch.round(torch.sqrt(area * height * width * ratio)).long()
    wide = torch.round(torch.sqrt(area * height * width / ratio)).long()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(0)
    tall, wide = (sides.gather(0, first[None])[0] for sides in (tall, wide))
    chosen = chosen & fits.any(0)
    top = (place[0] * (height - tall + 1)).long().clamp(0, height)
    left = (place[1] * (width - wide + 1)).long().clamp(0, width)
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    erased = inside_rows[:, :, None] & inside_columns[:, None, :] & chosen[:, None, None]
    return images.masked_fill(erased[:, None].to(images.device), 0.0)
