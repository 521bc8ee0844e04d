"""The square that images come to: no single one decides it, and none is squashed."""

import numpy as np
import pytest
from PIL import Image

from perturb.data import image_sizes
from perturb.data.image_folder import ImageFolder
from perturb.data.registry import find


@pytest.mark.parametrize(
    ("shorter", "side"),
    [
        ([48] * 9, 48),
        ([30] * 9, 24),
        ([200, 300, 400], 64),
        ([20, *range(300, 339)], 64),
        ([20, *range(50, 60)], 48),
        ([28] * 6 + [100] * 4, 24),
        ([9, 9, 40, 41, 42], 40),
        ([5, 5], 8),
    ],
)
def test_the_side_is_most_images_or_their_median(shorter, side):
    assert image_sizes.side_of([(n, n + 7) for n in shorter]) == side


@pytest.mark.parametrize("size", [(60, 30), (30, 60), (62, 124), (200, 90)])
def test_the_middle_is_kept_and_nothing_is_squashed(size):
    """A disc in the middle stays round, whatever the image's shape."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    radius = 0.4 * min(size)
    disc = (x - (size[0] - 1) / 2) ** 2 + (y - (size[1] - 1) / 2) ** 2 < radius**2
    made = image_sizes.fit(Image.fromarray((255 * disc).astype(np.uint8)), 24)
    shown = np.asarray(made) > 127
    assert made.size == (24, 24)
    across, down = shown.any(axis=0).sum(), shown.any(axis=1).sum()
    assert abs(int(across) - int(down)) <= 1 and abs(across - 0.8 * 24) <= 2.5


def test_a_square_image_comes_to_the_pixels_that_it_always_came_to():
    pixels = np.random.default_rng(0).integers(0, 256, (37, 37, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    before = image.resize((24, 24), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(image_sizes.fit(image, 24)), np.asarray(before))
    assert np.array_equal(np.asarray(image_sizes.fit(image, 37)), pixels)


def test_the_size_of_the_configuration_goes_before_and_what_is_done_is_said(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("L", (40 + number, 80)).save(tmp_path / name / f"{number}.png")
    Image.new("L", (20, 20)).save(tmp_path / "a" / "icon.png")
    read = ImageFolder(name="x", folder=tmp_path)
    assert read.counted().image_size == 40
    assert read.remarks() == [
        "10 of 11 images are not square: their middle is kept, at 40 x 40 pixels",
        "1 of 11 images are smaller than 40 x 40 pixels (the smallest has 20) and are enlarged",
    ]
    given = find("x", image_sizes.Folder(tmp_path, 24))
    assert given.counted().image_size == 24
    assert given.read(tmp_path, False).train_images.shape[1:] == (24, 24, 1)
    assert image_sizes.configured({"image_sizes": {"x": 24}}, "x") == 24
    assert image_sizes.configured({}, "x") == 0
