"""The one square size that the images of a folder come to, and how each image comes to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

LARGEST_SIDE = 64  # where the configuration names no size
_STEP = 8  # what models with three halvings need


@dataclass(frozen=True)
class Folder:
    """A folder of images, and the side in pixels that they are brought to; 0: `side_of` them."""

    path: str | Path
    side: int = 0

    def __fspath__(self) -> str:
        return fspath(self.path)


def configured(config: Mapping[str, Any], name: str) -> int:
    """Return the side that a configuration (`image_sizes`) gives a folder's images, or 0."""
    return int((config.get("image_sizes") or {}).get(name, 0))


def side_of(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the side for images of these sizes: no single image decides it.

    The shorter side that most images have, or else their lower median; at most 64, in multiples of
    8 from 8 on.
    """
    shorter = sorted(min(size) for size in sizes)
    side, count = Counter(shorter).most_common(1)[0]
    if 2 * count <= len(shorter):
        side = shorter[(len(shorter) - 1) // 2]
    return max(_STEP, min(side, LARGEST_SIDE) // _STEP * _STEP)


def fit(image: Image.Image, side: int) -> Image.Image:
    """Return the middle square of an image, at `side` pixels: no image is squashed.

    That is its shorter side resized (bilinear), and the longer one cut at both ends.
    """
    if image.size == (side, side):
        return image
    return ImageOps.fit(image, (side, side), method=Image.Resampling.BILINEAR)


def remarks(sizes: Sequence[tuple[int, int]], side: int) -> list[str]:
    """Return what happens to images of these sizes that one may not expect, as sentences."""
    cut = sum(width != height for width, height in sizes)
    enlarged = [size for size in sizes if min(size) < side]
    found = []
    if cut:
        found.append(
            f"{cut:,} of {len(sizes):,} images are not square: their middle is kept, at {side} x "
            f"{side} pixels"
        )
    if enlarged:
        smallest = min(map(min, enlarged))
        found.append(
            f"{len(enlarged):,} of {len(sizes):,} images are smaller than {side} x {side} pixels "
            f"(the smallest has {smallest}) and are enlarged"
        )
    return found
