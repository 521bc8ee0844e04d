"""Batches for a model, augmented as whole tensors, without worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from perturb.data.protocol import Split
from perturb.random import generator

AUGMENTATIONS = ("standard", "cv_rts", "none")
ROTATION_DEGREES = 15.0


class FeedSettings(Protocol):
    """What of a run's settings decides its feeds."""

    @property
    def batch_size(self) -> int:
        """Images of a batch."""

    @property
    def augment(self) -> str:
        """Of the train split, one of `AUGMENTATIONS`."""

    @property
    def seed(self) -> int:
        """Of the run: fixes every random choice of its feeds."""


class Feed:
    """One split of a data set as normalised batches, the same on every device.

    `images` uint8 [N, H, W, C] (H = W unless `augment` is "none") and `labels` [N] are kept on
    `device`; `mean` and `std` are a channel's, of pixels / 255. Every random choice of an
    epoch is drawn on the CPU, at once, from generators keyed by `(seed, epoch, purpose)`, one draw
    for each place in the epoch.

    `augment`:
    - `"standard"`: each epoch in new order; horizontal flip of every second image (where `flip`);
      a crop at a random place of the image with `crop_padding` zero pixels around it.
    - `"cv_rts"`: rotation by up to 15 degrees (nearest pixel, zeros outside), flip (where
      `flip`), never shuffled; its crop without padding changes nothing.
    - `"none"`: in order, normalised only: for evaluation.

    `shuffle` None means what the augmentation says above. `true_labels` [N] are the labels without
    noise, where `labels` hold any: `epoch` never yields them. Raises ValueError for an unknown
    augmentation, for `cv_rts` with shuffling, and for arrays that do not fit together.
    """

    def __init__(
        self,
        images: np.ndarray | Tensor,
        labels: np.ndarray | Tensor,
        *,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        device: str | torch.device = "cpu",
        augment: str = "none",
        flip: bool = True,
        crop_padding: int = 4,
        seed: int = 0,
        shuffle: bool | None = None,
        true_labels: np.ndarray | Tensor | None = None,
    ) -> None:
        images, labels = torch.as_tensor(images), torch.as_tensor(labels)
        self._check(images, labels, batch_size, augment, shuffle)
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.augment = augment
        self.flip = flip and augment != "none"
        self.padding = crop_padding if augment == "standard" else 0
        self.seed = seed
        self.shuffle = augment == "standard" if shuffle is None else shuffle
        self.labels = labels.to(self.device, torch.int64)
        self._true_labels: Tensor | None = None
        if true_labels is not None:
            if len(true_labels) != len(labels):
                raise ValueError(f"{len(true_labels)} true labels, {len(labels)} labels")
            self._true_labels = torch.as_tensor(true_labels).to(self.device, torch.int64)
        self._images = self._layout(images.to(self.device))
        # (x / 255 - mean) / std as one product and one sum.
        spread = torch.tensor(std, dtype=torch.float64)
        centre = torch.tensor(mean, dtype=torch.float64)
        if spread.shape != centre.shape or len(spread) != images.shape[3]:
            raise ValueError("mean and std must have one number for each of the channels")
        self._scale = (1 / (255 * spread)).float().view(-1, 1, 1).to(self.device)
        self._shift = (-centre / spread).float().view(-1, 1, 1).to(self.device)

    @staticmethod
    def _check(
        images: Tensor, labels: Tensor, batch_size: int, augment: str, shuffle: bool | None
    ) -> None:
        if augment not in AUGMENTATIONS:
            raise ValueError(f"augment must be one of {AUGMENTATIONS}, not {augment!r}")
        if augment == "cv_rts" and shuffle:
            raise ValueError("augment 'cv_rts' does not shuffle; leave shuffle out")
        fits = images.ndim == 4 and (augment == "none" or images.shape[1] == images.shape[2])
        if images.dtype != torch.uint8 or not fits or images.shape[3] not in (1, 3):
            raise ValueError(
                f"images must be uint8 [N, S, S, 1 or 3], not {images.dtype} {tuple(images.shape)}"
            )
        if len(images) != len(labels) or not len(images) or batch_size < 1:
            raise ValueError(f"{len(images)} images, {len(labels)} labels, batches of {batch_size}")

    def _layout(self, images: Tensor) -> Tensor:
        """Return the images as this augmentation looks them up.

        For "standard": a view [N, 2p+1, 2p+1, S, S] of all windows of the padded images, one
        element a pixel (colours packed into an int32), for a gather costs by the element.
        Otherwise uint8 [N, C, S, S].
        """
        if self.augment != "standard":
            return images.permute(0, 3, 1, 2).contiguous()
        count, size, _, channels = images.shape
        padding, side = self.padding, size + 2 * self.padding
        padded = images.new_zeros(count, side, side, 4 if channels == 3 else 1)
        inner = slice(padding, padding + size)
        padded[:, inner, inner, :channels] = images
        packed = padded.view(torch.int32) if channels == 3 else padded
        return packed.squeeze(3).unfold(1, size, 1).unfold(2, size, 1)

    def __len__(self) -> int:
        """Return the number of batches of an epoch; the last may be smaller."""
        return -(-len(self.labels) // self.batch_size)

    def draws(self, epoch: int) -> dict[str, Tensor]:
        """Return all random choices of an epoch, on the CPU, a place of the epoch each.

        `order` int64 [N]; `flip` bool [N]; `crop` int64 [2, N], row and column of the window's
        corner in the padded image, cut before the flip; `rotation` float32 [N], degrees
        counter-clockwise. Only those that this feed makes are there.
        """
        count = len(self.labels)
        draws = {}
        if self.shuffle:
            draws["order"] = self._order(epoch)
        if self.flip:
            draws["flip"] = torch.rand(count, generator=generator(self.seed, epoch, "flip")) < 0.5
        if self.augment == "standard":
            draws["crop"] = torch.randint(
                2 * self.padding + 1, (2, count), generator=generator(self.seed, epoch, "crop")
            )
        if self.augment == "cv_rts":
            uniform = torch.rand(count, generator=generator(self.seed, epoch, "rotation"))
            draws["rotation"] = (2 * uniform - 1) * ROTATION_DEGREES
        return draws

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch: inputs float32 [B, C, S, S] and labels int64 [B].

        The batches depend on the feed's arguments and on `epoch` only.
        """
        # Angles stay behind: their sines are taken on the CPU, the same for every device.
        draws = {
            name: draw if name == "rotation" else draw.to(self.device)
            for name, draw in self.draws(epoch).items()
        }
        for start in range(0, len(self.labels), self.batch_size):
            places = slice(start, start + self.batch_size)
            chosen = draws["order"][places] if self.shuffle else places
            yield self._normalise(self._pixels(chosen, places, draws)), self.labels[chosen]

    def _order(self, epoch: int) -> Tensor:
        random = generator(self.seed, epoch, "shuffle")
        return torch.randperm(len(self.labels), generator=random)

    def true_labels(self, epoch: int) -> Iterator[Tensor] | None:
        """Return the true labels int64 [B] of an epoch's batches, in the order of `epoch`.

        None where the labels hold no noise.
        """
        if self._true_labels is None:
            return None
        in_order = self._true_labels
        if self.shuffle:
            in_order = in_order[self._order(epoch).to(self.device)]
        return iter(in_order.split(self.batch_size))

    def _pixels(self, chosen: Tensor | slice, places: slice, draws: dict[str, Tensor]) -> Tensor:
        """Return the augmented pixels 0..255 of the images `chosen`, [B, C, S, S]."""
        if self.augment == "standard":
            return self._crop(chosen, places, draws)
        if self.augment == "cv_rts":
            flip = draws["flip"][places] if self.flip else None
            return rotate(self._images[chosen], draws["rotation"][places], flip)
        return self._images[chosen]

    def _crop(self, chosen: Tensor | slice, places: slice, draws: dict[str, Tensor]) -> Tensor:
        if isinstance(chosen, slice):
            chosen = torch.arange(len(self.labels), device=self.device)[chosen]
        row, column = draws["crop"][:, places]
        packed = self._images[chosen, row, column]
        if self.flip:
            packed = torch.where(draws["flip"][places].view(-1, 1, 1), packed.flip(2), packed)
        channels = len(self._scale)
        return packed.unsqueeze(3).view(torch.uint8)[..., :channels].permute(0, 3, 1, 2)

    def _normalise(self, pixels: Tensor) -> Tensor:
        inputs = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        return inputs.mul_(self._scale).add_(self._shift)


def make_feeds(
    splits: dict[str, Split],
    manifest: Mapping[str, Any],
    settings: FeedSettings,
    device: torch.device,
) -> dict[str, Feed]:
    """Return the three feeds; validation and test are one object where their split is.

    `manifest` is the data set's: mean, std, flip and crop padding are taken from it.
    """

    def feed(split: Split, augment: str, shuffle: bool) -> Feed:
        return Feed(
            split.images,
            split.labels,
            true_labels=split.true_labels,
            batch_size=settings.batch_size,
            mean=manifest["mean"],
            std=manifest["std"],
            device=device,
            augment=augment,
            flip=manifest["flip"],
            crop_padding=manifest["crop_padding"],
            seed=settings.seed,
            shuffle=shuffle,
        )

    augment = settings.augment
    test = feed(splits["test"], "none", shuffle=False)
    same = splits["validation"] is splits["test"]
    return {
        "train": feed(splits["train"], augment, shuffle=augment != "cv_rts"),
        "validation": test if same else feed(splits["validation"], "none", shuffle=False),
        "test": test,
    }


def rotate(images: Tensor, degrees: Tensor, flip: Tensor | None) -> Tensor:
    """Rotate images [B, C, S, S] counter-clockwise, then mirror those where `flip` [B] is true.

    `degrees` [B] may stay on the CPU. The nearest pixel is taken, zero outside the image, as
    `torchvision.transforms.RandomRotation` does it; float32 comes back. Both are one lookup:
    mirroring the result negates the column that a pixel looks up from.
    """
    size = images.shape[-1]
    radians = torch.deg2rad(degrees.double())
    cosine = (radians.cos() / (size / 2)).float().view(-1, 1, 1)
    sine = (radians.sin() / (size / 2)).float().view(-1, 1, 1)
    # A copy that a GPU makes in its turn: the host does not wait until it is done with the batch.
    cosine, sine = (part.to(images.device, non_blocking=True) for part in (cosine, sine))
    centred = torch.arange(size, device=images.device) - (size - 1) / 2
    row, column = centred.view(1, size, 1), centred.view(1, 1, size)
    if flip is not None:
        column = torch.where(flip.view(-1, 1, 1), -column, column)
    grid = torch.stack([cosine * column - sine * row, sine * column + cosine * row], dim=-1)
    return functional.grid_sample(images.float(), grid, mode="nearest", align_corners=False)
