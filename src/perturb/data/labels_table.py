"""A folder of images and a table of their labels, as Kaggle has them, as folders of classes.

    python -m perturb.data.labels_table TABLE IMAGES TARGET

`TABLE` is a CSV file with a head: a column of images, each the file's name or what stands before
its ending, and a column of labels. `IMAGES` is the folder that has the files. They are linked, or
copied where they cannot be: `TARGET`/<label>/<file>.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from perturb.data.image_files import suffixes
from perturb.errors import PerturbError

IMAGES = ("id", "image", "image_id", "file", "filename", "file_name", "name", "path")
LABELS = ("label", "class", "category", "target", "breed", "species")


def lay_out(table: Path, images: Path, target: Path) -> tuple[dict[str, int], list[str]]:
    """Put the images of `table` below `target`; return their number by label, and what is left out.

    Raises PerturbError where `target` is there, for a table without one column of each kind, an
    image that stands twice, has no label or no file, and two files that one name could mean.
    """
    if target.exists():
        raise PerturbError(f"{target}: is there already. Name a new folder.")
    rows = _rows(table)
    files = _files(images)
    missing = [name for name in rows if name not in files]
    if missing:
        raise PerturbError(
            f"{table}: {len(missing)} of {len(rows)} images are not in {images}, '{missing[0]}' "
            "the first. Name the folder that has them."
        )
    for name in rows:
        if len(files[name]) > 1:
            raise PerturbError(
                f"{table}: '{name}' could be {' or '.join(map(str, files[name][:2]))}. Give the "
                "names with their endings, or the images one folder."
            )
    counts: dict[str, int] = {}
    used = set()
    for name, label in rows.items():
        (file,) = files[name]
        folder = target / label.replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        _link(file, folder / file.name)
        used.add(file)
        counts[label] = counts.get(label, 0) + 1
    unlabelled = {file for found in files.values() for file in found} - used
    return dict(sorted(counts.items())), sorted(str(file) for file in unlabelled)


def _rows(table: Path) -> dict[str, str]:
    """Return each image's label, by the image's name in the table."""
    try:
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise PerturbError(f"{table}: cannot be read as CSV ({error}).") from None
    image, label = (_column(table, list(frame), kind) for kind in (IMAGES, LABELS))
    names, labels = (frame[column].str.strip() for column in (image, label))
    for what, wrong in (("stands twice", names.duplicated()), ("has no label", labels == "")):
        if wrong.any():
            raise PerturbError(f"{table}: image '{names[wrong].iloc[0]}' {what}.")
    return dict(zip(names, labels, strict=True))


def _column(table: Path, columns: Sequence[str], known: Sequence[str]) -> str:
    """Return the one column that is called as one of `known`."""
    found = [column for column in columns if column.strip().lower() in known]
    if len(found) != 1:
        raise PerturbError(
            f"{table}: needs one column called {', '.join(known[:-1])} or {known[-1]}, has "
            f"{', '.join(columns)}. Rename one."
        )
    return found[0]


def _files(images: Path) -> dict[str, list[Path]]:
    """Return the image files below a folder by their names, with and without their endings."""
    found: dict[str, list[Path]] = {}
    for path in sorted(images.rglob("*")):
        if path.suffix.lower() in suffixes() and path.is_file():
            for name in {path.name, path.stem, path.relative_to(images).as_posix()}:
                found.setdefault(name, []).append(path)
    return found


def _link(file: Path, link: Path) -> None:
    try:
        os.link(file, link)
    except FileExistsError:
        raise PerturbError(f"{link}: two images of one class have this name.") from None
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(file, link)


if __name__ == "__main__":
    try:
        counted, unlabelled = lay_out(*map(Path, sys.argv[1:4]))
    except PerturbError as error:
        sys.exit(f"perturb: {error}")
    for label, number in counted.items():
        print(f"{label}: {number:,} images")
    if unlabelled:
        print(f"left out, without a label: {len(unlabelled):,} images, {unlabelled[0]} the first")
