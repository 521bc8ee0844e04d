"""Identities cut from scikit-learn's two sample photographs: retrieval without a download.

One place of a photograph is one identity, as in surrogate classes (Dosovitskiy et al. 2014,
"Discriminative unsupervised feature learning"). A camera has a colour cast, a blur and a scale of
its own; its views of a place are shifted. As with people, the same camera's views of a place are
much more alike than another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perturb.data.dataset import Dataset, Images, Shape
from perturb.data.identities import Sightings, split_identities
from perturb.files import sha256_arrays

SIZE = 32  # pixels a side
SPACING = 36  # between the centres of places, in pixels of a photograph
IDENTITIES = 96  # half of them train
VIEWS = 4  # of a place, by each camera
LARGEST_SHIFT = 5.0  # pixels


@dataclass(frozen=True)
class Camera:
    """What a camera does: scale, blur (standard deviation in pixels), gains of the colours."""

    scale: float
    blur: float
    gains: tuple[float, float, float]
    gamma: float


CAMERAS = (
    Camera(1.0, 0.0, (1.0, 1.0, 1.0), 1.0),
    Camera(0.8, 0.7, (1.2, 0.95, 0.7), 1.25),
    Camera(1.25, 0.4, (0.65, 0.95, 1.3), 0.8),
    Camera(1.05, 1.2, (0.9, 1.2, 0.85), 1.5),
)


@dataclass(frozen=True)
class PhotoPatches(Dataset):
    """The places with the most texture, split by identity once and for all."""

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Cut the patches; `data_root` is not looked at, the photographs are scikit-learn's own.

        The split stays the same whatever the seed of the validation split is.
        """
        from sklearn.datasets import load_sample_images

        photographs = load_sample_images().images
        images, identities, cameras = _cut(photographs)
        split = split_identities(identities, cameras)
        test = np.sort(np.concatenate([split.query, split.gallery]))
        return Images(
            train_images=images[split.train],
            train_labels=np.searchsorted(split.classes, identities[split.train]),
            test_images=images[test],
            test_labels=identities[test],
            class_names=tuple(f"place {identity}" for identity in split.classes),
            kind="scikit-learn load_sample_images, places as identities",
            files={
                "photographs": sha256_arrays(
                    {str(number): photograph for number, photograph in enumerate(photographs)}
                )
            },
            sightings=Sightings(cameras[split.train], cameras[test], np.isin(test, split.query)),
        )


def _cut(photographs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return patches uint8 [N, 32, 32, 3], their identities from 1 and their cameras from 1."""
    from PIL import Image

    from perturb.random import numpy_generator

    generator = numpy_generator(0, "views of photo_patches")
    opened = [Image.fromarray(photograph) for photograph in photographs]
    images, identities, cameras = [], [], []
    for identity, (photograph, row, column) in enumerate(_places(photographs), 1):
        for number, camera in enumerate(CAMERAS, 1):
            for _ in range(VIEWS):
                shift = generator.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 2)
                images.append(_seen(opened[photograph], row + shift[0], column + shift[1], camera))
                identities.append(identity)
                cameras.append(number)
    return np.stack(images), np.array(identities), np.array(cameras)


def _places(photographs: list[np.ndarray]) -> list[tuple[int, float, float]]:
    """Return (photograph, row, column) of the centres of the places with the most texture.

    Texture is the mean absolute difference of neighbouring pixels; sky has none.
    """
    found = []
    for number, photograph in enumerate(photographs):
        grey = photograph.astype(np.int64).sum(axis=2)
        height, width = grey.shape
        margin = SPACING
        for row in range(margin, height - margin + 1, SPACING):
            for column in range(margin, width - margin + 1, SPACING):
                part = grey[row - 16 : row + 16, column - 16 : column + 16]
                texture = np.abs(np.diff(part, axis=0)).sum() + np.abs(np.diff(part, axis=1)).sum()
                found.append((-int(texture), number, float(row), float(column)))
    return sorted(place[1:] for place in sorted(found)[:IDENTITIES])


def _seen(photograph: object, row: float, column: float, camera: Camera) -> np.ndarray:
    """Return a place as a camera sees it, uint8 [32, 32, 3]."""
    from PIL import Image, ImageFilter

    half = SIZE / 2 * camera.scale
    box = (column - half, row - half, column + half, row + half)
    width, height = photograph.size
    left, top = (
        min(max(0.0, at), end - 2 * half) for at, end in zip(box, (width, height), strict=False)
    )
    box = (left, top, left + 2 * half, top + 2 * half)
    patch = photograph.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)
    pixels = np.asarray(patch.filter(ImageFilter.GaussianBlur(camera.blur)), np.float64) / 255
    cast = np.clip(pixels * camera.gains, 0, 1) ** camera.gamma
    return np.rint(255 * cast).astype(np.uint8)


def _shape() -> Shape:
    each = IDENTITIES // 2 * len(CAMERAS) * VIEWS
    return Shape(each, each, IDENTITIES // 2, SIZE, 3)


PHOTO_PATCHES = PhotoPatches(name="photo_patches", shape=_shape())
