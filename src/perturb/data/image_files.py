"""Opening one image of anybody's: which files, which pixels, and what is refused by name."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageOps

from perturb.data import image_sizes
from perturb.errors import PerturbError

# Formats that Pillow knows by name and cannot decode itself.
_STUBS = frozenset(("BUFR", "GRIB", "HDF5", "WMF", "MPEG", "IPTC", "EPS"))
# 8 bits a channel of these many pixels are 3 GB: more is a mistake, or meant to fill the memory.
LARGEST_PIXELS = 1_000_000_000
_ALPHA = frozenset(("LA", "La", "PA", "RGBA", "RGBa"))


@cache
def suffixes() -> frozenset[str]:
    """Return the endings, in lower case and with their dot, of all files that Pillow decodes."""
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(end for end, kind in known if kind in Image.OPEN and kind not in _STUBS)


@dataclass(frozen=True)
class Header:
    """What a file says of its image: pixels across and down, Pillow's mode, transparency, frames.

    `several` says that it holds more images than one; a photograph's preview (MPO) is none.
    """

    size: tuple[int, int]
    mode: str
    alpha: bool
    several: bool


def header(path: Path) -> Header:
    """Return the header of an image, whose pixels are not read.

    Raises PerturbError for what `decode` refuses, as far as the header says so.
    """
    with _opened(path) as image, _corrupt(path):
        several = image.format != "MPO" and bool(getattr(image, "is_animated", False))
        return Header(image.size, image.mode, _has_alpha(image), several)


def decode(path: Path, size: int, mode: str) -> Image.Image:
    """Return the image upright, in `mode` L or RGB, its middle at `size` x `size` pixels.

    Pixels have 8 bits: those of palettes, CMYK and the like are converted, transparent ones laid on
    white, and of several frames the first is taken. Raises PerturbError for a corrupt file, and for
    pixels of more bits or of floats, whose black and white nothing in the file tells.
    """
    with _opened(path) as image, _corrupt(path):
        if image.width * image.height > Image.MAX_IMAGE_PIXELS:
            image.draft(mode, (size, size))  # a JPEG is decoded at an eighth of its size then
        upright = ImageOps.exif_transpose(image)
        if _has_alpha(upright):
            layer = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return image_sizes.fit(upright.convert(mode), size)


def _has_alpha(image: Image.Image) -> bool:
    """Return whether an image may have pixels that are not opaque."""
    return image.mode in _ALPHA or "transparency" in image.info


class _corrupt:
    """Says of whatever a decoder raises that the file is corrupt."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Pillow's decoders raise whatever a damaged file leads them to.
        if isinstance(error, Exception) and not isinstance(error, PerturbError):
            raise PerturbError(
                f"{self.path}: corrupt image ({type(error).__name__}: {error}). Mend or remove it."
            ) from None


def _opened(path: Path) -> Image.Image:
    with _corrupt(path):
        if not path.exists():
            raise PerturbError(f"{path}: a link to a file that is not there. Mend or remove it.")
        image = _open_of_any_size(path)
    if image.width * image.height > LARGEST_PIXELS:
        raise PerturbError(
            f"{path}: {image.width:,} x {image.height:,} pixels are too many to decode. Shrink it: "
            "all images come to 64 x 64 pixels or less."
        )
    if bits := _wide_pixels(image):
        raise PerturbError(
            f"{path}: pixels are {bits}, and nothing in the file says which of their values are "
            "black and white. Save it with 8 bits a channel, 0 black and 255 white."
        )
    return image


def _open_of_any_size(path: Path) -> Image.Image:
    """Open an image that Pillow would take for a bomb, too: these are the user's own files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        largest, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = largest


def _wide_pixels(image: Image.Image) -> str:
    """Say what pixels of other than 8 bits are; "" where they have 8."""
    if image.mode == "F":
        return "floats"
    if image.mode.startswith("I;16"):
        return "integers of 16 bits"
    if image.mode.startswith("I"):
        return "integers of 16 or 32 bits"
    # Colours of 16 bits: Pillow keeps their upper byte, black where only the lower ones are used.
    if any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):
        return "colours of 16 bits a channel"
    return ""
