"""How a folder of images is laid out: its splits, its classes, and what of it is not read.

Nothing is left out in silence: what is, is listed with the reason, and what could be meant in two
ways is refused by name.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from perturb.data.image_files import suffixes
from perturb.errors import PerturbError

SPELLINGS = {
    "train": frozenset(("train", "training", "trn")),
    "test": frozenset(("test", "testing", "tst")),
    "validation": frozenset(("val", "valid", "validation", "validate", "dev")),
}
NO_IMAGE = "no image by its ending"
HIDDEN = "hidden"
OUTSIDE = "beside the folders of classes"
NO_SPLIT = "in a folder that is neither train nor test"
VALIDATION = "in a validation folder: validation images are drawn from train"
_DEEPEST = 3  # folders that hold one folder and nothing else


@dataclass(frozen=True)
class Layout:
    """The image files of a folder, by split (`train` alone where there is one) and class.

    `left_out` are the paths of all other files, relative to the folder, by reason; `notes` say
    what was read in a way that is worth knowing.
    """

    splits: dict[str, dict[str, list[Path]]]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def paths(self, split: str) -> list[Path]:
        """Return the files of a split, class after class."""
        return [path for paths in self.splits[split].values() for path in paths]


def find(name: str, folder: Path) -> Layout:
    """Return how `folder`, of the data set `name`, is laid out.

    Raises PerturbError where it is not, where it could be meant in two ways, for a class that has
    no image or is in one split only, and where something in it cannot be read.
    """
    try:
        return _find(name, folder)
    except OSError as error:
        raise PerturbError(
            f"Data set '{name}': {error.filename or folder} cannot be read ({error.strerror}), and "
            "nothing is left out unsaid. Give yourself the right to read it, or move it out of "
            f"{folder}."
        ) from None


def _find(name: str, folder: Path) -> Layout:
    if not folder.is_dir():
        raise PerturbError(
            f"Data set '{name}': no folder {folder}. Correct its path in the config under "
            "image_folders."
        )
    if packed := sorted(folder.rglob("*.parquet")):
        raise PerturbError(
            f"{folder}: {len(packed)} parquet files, as Hugging Face has them. Unpack them into "
            f"folders of images: python -m perturb.data.parquet {folder} NEW_FOLDER (needs "
            "pyarrow), and name the new folder under image_folders."
        )
    found = _Finder(folder)
    splits = found.splits()
    if len(splits["train"]) < 2:
        tables = sorted(folder.glob("*.csv"))
        if len(tables) == 1:
            raise PerturbError(
                f"{folder}: no folders of classes, but a table {tables[0].name}, as Kaggle has "
                "labels. Lay its images out by class: python -m perturb.data.labels_table "
                f"{tables[0]} FOLDER_OF_IMAGES NEW_FOLDER, and name the new folder under "
                "image_folders."
            )
        raise PerturbError(
            f"{folder}: needs at least two class folders with images in them (<class>/*, or "
            "train/<class>/* and test/<class>/*)."
        )
    left_out = {reason: sorted(paths) for reason, paths in sorted(found.left_out.items())}
    return Layout(splits, left_out, tuple(found.notes))


class _Finder:
    """Walks a folder once, and takes note of everything that is not read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out: dict[str, dict[str, None]] = {}
        self.notes: list[str] = []

    def splits(self) -> dict[str, dict[str, list[Path]]]:
        """Return the image files by split and class."""
        root = self._inside(self.folder, until_split=True)
        folders, files = self._listed(root)
        self._leave_out(files, OUTSIDE)
        roles = self._roles(root, folders)
        if not roles:
            return {"train": self._classes(root, folders)}
        for path in folders:
            if path not in roles.values():
                reason = VALIDATION if role_of(path.name) == "validation" else NO_SPLIT
                self._leave_out(_below(path), reason)
        splits = {role: self._split(roles[role]) for role in ("train", "test")}
        differing = sorted(set(splits["train"]) ^ set(splits["test"]))
        if differing:
            raise PerturbError(
                f"{root}: class folder '{differing[0]}' is in one of train and test only. Give "
                "both the same classes."
            )
        return {role: dict(sorted(classes.items())) for role, classes in splits.items()}

    def _roles(self, root: Path, folders: list[Path]) -> dict[str, Path]:
        """Return the folders of train and test; nothing where the folders are classes.

        One called exactly like a split is one. One that has the word in its name (`seg_train`) is
        where both splits are there, and nothing else is.
        """
        exact = {path: role for path in folders if (role := role_of(path.name))}
        worded = {path: role_in(path.name) for path in folders}
        roles = exact
        if not exact and {"train", "test"} <= set(worded.values()) <= {*SPELLINGS}:
            roles = {path: role for path, role in worded.items() if role}
        if not roles:
            return {}
        found: dict[str, Path] = {}
        for path, role in roles.items():
            if role in found:
                raise PerturbError(
                    f"{root}: {found[role].name} and {path.name} are both folders of {role}. "
                    "Merge or remove one."
                )
            found[role] = path
        if not {"train", "test"} <= found.keys():
            raise PerturbError(
                f"{root}: has {', '.join(sorted(p.name for p in roles))}, needs both train and "
                "test (or neither: then one folder a class, split 80/20)."
            )
        spelled = [p.name for role, p in found.items() if role != "validation" and p.name != role]
        if spelled:
            self.notes.append(f"folders of splits: {', '.join(spelled)}")
        return {role: found[role] for role in ("train", "test")}

    def _split(self, folder: Path) -> dict[str, list[Path]]:
        inside = self._inside(folder)
        folders, files = self._listed(inside)
        self._leave_out(files, OUTSIDE)
        return self._classes(inside, folders)

    def _classes(self, parent: Path, folders: list[Path]) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for folder in folders:
            name = unicodedata.normalize("NFC", folder.name)
            if name in found:
                raise PerturbError(
                    f"{parent}: two class folders are called '{name}', spelled in two forms of "
                    "Unicode. Merge them."
                )
            found[name] = self._images(folder)
        return found

    def _images(self, folder: Path) -> list[Path]:
        """Return the images of a class: those in its folder, and in the folders inside it."""
        files = list(_below(folder))
        images = [path for path in files if _kind(folder, path) == ""]
        for path in files:
            if reason := _kind(folder, path):
                self._leave_out([path], reason)
        deeper = [path for path in images if path.parent != folder]
        if not images:
            others = f" Of its {len(files)} files none is one by its ending." if files else ""
            raise PerturbError(
                f"{folder}: no images in this class folder.{others} Put images there (.png, .jpg "
                "and whatever else Pillow opens) or remove it."
            )
        if len(deeper) == len(images):
            names = sorted({path.relative_to(folder).parts[0] for path in deeper})
            raise PerturbError(
                f"{folder}: no images in this class folder itself, but {len(deeper)} in folders "
                f"inside it ({', '.join(names[:5])}). Are these the classes? Then give the folder "
                "above them, one for each split, under image_folders. Else move the images up."
            )
        if deeper:
            self.notes.append(
                f"{_relative(self.folder, folder)}: {len(deeper)} of {len(images)} images lie in "
                "folders inside the class folder, and are of that class"
            )
        # Those of the folder itself in their order, as ever.
        return sorted(images, key=lambda path: (path.parent != folder, path.as_posix()))

    def _inside(self, folder: Path, until_split: bool = False) -> Path:
        """Return the folder that everything is in: a distribution may be some folders deeper."""
        inside, passed = folder, []
        for _ in range(_DEEPEST):
            folders, files = self._listed(inside)
            images = any(_kind(inside, path) == "" for path in files)
            if len(folders) != 1 or images or (until_split and role_of(folders[0].name)):
                break
            passed += files
            inside = folders[0]
        if inside == folder or len(self._listed(inside)[0]) < 2:
            return folder
        self._leave_out(passed, OUTSIDE)
        self.notes.append(f"read from {_relative(self.folder, inside)}, one folder deeper")
        return inside

    def _listed(self, parent: Path) -> tuple[list[Path], list[Path]]:
        """Return the folders and the files of a folder; what is in hidden ones is left out."""
        folders, files = [], []
        for path in sorted(parent.iterdir()):
            if not path.is_dir():
                files.append(path)
            elif path.name.startswith("."):
                self._leave_out(_below(path), HIDDEN)
            else:
                folders.append(path)
        return folders, files

    def _leave_out(self, paths: Iterable[Path], reason: str) -> None:
        for path in paths:
            why = HIDDEN if path.name.startswith(".") else reason
            self.left_out.setdefault(why, {})[_relative(self.folder, path)] = None


def role_of(name: str) -> str:
    """Return the split that a folder is called after, in whatever spelling; "" where it is none."""
    plain = name.casefold()
    return next((role for role, names in SPELLINGS.items() if plain in names), "")


def role_in(name: str) -> str:
    """Return the one split whose name is a word of a folder's: `train` of `seg_train`, else ""."""
    words = re.split(r"[\W_\d]+", name.casefold())
    roles = {role_of(word) for word in words} - {""}
    return roles.pop() if len(roles) == 1 else ""


def _kind(folder: Path, path: Path) -> str:
    """Return why a file below a folder is no image to be read; "" where it is one."""
    if any(part.startswith(".") for part in path.relative_to(folder).parts):
        return HIDDEN
    return "" if path.suffix.lower() in suffixes() else NO_IMAGE


def _below(folder: Path) -> Iterable[Path]:
    """Yield every file below a folder, in order; links to folders inside it are files to us."""
    for where, folders, files in os.walk(folder, onerror=_raise):
        folders.sort()
        linked = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in sorted([*files, *linked]):
            yield Path(where, name)


def _raise(error: OSError) -> None:
    raise error


def _relative(folder: Path, path: Path) -> str:
    """Return a path as a manifest names it; what is not Unicode is escaped."""
    name = path.relative_to(folder).as_posix()
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
