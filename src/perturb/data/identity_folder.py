"""Folders of identities: Market-1501's layout and names, and VIPeR's two cameras.

An image's identity and camera are read from its name, `0002_c1s1_000451_03.jpg`. A name that does
not say its camera is refused: evaluators that take another part of the name for it (the frame's
number, as a widely used one does) rank each query among its own camera's images, and report
several times the rank-1 rate.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from perturb.data.dataset import Dataset, Images, Shape
from perturb.data.identities import JUNK, Sightings, split_identities
from perturb.errors import PerturbError

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
NAME = re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>\d+)(?:s\d+)?(?:_|\.)")
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp"))
SIZE = (128, 64)  # height and width of what is kept
_HOW = "A name begins like 0002_c1s1_000451_03.jpg: identity, _c and the camera's number."


@dataclass(frozen=True)
class Sighting:
    """An image file, who is on it and which camera took it."""

    path: Path
    identity: int
    camera: int


def is_identity_folder(folder: Path) -> bool:
    """Return whether a folder is laid out so: by the name of its training folder."""
    return (folder / TRAIN).is_dir()


def sightings_in(folder: Path) -> list[Sighting]:
    """Return the images in `folder`, or one level below it, in order of their names.

    Raises PerturbError naming the file whose identity or camera cannot be read, or that lies in
    the folder of another identity; and where there is no image.
    """
    found = [_read(path, folder) for path in _files(folder)]
    if not found:
        raise PerturbError(f"{folder}: no images ({', '.join(sorted(SUFFIXES))}).")
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            yield path


def _read(path: Path, folder: Path) -> Sighting:
    match = NAME.match(path.name)
    if match is None:
        raise PerturbError(
            f"{path}: which camera took this image cannot be read from its name, and no other part "
            f"of the name is taken for it: results would be several times too good. {_HOW} Give "
            "the images their official names back."
        )
    identity = int(match["identity"])
    inside = path.parent.name
    if path.parent != folder and not (inside.lstrip("-").isdecimal() and int(inside) == identity):
        raise PerturbError(
            f"{path}: identity {identity} by its name lies in the folder '{inside}'. Which is it? "
            "Name folders by their identity, or put all images into one folder."
        )
    return Sighting(path, identity, int(match["camera"]))


def decoded(paths: list[Path], size: tuple[int, int]) -> np.ndarray:
    """Return images uint8 [N, height, width, 3], resized (bicubic) where they have another size."""
    images = np.empty((len(paths), *size, 3), dtype=np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            with Image.open(path) as opened:
                upright = opened.convert("RGB")
        except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
            raise PerturbError(
                f"{path}: corrupt image ({type(error).__name__}: {error}). Mend or remove it."
            ) from None
        if upright.size != size[::-1]:
            upright = upright.resize(size[::-1], Image.Resampling.BICUBIC)
        image[:] = np.asarray(upright)
    return images


def digest(paths: list[Path]) -> str:
    """Return one SHA-256 over the names and contents of the files."""
    found = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        found.update(f"{path.name}:{len(content)};".encode())
        found.update(content)
    return found.hexdigest()


def _images(
    train: list[Sighting],
    test: Mapping[str, list[Sighting]],
    size: tuple[int, int],
    kind: str,
    files: Mapping[str, str],
) -> Images:
    """Return a data set of these sightings: `test` by "query" and "gallery"."""
    train = [one for one in train if one.identity != JUNK]
    identities = np.array([one.identity for one in train])
    classes = np.unique(identities)
    tested = [*test["query"], *test["gallery"]]
    return Images(
        train_images=decoded([one.path for one in train], size),
        train_labels=np.searchsorted(classes, identities),
        test_images=decoded([one.path for one in tested], size),
        test_labels=np.array([one.identity for one in tested], dtype=np.int64),
        class_names=tuple(str(identity) for identity in classes),
        kind=kind,
        files=files,
        sightings=Sightings(
            np.array([one.camera for one in train], dtype=np.int64),
            np.array([one.camera for one in tested], dtype=np.int64),
            np.arange(len(tested)) < len(test["query"]),
        ),
    )


def _split(sightings: list[Sighting]) -> tuple[list[Sighting], dict[str, list[Sighting]]]:
    """Split sightings by identity into train and test (`split_identities`)."""
    known = [one for one in sightings if one.identity != JUNK]
    split = split_identities(
        np.array([one.identity for one in known]), np.array([one.camera for one in known])
    )
    return [known[place] for place in split.train], {
        "query": [known[place] for place in split.query],
        "gallery": [known[place] for place in split.gallery],
    }


@dataclass(frozen=True, kw_only=True)
class IdentityFolder(Dataset):
    """A folder in Market-1501's layout, a user's own.

    With `bounding_box_train` alone its identities are split (`split_identities`), and the manifest
    says so; `always_split` does that where there are queries and a gallery too.
    """

    folder: Path
    always_split: bool = False

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the folder, not `data_root`. PerturbError says what is wrong with it."""
        present = self._present()
        files, train = self.digests(), sightings_in(self.folder / TRAIN)
        if len(present) == 1:
            train, test = _split(train)
            return _images(train, test, SIZE, f"identity split of {TRAIN}", files)
        test = {
            "query": sightings_in(self.folder / QUERY),
            "gallery": sightings_in(self.folder / GALLERY),
        }
        return _images(train, test, SIZE, "folders in the layout of Market-1501", files)

    def _present(self) -> tuple[str, ...]:
        """Return the names of the folders that are read."""
        if not is_identity_folder(self.folder):
            raise PerturbError(f"Data set '{self.name}': no folder {self.folder / TRAIN}.")
        found = [name for name in (QUERY, GALLERY) if (self.folder / name).is_dir()]
        if len(found) == 1:
            other = GALLERY if found == [QUERY] else QUERY
            raise PerturbError(
                f"{self.folder}: has {found[0]} and no {other}. Add it; without either, the "
                f"identities of {TRAIN} are split."
            )
        return (TRAIN, *([] if self.always_split else found))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each folder, as `read` puts it in the manifest."""
        return {name: digest(list(_files(self.folder / name))) for name in self._present()}

    def files(self) -> list[Path]:
        """Return the files that `read` reads."""
        return [path for name in self._present() for path in _files(self.folder / name)]

    def counted(self) -> Shape:
        """Return the shape that `read` will come to; names are read, images are not."""
        sightings = {name: sightings_in(self.folder / name) for name in self._present()}
        train = sightings[TRAIN]
        if len(sightings) == 1:
            train, test = _split(train)
        else:
            test = {"query": sightings[QUERY], "gallery": sightings[GALLERY]}
        train = [one for one in train if one.identity != JUNK]
        classes = {one.identity for one in train}
        return Shape(len(train), sum(map(len, test.values())), len(classes), SIZE[0], 3)


@dataclass(frozen=True, kw_only=True)
class Market1501(Dataset):
    """Market-1501 (Zheng et al. 2015); with `split`, its training part alone, split by identity."""

    split: bool = False
    folders: tuple[str, ...] = ("Market-1501-v15.09.15", "Market-1501", "market1501")

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read the first of `folders` below `data_root`; PerturbError names what is missing."""
        candidates = [data_root / name for name in self.folders]
        folder = next((one for one in candidates if is_identity_folder(one)), None)
        if folder is None:
            raise PerturbError(
                f"Data set '{self.name}': no {TRAIN} in any of "
                f"{', '.join(str(one) for one in candidates)}. Get Market-1501-v15.09.15.zip from "
                f"its authors and unpack it in {data_root}."
            )
        missing = [name for name in (QUERY, GALLERY) if not (folder / name).is_dir()]
        if missing and not self.split:
            raise PerturbError(
                f"{folder}: without {' and '.join(missing)} there is nothing to evaluate the "
                "official way. Add them, or ask for the data set 'market1501_split', which splits "
                f"the identities of {TRAIN}."
            )
        read = IdentityFolder(name=self.name, folder=folder, always_split=self.split)
        return read.read(data_root, allow_partial)


@dataclass(frozen=True)
class Viper(Dataset):
    """VIPeR (Gray et al. 2007): one image of each of 632 people by each of two cameras.

    Half of the people train. The other half's images of camera a are the queries, those of camera
    b the gallery. Names are the person and the angle, `000_45.bmp`; the camera is the folder.
    """

    def read(self, data_root: Path, allow_partial: bool) -> Images:
        """Read `VIPeR/cam_a` and `cam_b` below `data_root`; PerturbError names what is missing."""
        folder = data_root / "VIPeR"
        sightings = []
        for number, camera in enumerate(("cam_a", "cam_b"), 1):
            paths = list(_files(folder / camera))
            if not paths:
                raise PerturbError(
                    f"Data set '{self.name}': no images in {folder / camera}. Unpack "
                    f"VIPeR.v1.0.zip so that {folder} has cam_a and cam_b."
                )
            for path in paths:
                person = path.name.partition("_")[0]
                if not person.isdecimal():
                    raise PerturbError(f"{path}: begins with no person's number, as 000_45.bmp.")
                sightings.append(Sighting(path, int(person) + 1, number))
        train, test = _split(sightings)
        every = [*test["query"], *test["gallery"]]
        test = {
            "query": sorted((one for one in every if one.camera == 1), key=lambda one: one.path),
            "gallery": sorted((one for one in every if one.camera == 2), key=lambda one: one.path),
        }
        files = {camera: digest(list(_files(folder / camera))) for camera in ("cam_a", "cam_b")}
        kind = "identity split, camera a finds camera b"
        return _images(train, test, (128, 48), kind, files)


MARKET1501 = Market1501(name="market1501", shape=Shape(12_936, 23_100, 751, 128, 3, 64))
MARKET1501_SPLIT = Market1501(name="market1501_split", split=True)
VIPER = Viper(name="viper", shape=Shape(632, 632, 316, 128, 3, 48))
