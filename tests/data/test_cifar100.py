"""CIFAR-100 in its binary version: two labels a record, names in a file of text."""

import tarfile

import numpy as np
import pytest

from perturb.data import cifar100, load, prepare, registry
from perturb.data.cifar100 import BINARY, NAMES, RECORDS
from perturb.data.sources import md5
from perturb.errors import PerturbError


def records(count, seed):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
    fine = (np.arange(count) % 100).astype(np.uint8)
    return np.column_stack([fine // 5, fine, pixels]), pixels, fine


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A made-up distribution of 200 and 100 images, "official" with its own checksums."""
    folder = tmp_path / "root" / BINARY.folder
    folder.mkdir(parents=True)
    (folder / NAMES).write_text("".join(f"name {n}\n" for n in range(100)) + "\n")
    for name, count in (("train.bin", 200), ("test.bin", 100)):
        (folder / name).write_bytes(records(count, seed=count)[0].tobytes())
        monkeypatch.setitem(BINARY.md5, name, md5((folder / name).read_bytes()))
        monkeypatch.setitem(RECORDS, name, count)
    return folder


def read(root, partial=False):
    out = root.parent
    prepare("cifar100", root, npz=out / "d.npz", manifest=out / "d.json", allow_partial=partial)
    return load(out / "d.npz", out / "d.json")


@pytest.mark.parametrize("form", ["folder", "archive", "one folder deeper"])
def test_images_fine_labels_and_names_are_those_of_the_files(folder, form):
    root = folder.parent
    if form == "archive":
        with tarfile.open(root / BINARY.archive, "w:gz") as tar:
            tar.add(folder, arcname=BINARY.folder)
        folder.rename(root.parent / "elsewhere")
    if form == "one folder deeper":
        root.rename(root.parent / "deep")
        root.mkdir()
        (root.parent / "deep").rename(root / "download")
    data = read(registry.root_of("cifar100", root))
    _, pixels, fine = records(200, seed=200)
    np.testing.assert_array_equal(data.train_labels, fine)
    np.testing.assert_array_equal(
        data.train_images[7], pixels[7].reshape(3, 32, 32).transpose(1, 2, 0)
    )
    assert data.manifest["class_names"][:2] == ["name 0", "name 1"]
    assert data.manifest["source"]["kind"] == "binary" and not data.manifest["partial"]


def test_two_folders_that_hold_it_are_refused_by_name(folder):
    root = folder.parent.parent
    (root / "other" / BINARY.folder).mkdir(parents=True)
    with pytest.raises(PerturbError, match="other, root each hold cifar100"):
        registry.root_of("cifar100", root)


@pytest.mark.parametrize("name", ["cifar10", "digits", "birds"])
def test_where_nothing_is_deeper_the_root_is_the_root(tmp_path, name):
    assert registry.root_of(name, tmp_path) == tmp_path


def test_fewer_records_are_partial_and_must_be_asked_for(folder, monkeypatch):
    path = folder / "train.bin"
    path.write_bytes(path.read_bytes()[: 150 * 3074])
    with pytest.raises(PerturbError, match=r"train.bin: corrupt.*It holds 150 of 200 images"):
        read(folder.parent)
    assert read(folder.parent, partial=True).manifest["partial"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.bin", b"0" * 3073, "3073 bytes is no whole number of 3074-byte records"),
        ("test.bin", b"", "0 bytes is no whole number"),
        ("test.bin", b"\xff" * 3074, "labels from 255 to 255"),
        (NAMES, b"a\nb\n", "2 names of classes, not the 100"),
        (NAMES, b"a\n" * 100, "100 names of classes, not the 100"),
    ],
)
def test_files_of_something_else_are_refused(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(PerturbError, match=message):
        read(folder.parent, partial=True)


def test_the_incomplete_python_version_gives_way_to_the_whole_binary_one(folder):
    (folder.parent / "cifar-100-python").mkdir()
    assert read(folder.parent).manifest["source"]["kind"] == "binary"


def test_both_versions_are_told_of_where_there_is_none(tmp_path, no_network):
    with pytest.raises(PerturbError, match=r"(?s)cifar-100-python.*cifar-100-binary"):
        read(tmp_path / "nothing")
    assert cifar100.CIFAR100.records["train"] == 50_000
