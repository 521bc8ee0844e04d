"""Parquet files as Hugging Face writes them become folders of images; read where pyarrow is."""

import json

import pytest

from perturb.data import folder_layout
from perturb.data.parquet import extract
from perturb.errors import PerturbError

from .test_duplicates import scenes
from .test_folder_layout import manifest


def write(folder, splits=("train", "test"), label="label", named=True):
    """Write ten images a class and split, as `datasets` does."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder.mkdir(parents=True)
    for seed, split in enumerate(splits):
        import io

        from PIL import Image

        rows = []
        for image in scenes(20, seed=seed):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            rows.append({"bytes": buffer.getvalue(), "path": None})
        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        columns = {"image": pyarrow.array(rows, kind), label: [n % 2 for n in range(20)]}
        features = {label: {"names": ["ant", "bee"], "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features if named else {}}})}
        table = pyarrow.table(columns).replace_schema_metadata(metadata)
        parquet.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize(("label", "named"), [("label", True), ("fine_label", False)])
def test_images_labels_and_names_are_those_of_the_files(tmp_path, label, named):
    found = extract(write(tmp_path / "hf" / "data", label=label, named=named), tmp_path / "set")
    assert found == {"test": 20, "train": 20}
    said = manifest(tmp_path / "set")
    assert said["class_names"] == (["ant", "bee"] if named else ["0", "1"])
    assert said["class_counts"] == {"train": [10, 10], "test": [10, 10]}


def test_a_file_of_no_split_or_no_labels_is_refused(tmp_path):
    with pytest.raises(PerturbError, match="says which split"):
        extract(write(tmp_path / "a", splits=("part",)), tmp_path / "x")
    with pytest.raises(PerturbError, match="labels of integers"):
        extract(write(tmp_path / "b", label="kind"), tmp_path / "y")


def test_as_a_folder_of_images_they_are_refused_with_the_command(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(PerturbError, match=r"python -m perturb\.data\.parquet"):
        folder_layout.find("mine", tmp_path)
