"""Images of identities as batches: resized, cropped, mirrored; in turn, or balanced by identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from perturb.random import generator

if TYPE_CHECKING:
    from perturb.studies.reid.settings import ReidSpecification

EVALUATED = 128  # images of a batch where nothing is trained
# What strong augmentation does: brightness, colours, and a rectangle that is erased.
_BRIGHTNESS, _COLOUR, _ERASED = (0.6, 1.4), (0.8, 1.2), (0.3, 0.6)


@dataclass(frozen=True)
class Batch:
    """A batch: inputs [B, C, H, W], given labels int64 [B], places of the images in the split.

    `strong` are the inputs under strong augmentation, None where none was asked for.
    """

    inputs: Tensor
    labels: Tensor
    places: Tensor
    strong: Tensor | None = None


class Pixels:
    """Images uint8 [N, h, w, C] on a device, as networks take them.

    `size` is (height, width) of what networks see; crops are cut out of images `enlargement` times
    as large. Every random choice of an epoch is drawn on the CPU from generators keyed by
    `(seed, epoch, purpose)`, one draw for each place in the epoch.
    """

    def __init__(
        self,
        images: np.ndarray,
        mean: Sequence[float],
        std: Sequence[float],
        specification: ReidSpecification,
        device: torch.device,
    ) -> None:
        self.images = torch.from_numpy(images).to(device)
        self.device, self.seed = device, specification.seed
        self.size = (specification.height, specification.width)
        self.enlarged = tuple(round(specification.enlargement * side) for side in self.size)
        spread, centre = torch.tensor(std), torch.tensor(mean)
        self._scale = (1 / (255 * spread)).view(-1, 1, 1).to(device)
        self._shift = (-centre / spread).view(-1, 1, 1).to(device)

    def at(self, places: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the images at `places`, normalised, [B, C, *size], by bicubic interpolation."""
        pixels = self.images[places].permute(0, 3, 1, 2).float()
        if tuple(pixels.shape[2:]) != size:
            pixels = interpolate(pixels, size, mode="bicubic", align_corners=False)
            pixels = pixels.clamp_(0, 255)
        return pixels.mul_(self._scale).add_(self._shift)

    def evaluated(self) -> Iterator[Tensor]:
        """Yield all images in order, as they are compared."""
        for start in range(0, len(self.images), EVALUATED):
            end = min(start + EVALUATED, len(self.images))
            yield self.at(torch.arange(start, end, device=self.device), self.size)

    def batches(
        self, labels: Tensor, order: Tensor, size: int, epoch: int, strong: bool
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch: images in `order` int64, cropped and mirrored.

        With `strong` each has its inputs a second time under strong augmentation.
        """
        count = len(order)
        rows, columns = (e - s + 1 for e, s in zip(self.enlarged, self.size, strict=True))
        crop = torch.stack(
            [
                torch.randint(rows, (count,), generator=generator(self.seed, epoch, "crop rows")),
                torch.randint(columns, (count,), generator=generator(self.seed, epoch, "crop")),
            ]
        ).to(self.device)
        mirrored = torch.rand(count, generator=generator(self.seed, epoch, "flip")) < 0.5
        mirrored, order = mirrored.to(self.device), order.to(self.device)
        strengths = torch.rand(count, 8, generator=generator(self.seed, epoch, "strong"))
        for start in range(0, count, size):
            part = slice(start, start + size)
            inputs = self._cropped(self.at(order[part], self.enlarged), crop[:, part])
            inputs = torch.where(mirrored[part, None, None, None], inputs.flip(3), inputs)
            second = strongly(inputs, strengths[part].to(self.device)) if strong else None
            yield Batch(inputs, labels[order[part]], order[part], second)

    def _cropped(self, enlarged: Tensor, corners: Tensor) -> Tensor:
        """Return the windows of `size` at the corners int64 [2, B]."""
        height, width = self.size
        rows = corners[0][:, None] + torch.arange(height, device=self.device)
        columns = corners[1][:, None] + torch.arange(width, device=self.device)
        images = torch.arange(len(enlarged), device=self.device)[:, None, None]
        found = enlarged.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]]
        return found.permute(0, 3, 1, 2).contiguous()


def strongly(inputs: Tensor, strengths: Tensor) -> Tensor:
    """Return inputs [B, C, H, W] under strong augmentation, by strengths [B, 8] in 0..1.

    Brightness and the colours are scaled, and a rectangle of up to 0.6 times each side is set to
    the mean (random erasing, Zhong et al. 2020).
    """
    low, high = _BRIGHTNESS
    bright = low + (high - low) * strengths[:, 0]
    low, high = _COLOUR
    colours = low + (high - low) * strengths[:, 1 : 1 + inputs.shape[1]]
    found = inputs * (bright[:, None] * colours)[:, :, None, None]
    erased = torch.ones_like(found[:, 0], dtype=torch.bool)
    for dimension, side in ((1, inputs.shape[2]), (2, inputs.shape[3])):
        low, high = _ERASED
        length = (low + (high - low) * strengths[:, 3 + dimension]) * side
        start = strengths[:, 5 + dimension] * (side - length)
        at = torch.arange(side, device=inputs.device)
        inside = (at >= start[:, None]) & (at < (start + length)[:, None])
        erased = erased & (inside[:, :, None] if dimension == 1 else inside[:, None, :])
    return found.masked_fill(erased[:, None], 0.0)


def in_turn(count: int, seed: int, epoch: int) -> Tensor:
    """Return each image once, in a new order each epoch, int64 [count]."""
    return torch.randperm(count, generator=generator(seed, epoch, "shuffle"))


def balanced(labels: np.ndarray, size: int, of_identity: int, seed: int, epoch: int) -> Tensor:
    """Return as many images as there are, in batches of `of_identity` images of each identity.

    int64 [N]. Identities come in turn, in a new order each time all have come; of each, images come
    in turn too. One with few images gives them more often. The last batch may hold fewer.
    """
    random = generator(seed, epoch, "balanced")

    def shuffled(values: np.ndarray) -> list[int]:
        return values[torch.randperm(len(values), generator=random).numpy()].tolist()

    members = {int(one): np.flatnonzero(labels == one) for one in np.unique(labels)}
    queues: dict[int, list[int]] = {one: [] for one in members}
    identities: list[int] = []
    order: list[int] = []
    while len(order) < len(labels):
        batch: list[int] = []
        chosen: set[int] = set()
        while len(chosen) < min(size // of_identity, len(members)):
            if not identities:
                identities = shuffled(np.array(list(members)))
            one = identities.pop()
            if one in chosen:
                continue
            chosen.add(one)
            for _ in range(of_identity):
                queues[one] = queues[one] or shuffled(members[one])
                batch.append(queues[one].pop())
        order += batch
    return torch.tensor(order[: len(labels)])
