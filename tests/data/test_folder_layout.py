"""Folders as people have them: read as they are meant or refused by name, all else is told."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from perturb.data import load
from perturb.data.image_files import LARGEST_PIXELS, suffixes
from perturb.data.preparing import prepare_folder
from perturb.errors import PerturbError


def picture(seed=0, size=(24, 24), mode="RGB"):
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels)


def write(path, seed=0, **kinds):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, **kinds).save(path)
    return path


def write_classes(root, splits=("",), classes=("a", "b"), count=10, ending="png"):
    seed = 0
    for split in splits:
        for name in classes:
            for number in range(count):
                write(root / split / name / f"{number:02}.{ending}", seed := seed + 1)
    return root


def prepared(folder):
    out = folder.parent
    prepare_folder("mine", folder, npz=out / "d.npz", manifest=out / "d.json")
    return load(out / "d.npz", out / "d.json")


def manifest(folder):
    return prepared(folder).manifest


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "set"


@pytest.mark.parametrize(
    "ending", ["jfif", "JPG", "tiff", "webp", "tga", "jp2", "pbm", "qoi", "dib"]
)
def test_every_ending_that_pillow_decodes_is_read(folder, ending):
    write_classes(folder)
    for number in range(8):
        path = folder / "a" / f"w{number}.{ending}"
        kind = picture(number).convert("1") if ending == "pbm" else picture(number)
        kind.save(path)
    found = manifest(folder)
    assert found["class_counts"] == {"train": [14, 8], "test": [4, 2]} and not found["left_out"]


def test_endings_that_pillow_only_knows_are_left_out_and_named(folder):
    assert not {".h5", ".mpg", ".wmf", ".pdf"} & suffixes()
    write_classes(folder)
    stray = ["a/notes.txt", "b/Thumbs.db", "b/.DS_Store", "a/x.heic", "readme.md", "b/clip.mpg"]
    for name in stray:
        (folder / name).write_text("?")
    found = manifest(folder)["left_out"]
    assert sorted(path for of in found.values() for path in of["paths"]) == sorted(stray)
    assert found["hidden"] == {"count": 1, "paths": ["b/.DS_Store"]}
    assert found["beside the folders of classes"]["paths"] == ["readme.md"]


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("TRAIN", "Test"), ("trn", "tst"), ("seg_train", "seg_test")],
)
def test_other_spellings_of_splits_are_understood_and_told(folder, train, test):
    write_classes(folder, (train, test))
    found = manifest(folder)
    assert found["class_counts"] == {"train": [10, 10], "test": [10, 10]}
    assert any(train in note and test in note for note in found["notes"])


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (("train", "Training", "test"), "both folders of train"),
        (("train", "val"), "needs both train and test"),
        (("Testing", "dev"), "needs both train and test"),
        (("validation", "bird"), "needs both train and test"),
    ],
)
def test_splits_that_could_be_meant_in_two_ways_are_refused(folder, splits, message):
    write_classes(folder, splits)
    with pytest.raises(PerturbError, match=message):
        prepared(folder)


def test_a_class_that_has_the_word_of_a_split_is_a_class(folder):
    write_classes(folder, classes=("toy train", "test tube", "bird"))
    assert manifest(folder)["class_names"] == ["bird", "test tube", "toy train"]


@pytest.mark.parametrize("name", ["val", "Valid", "validation"])
def test_a_validation_folder_is_left_out_and_said(folder, name, capsys):
    write_classes(folder, ("train", "test", name, "extra"), count=5)
    found = manifest(folder)["left_out"]
    assert {reason: of["count"] for reason, of in found.items()} == {
        "in a folder that is neither train nor test": 10,
        "in a validation folder: validation images are drawn from train": 10,
    }
    assert f"{name}/a/00.png" in capsys.readouterr().err


def test_images_in_folders_inside_a_class_are_of_that_class_and_told(folder):
    write_classes(folder, count=4)
    for number in range(6):
        write(folder / "a" / "more" / "deep" / f"{number}.png", 100 + number)
    found = manifest(folder)
    assert [sum(split[0] for split in found["class_counts"].values())] == [10]
    assert found["notes"] == ["a: 6 of 10 images lie in folders inside the class folder, and are "
                              "of that class"]  # fmt: skip


def test_few_test_images_are_said_in_the_log(folder, capsys):
    write_classes(folder, count=10)
    prepared(folder)
    assert "mine: a test split of 4 images, of which one is 25.0 points of accuracy." in (
        capsys.readouterr().err
    )


def test_classes_a_level_deeper_than_their_groups_are_refused(folder):
    write_classes(folder / "animals", classes=("cat", "dog"))
    write_classes(folder / "vehicles", classes=("car", "van"))
    with pytest.raises(PerturbError, match=r"animals.*20 in folders inside it \(cat, dog\)"):
        prepared(folder)


@pytest.mark.parametrize("inside", ["data", "archive/data", "set/set"])
def test_a_distribution_one_folder_deeper_is_found(folder, inside):
    write_classes(folder / inside, ("train", "test"))
    found = manifest(folder)
    assert found["class_counts"] == {"train": [10, 10], "test": [10, 10]}
    assert found["notes"] == [f"read from {inside}, one folder deeper"]


def test_splits_that_hold_a_folder_of_their_name_are_read(folder):
    for split in ("seg_train", "seg_test"):
        write_classes(folder / split, (split,))
    assert manifest(folder)["class_counts"]["test"] == [10, 10]


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_that_cannot_be_in_every_split_is_refused(folder, count):
    write_classes(folder)
    write_classes(folder, classes=("lonely",), count=count)
    with pytest.raises(PerturbError, match=f"'lonely' has {count} image"):
        prepared(folder)


def test_a_small_class_is_in_every_split_or_refused(folder):
    for count in range(3, 9):
        write_classes(folder, classes=(f"c{count}",), count=count)
    write_classes(folder, classes=("large",), count=60)
    try:
        data = prepared(folder)
    except PerturbError as error:
        assert "too few for one of the 20 %" in str(error)
    else:
        held_out = data.train_labels[data.validation_indices]
        for labels in (data.train_labels, data.test_labels, held_out):
            assert set(labels) == set(range(7))


def test_a_class_whose_share_of_test_rounds_to_none_gets_an_image(folder):
    write_classes(folder, classes=("a", "b", "c", "d"), count=40)
    write_classes(folder, classes=("small",), count=6)
    assert min(manifest(folder)["class_counts"]["test"]) >= 1


def save_float(path, scale):
    values = np.random.default_rng(0).random((24, 24), dtype=np.float32) * scale
    Image.fromarray(values).save(path)


def save_deep(path):
    """A PNG of 16 bits a channel, 12 of them used: its upper bytes are black."""
    import struct
    import zlib

    values = np.random.default_rng(0).integers(0, 4096, (24, 24, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 24, 24, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("x.tif", lambda path: save_float(path, 1)),
        ("x.tiff", lambda path: save_float(path, 255)),
        ("x.png", lambda path: Image.fromarray(np.full((24, 24), 900, np.uint16)).save(path)),
        ("x.tif", lambda path: Image.fromarray(np.full((24, 24), 9, np.int32)).save(path)),
        ("x.png", save_deep),
    ],
)
def test_pixels_whose_black_and_white_nothing_tells_are_refused(folder, name, save):
    write_classes(folder)
    save(folder / "a" / name)
    with pytest.raises(PerturbError, match=r"a/x.*: pixels are (floats|.* bits).*Save it with 8"):
        prepared(folder)


def test_what_is_transparent_is_laid_on_white(folder):
    write_classes(folder)
    glyph = np.zeros((24, 24, 4), np.uint8)  # black, which only its opacity draws
    glyph[4:8, :, 3] = 255
    Image.fromarray(glyph).save(folder / "a" / "99.png")
    data = prepared(folder)
    assert data.manifest["notes"] == ["1 images with transparency, laid on white"]
    images = np.concatenate([data.train_images, data.test_images])
    assert any((image[4:8] == 0).all() and (image[8:] == 255).all() for image in images)


def test_images_of_one_colour_are_counted(folder):
    write_classes(folder)
    for number in range(3):
        Image.new("RGB", (24, 24), (number, 0, 0)).save(folder / "b" / f"flat{number}.png")
    assert manifest(folder)["one_colour"] == 3


def test_of_several_frames_the_first_is_read_and_told(folder):
    write_classes(folder)
    frames = [picture(n) for n in range(3)]
    frames[0].save(folder / "a" / "x.gif", save_all=True, append_images=frames[1:])
    assert "1 files of several frames, the first of which is read" in manifest(folder)["notes"]


@pytest.mark.parametrize("ending", ["jpg", "png", "pbm"])
def test_a_huge_image_is_read(folder, ending, monkeypatch):
    """Pillow takes more than twice the given number of pixels for an attack."""
    write_classes(folder)
    Image.new("L", (2000, 1000), 200).convert("1" if ending == "pbm" else "L").save(
        folder / "a" / f"huge.{ending}"
    )
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900_000)
    assert sum(manifest(folder)["counts"].values()) == 21
    assert Image.MAX_IMAGE_PIXELS == 900_000


def test_more_pixels_than_memory_holds_are_refused_and_not_called_corrupt(folder):
    write_classes(folder)
    side = int(LARGEST_PIXELS**0.5) + 1
    (folder / "a" / "bomb.pbm").write_bytes(b"P4 %d %d\n" % (side, side))
    with pytest.raises(PerturbError, match=r"bomb.pbm: 31,623 x 31,623 pixels are too many"):
        prepared(folder)


def test_a_broken_link_is_named(folder):
    write_classes(folder)
    os.symlink("nowhere.png", folder / "a" / "link.png")
    with pytest.raises(PerturbError, match=r"link.png: a link to a file that is not there"):
        prepared(folder)


def test_names_are_data(folder):
    write_classes(folder, ("train", "test"), classes=("b {x}", "é"))
    (folder / "test" / "é").rename(folder / "test" / "e\u0301")  # the same letter, in two marks
    assert manifest(folder)["class_names"] == ["b {x}", "é"]
    write(folder / "train" / "e\u0301" / "0.png")
    with pytest.raises(PerturbError, match="two forms of Unicode"):
        prepared(folder)


def test_the_manifest_says_which_files_leak(folder, capsys):
    write_classes(folder, ("train", "test"))
    (folder / "test" / "a" / "00.png").write_bytes((folder / "train" / "b" / "03.png").read_bytes())
    found = manifest(folder)["duplicates"]
    assert found["test_images_with_a_copy_in_train"] == {"count": 1, "equal": 1}
    assert found["under_two_labels"] == {"train": 1, "test": 1}
    assert found["examples"] == [{"agreement": 1.0, "images": ["train/b/03.png", "test/a/00.png"]}]
    assert "1 of 20 test images (5 %) have a copy" in capsys.readouterr().err
    assert json.loads((folder.parent / "d.json").read_text())["duplicates"] == found


def test_what_cannot_be_read_is_refused_by_name(folder, monkeypatch):
    """A test may run as root, who reads everything: the system's answer is put in its place."""
    write_classes(folder)
    closed = folder / "a" / "closed"
    closed.mkdir(parents=True, exist_ok=True)
    listdir, scandir = os.listdir, os.scandir

    def refusing(of):
        def look(path="."):
            if os.fspath(path) == str(closed):
                raise PermissionError(13, "Permission denied", str(closed))
            return of(path)

        return look

    monkeypatch.setattr(os, "listdir", refusing(listdir))
    monkeypatch.setattr(os, "scandir", refusing(scandir))
    with pytest.raises(PerturbError, match=r"a/closed cannot be read \(Permission denied\)"):
        prepared(folder)
