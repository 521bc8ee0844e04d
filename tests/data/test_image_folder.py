import numpy as np
import pytest
from PIL import Image

from perturb.data import load, prepare
from perturb.data.remarks import of_manifest
from perturb.errors import PerturbError


def write_images(folder, count, size=(16, 16), mode="RGB", seed=0):
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    for i in range(count):
        pixels = generator.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def prepared(folder, out, name="mydata"):
    prepare(name, "nowhere", npz=out / "d.npz", manifest=out / "d.json", folder=folder)
    return load(out / "d.npz", out / "d.json")


def test_one_level_is_split_by_class(tmp_path):
    write_images(tmp_path / "set" / "cat", 20, seed=1)
    write_images(tmp_path / "set" / "dog", 10, seed=2)
    (tmp_path / "set" / "dog" / "notes.txt").write_text("not an image")
    data = prepared(tmp_path / "set", tmp_path)
    manifest = data.manifest
    assert manifest["dataset"] == "mydata" and manifest["class_names"] == ["cat", "dog"]
    assert manifest["class_counts"] == {"train": [16, 8], "test": [4, 2]}
    assert (manifest["image_size"], manifest["channels"], manifest["crop_padding"]) == (16, 3, 2)
    assert sorted(manifest["source"]["files"]) == ["cat", "dog"]
    assert str(tmp_path) not in (tmp_path / "d.json").read_text()


def test_two_levels_keep_the_split_and_the_pixels(tmp_path):
    for split, count in (("train", 12), ("test", 3)):
        for number, name in enumerate("ab"):
            write_images(tmp_path / "set" / split / name, count, mode="L", seed=number)
    data = prepared(tmp_path / "set", tmp_path)
    assert data.manifest["class_counts"] == {"train": [12, 12], "test": [3, 3]}
    assert data.manifest["channels"] == 1
    with Image.open(tmp_path / "set" / "test" / "b" / "1.png") as image:
        np.testing.assert_array_equal(data.test_images[4, ..., 0], np.asarray(image))


def test_images_are_resized_to_one_square(tmp_path):
    write_images(tmp_path / "set" / "a", 5, size=(50, 45))
    write_images(tmp_path / "set" / "b", 5, size=(45, 70), mode="L")
    data = prepared(tmp_path / "set", tmp_path)
    assert data.train_images.shape[1:] == (40, 40, 3)


def test_large_images_become_64_pixels_wide(tmp_path):
    for name in "ab":
        write_images(tmp_path / "set" / name, 5, size=(200, 100))
    assert prepared(tmp_path / "set", tmp_path).manifest["image_size"] == 64


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_a_corrupt_image_is_named(tmp_path, damage):
    for name in "ab":
        write_images(tmp_path / "set" / name, 5)
    path = tmp_path / "set" / "b" / "3.png"
    path.write_bytes(path.read_bytes()[:200] if damage == "truncated" else b"text")
    with pytest.raises(PerturbError, match=r"3.png: corrupt image"):
        prepared(tmp_path / "set", tmp_path)


def test_layouts_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(PerturbError, match="no folder"):
        prepared(tmp_path / "absent", tmp_path)
    write_images(tmp_path / "one" / "a", 3)
    with pytest.raises(PerturbError, match="at least two class folders"):
        prepared(tmp_path / "one", tmp_path)
    (tmp_path / "one" / "b").mkdir()
    with pytest.raises(PerturbError, match="no images in this class folder"):
        prepared(tmp_path / "one", tmp_path)
    write_images(tmp_path / "half" / "train" / "a", 3)
    with pytest.raises(PerturbError, match="needs both train and test"):
        prepared(tmp_path / "half", tmp_path)
    write_images(tmp_path / "half" / "test" / "b", 3)
    with pytest.raises(PerturbError, match="one of train and test only"):
        prepared(tmp_path / "half", tmp_path)


def test_a_built_in_name_is_refused(tmp_path):
    with pytest.raises(PerturbError, match="'digits' is a built-in data set"):
        prepared(tmp_path, tmp_path, name="digits")


def test_too_few_images_are_refused(tmp_path):
    for name in "ab":
        write_images(tmp_path / "set" / name, 1)
    with pytest.raises(PerturbError, match="too few"):
        prepared(tmp_path / "set", tmp_path)


def test_a_test_split_that_was_drawn_is_said_to_be(tmp_path):
    said = "the test split is a random fifth of each class, drawn by perturb"
    for folders, drawn in ((("",), True), (("train/", "test/"), False)):
        folder = tmp_path / f"set{len(folders)}"
        for number, place in enumerate(folders):
            for name in "ab":
                write_images(folder / f"{place}{name}", 10, seed=number)
        manifest = prepared(folder, tmp_path).manifest
        found = [text for text in of_manifest(manifest) if text.startswith(said)]
        assert len(found) == drawn
        assert all("one person or one scene may stand on both sides" in text for text in found)
    assert not of_manifest({"source": {"kind": "scikit-learn load_digits", "files": {"d": ""}}})
