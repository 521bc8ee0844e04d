"""Hugging Face's parquet files as folders of images.

    python -m perturb.data.parquet SOURCE TARGET

Their layout (https://huggingface.co/docs/datasets/image_dataset): a column of images, structs of
`bytes` and `path`; a column of integers, the labels, whose names stand in the schema's metadata.
The split is in the file's name or its folder's. Every image is written as its bytes are.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from perturb.data.folder_layout import role_in, role_of
from perturb.errors import PerturbError

if TYPE_CHECKING:
    import pyarrow

LABELS = ("label", "fine_label", "labels")


def extract(source: Path, target: Path) -> dict[str, int]:
    """Write the images of `source`'s parquet files below `target`; return their number by split.

    `target`/<split>/<label>/<number>.<ending>. Raises PerturbError without pyarrow, where `target`
    is there, and for files that hold no images with labels.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise PerturbError("reading parquet files needs pyarrow: pip install pyarrow.") from None
    files = sorted(source.rglob("*.parquet"))
    if not files:
        raise PerturbError(f"{source}: no parquet files.")
    if target.exists():
        raise PerturbError(f"{target}: is there already. Name a new folder.")
    counts: dict[str, int] = {}
    for file in files:
        split = role_of(file.parent.name) or role_in(file.stem)
        if not split:
            raise PerturbError(
                f"{file}: neither its name nor its folder's says which split it is of. Rename it "
                "train-... or test-...."
            )
        table = parquet.read_table(file)
        image, label = _columns(table, file)
        names = _names(table, label)
        for row in table.select([image, label]).to_pylist():
            number = counts[split] = counts.get(split, 0) + 1
            name = names[row[label]] if names else str(row[label])
            folder = target / split / name.replace("/", "_")
            folder.mkdir(parents=True, exist_ok=True)
            content = row[image]["bytes"]
            if not content:
                raise PerturbError(f"{file}: image {number} is a path without its bytes.")
            (folder / f"{number:07}.{_ending(content, file)}").write_bytes(content)
    return counts


def _columns(table: pyarrow.Table, file: Path) -> tuple[str, str]:
    """Return the names of the columns of images and of labels."""
    fields = {field.name: str(field.type) for field in table.schema}
    images = [name for name, kind in fields.items() if kind.startswith("struct<bytes: binary")]
    labels = [name for name in LABELS if fields.get(name, "").startswith(("int", "uint"))]
    if len(images) != 1 or not labels:
        raise PerturbError(
            f"{file}: no one column of images with their bytes, and labels of integers "
            f"({' or '.join(LABELS)}), but {', '.join(f'{n} ({k})' for n, k in fields.items())}."
        )
    return images[0], labels[0]


def _names(table: pyarrow.Table, label: str) -> list[str]:
    """Return the labels' names, none where the file has none."""
    described: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = described.get("info", {}).get("features", {}).get(label, {})
    return list(feature.get("names", ()))


def _ending(content: bytes, file: Path) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return str(image.format).lower()
    except OSError:
        raise PerturbError(f"{file}: holds an image that Pillow cannot read.") from None


if __name__ == "__main__":
    try:
        for split, number in extract(*map(Path, sys.argv[1:3])).items():
            print(f"{split}: {number:,} images")
    except PerturbError as error:
        sys.exit(f"perturb: {error}")
