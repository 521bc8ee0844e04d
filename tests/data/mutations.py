"""Folders of images, changed at random as people's are: read rightly, refused by name, or told.

    PYTHONPATH=src:. python -m tests.data.mutations 500

prints how many of each change were read, refused and told. What holds of every folder: each of its
files is read or is listed with a reason; each class has the images that it should; what a change
must be told of, the manifest says; what is refused is refused by the name of a file or folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image

from perturb.data import load
from perturb.data.preparing import prepare_folder
from perturb.errors import PerturbError

CLASSES = ("ant", "bee", "cat")


@dataclass(frozen=True)
class Expected:
    """What a change must come to: `read`, `told` by a key of the manifest, or `refused`."""

    outcome: str
    key: str = ""
    added: int = 0  # images more (or fewer) than before


class Folder:
    """A folder in the making, and the generator that changes it."""

    def __init__(self, root: Path, generator: np.random.Generator) -> None:
        self.root, self.generator = root, generator
        self.split = bool(generator.integers(2))
        self.splits = ("train", "test") if self.split else ("",)
        for split in self.splits:
            for name in CLASSES:
                for number in range(int(generator.integers(9, 14))):
                    self.write(root / split / name / f"{number:02}.png")

    def picture(self) -> Image.Image:
        noise = self.generator.normal(0, 1, (3, 24, 24)).cumsum(1).cumsum(2)
        noise = (noise - noise.mean()) / noise.std() + self.generator.normal(0, 0.5, noise.shape)
        return Image.fromarray(
            np.clip(128 + 45 * noise, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        )

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.picture().save(path)
        return path

    def classes(self) -> list[Path]:
        return [self.root / split / name for split in self.splits for name in CLASSES]

    def one(self, items: list[Path]) -> Path:
        return items[int(self.generator.integers(len(items)))]

    def a_class(self) -> Path:
        return self.one(self.classes())

    def an_image(self, folder: Path | None = None) -> Path:
        return self.one(sorted((folder or self.a_class()).glob("*.png")))


def stray(f: Folder) -> Expected:
    names = ["notes.txt", "Thumbs.db", "labels.csv", "x.heic", "clip.mpg", "a b{c}"]
    name = f.generator.choice(names)
    (f.one([*f.classes(), f.root]) / str(name)).write_text("?")
    return Expected("told", "left_out")


def hidden(f: Folder) -> Expected:
    shutil.copy(f.an_image(), f.a_class() / "._x.png")
    return Expected("told", "left_out")


def outside(f: Folder) -> Expected:
    f.write(f.root / "cover.png")
    return Expected("told", "left_out")


def nested(f: Folder) -> Expected:
    folder = f.a_class()
    for path in sorted(folder.iterdir())[: int(f.generator.integers(1, 6))]:
        (folder / "more").mkdir(exist_ok=True)
        path.rename(folder / "more" / path.name)
    return Expected("told", "notes")


def all_nested(f: Folder) -> Expected:
    folder = f.a_class()
    files = sorted(folder.iterdir())
    (folder / "more").mkdir()
    for path in files:
        path.rename(folder / "more" / path.name)
    return Expected("refused")


def other_ending(f: Folder) -> Expected:
    for _ in range(3):
        path = f.an_image()
        image = Image.open(path)
        image.load()
        ending = str(f.generator.choice(["JPG", "jfif", "tif", "webp", "bmp", "ppm", "tga", "PNG"]))
        path.unlink()
        image.save(path.with_name(f"{path.stem}_x.{ending}"))
    return Expected("read")


def other_mode(f: Folder) -> Expected:
    path = f.an_image()
    mode = str(f.generator.choice(["L", "CMYK", "YCbCr", "P", "1"]))
    ending = {"CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")
    image = Image.open(path).convert(mode)
    path.unlink()
    image.save(path.with_suffix(f".x.{ending}"))
    return Expected("read")


def transparent(f: Folder) -> Expected:
    path = f.an_image()
    image = Image.open(path).convert("RGBA")
    image.putalpha(100)
    image.save(path)
    return Expected("told", "notes")


def frames(f: Folder) -> Expected:
    f.picture().save(f.a_class() / "x.gif", save_all=True, append_images=[f.picture()])
    return Expected("told", "notes", added=1)


def flat(f: Folder) -> Expected:
    Image.new("RGB", (24, 24), (10, 200, 30)).save(f.an_image())
    return Expected("told", "one_colour")


def wide(f: Folder) -> Expected:
    values = f.generator.random((24, 24))
    kind = int(f.generator.integers(3))
    folder = f.a_class()
    if kind == 0:
        Image.fromarray(values.astype(np.float32)).save(folder / "x.tif")
    elif kind == 1:
        Image.fromarray((values * 4095).astype(np.uint16)).save(folder / "x.png")
    else:
        Image.fromarray((values * 4095).astype(np.int32)).save(folder / "x.tiff")
    return Expected("refused")


def damaged(f: Folder) -> Expected:
    path = f.an_image()
    content = path.read_bytes()
    path.write_bytes(content[: int(f.generator.integers(0, len(content) // 2))])
    return Expected("refused")


def broken_link(f: Folder) -> Expected:
    os.symlink("nowhere", f.a_class() / "link.png")
    return Expected("refused")


def small_class(f: Folder) -> Expected:
    for split in f.splits:
        f.write(f.root / split / "dog" / "0.png")
    return Expected("refused")


def empty_class(f: Folder) -> Expected:
    (f.root / f.splits[-1] / "dog").mkdir()
    return Expected("refused")


def equal_copy(f: Folder) -> Expected:
    source, folder = f.an_image(), f.a_class()
    shutil.copy(source, folder / "copy.png")
    return Expected("told", "duplicates", added=1)


def copy_anew(f: Folder) -> Expected:
    Image.open(f.an_image()).save(f.a_class() / "copy.jpg", quality=85)
    return Expected("told", "duplicates", added=1)


def deeper(f: Folder) -> Expected:
    inside = f.root.with_name("inside")
    f.root.rename(inside)
    f.root.mkdir()
    inside.rename(f.root / "data")
    return Expected("told", "notes")


def spelled(f: Folder) -> Expected:
    if not f.split:
        return stray(f)
    train, test = (("Training", "Testing"), ("TRAIN", "TEST"), ("seg_train", "seg_test"))[
        int(f.generator.integers(3))
    ]
    (f.root / "train").rename(f.root / "t_")
    (f.root / "t_").rename(f.root / train)
    (f.root / "test").rename(f.root / "u_")
    (f.root / "u_").rename(f.root / test)
    return Expected("told", "notes")


def validation(f: Folder) -> Expected:
    name = str(f.generator.choice(["val", "Valid", "validation", "dev"]))
    for kind in CLASSES:
        f.write(f.root / name / kind / "0.png")
    return Expected("told", "left_out") if f.split else Expected("refused")


def one_split(f: Folder) -> Expected:
    f.write(f.root / f.splits[0] / "dog" / "0.png")
    return Expected("refused")


def unicode_name(f: Folder) -> Expected:
    for split in f.splits:
        (f.root / split / "cat").rename(f.root / split / "café {0}\u0301")
    return Expected("read")


CHANGES: tuple[Callable[[Folder], Expected], ...] = (
    stray, hidden, outside, nested, all_nested, other_ending, other_mode, transparent, frames,
    flat, wide, damaged, broken_link, small_class, empty_class, equal_copy, copy_anew, deeper,
    spelled, validation, one_split, unicode_name,
)  # fmt: skip


def check(seed: int, folder: Path) -> tuple[str, str]:
    """Change a new folder and prepare it; return the change and what came of it, else raise."""
    generator = np.random.default_rng(seed)
    made = Folder(folder / "set", generator)
    before = sum(1 for path in made.root.rglob("*") if path.is_file())
    change = CHANGES[seed % len(CHANGES)]
    expected = change(made)
    files = [p for p in made.root.rglob("*") if not p.is_dir()]
    try:
        prepare_folder("mine", made.root, npz=folder / "d.npz", manifest=folder / "d.json")
    except PerturbError as error:
        assert expected.outcome == "refused", (seed, change.__name__, error)
        assert str(made.root) in str(error) or "class '" in str(error), (seed, error)
        return change.__name__, "refused"
    data = load(folder / "d.npz", folder / "d.json")
    assert expected.outcome != "refused", (seed, change.__name__)
    manifest = data.manifest
    read = sum(manifest["counts"].values())
    left_out = sum(found["count"] for found in manifest["left_out"].values())
    assert read + left_out == len(files), (seed, change.__name__, read, left_out, len(files))
    wanted = before + expected.added
    assert read == wanted, (seed, change.__name__, read, wanted)
    assert len(manifest["class_names"]) == len(CLASSES)
    images = np.concatenate([data.train_images, data.test_images])
    assert (images.reshape(len(images), -1).max(1) > 0).all(), (seed, "a black image")
    said = manifest["duplicates"]["pairs"] if expected.key == "duplicates" else None
    told = said if said is not None else manifest.get(expected.key)
    if expected.outcome == "told":
        assert told, (seed, change.__name__, expected.key)
        return change.__name__, "told"
    assert not manifest["left_out"] and not manifest["duplicates"]["pairs"], (seed, manifest)
    return change.__name__, "read"


def run(count: int) -> Counter[tuple[str, str]]:
    """Return how often each change had which outcome, over seeds 0 to `count` - 1."""
    found: Counter[tuple[str, str]] = Counter()
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
            found[check(seed, Path(folder))] += 1
    return found


if __name__ == "__main__":
    outcomes = run(int(sys.argv[1]))
    for (change, outcome), number in sorted(outcomes.items()):
        print(f"{change:14} {outcome:8} {number}")
    totals = Counter(outcome for (_, outcome), n in outcomes.items() for _ in range(n))
    print(dict(totals), "changed in silence: 0")
