"""Copies are found whatever was done to them, look-alikes are not; CIFAR-10's beside ciFAIR's."""

import io

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance

from perturb.data import duplicates, load, prepare
from perturb.data.preparing import find_duplicates, prepare_folder
from perturb.errors import PerturbError
from perturb.files import read_json


def scenes(count, side=32, seed=0):
    """Made-up photographs, uint8 [count, side, side, 3]: noise of all scales, its spectrum 1/f."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(generator.standard_normal((count, 3, side, side))) / frequency
    values = np.fft.ifft2(spectrum).real
    values -= values.mean(axis=(2, 3), keepdims=True)
    values /= values.std(axis=(2, 3), keepdims=True)
    return np.clip(128 + 50 * values, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def jpeg(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


COPIES = {
    "equal": lambda image: image,
    "jpeg 70": lambda image: jpeg(image, 70),
    "brighter": lambda image: np.asarray(
        ImageEnhance.Brightness(Image.fromarray(image)).enhance(1.3)
    ),
    "less contrast": lambda image: np.asarray(
        ImageEnhance.Contrast(Image.fromarray(image)).enhance(0.6)
    ),
    "grey": lambda image: np.repeat(image.mean(-1, keepdims=True).astype(np.uint8), 3, axis=-1),
    "moved": lambda image: np.roll(image, (2, -1), axis=(0, 1)),
    "framed": lambda image: np.pad(image[2:-2, 2:-2], ((2, 2), (2, 2), (0, 0))),
    "noisy": lambda image: np.clip(
        image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255
    ).astype(np.uint8),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_whatever_was_done_to_it(kind):
    images = scenes(300)
    copies = np.stack([COPIES[kind](image) for image in images[:20]])
    found = duplicates.find(np.concatenate([images, copies]))
    expected = {(n, 300 + n) for n in range(20)}
    pairs = set(map(tuple, found.pairs.tolist()))
    assert pairs <= expected and len(pairs) >= 19
    assert (found.agreement == 1).all() == (kind == "equal")


def test_of_images_of_their_own_none_is_a_copy():
    assert not len(duplicates.find(scenes(800)).pairs)


def test_many_copies_of_one_image_are_one_group():
    images = scenes(100)
    copies = np.stack([jpeg(images[0], quality) for quality in range(60, 96, 5)])
    found = duplicates.find(np.concatenate([images, copies]))
    assert len(set(found.groups(108)[[0, *range(100, 108)]])) == 1
    assert len(set(found.groups(108))) == 100


def test_images_that_are_alike_by_nature_must_agree_almost_wholly():
    """Shapes of one outline, as digits and clothes: alike, and no copies."""
    disk = np.hypot(*np.mgrid[-16:16, -16:16]) < 10
    generator = np.random.default_rng(0)
    shapes = [
        scipy.ndimage.gaussian_filter(disk + 0.15 * generator.standard_normal((32, 32)), 0.7)
        for _ in range(200)
    ]
    images = np.clip(200 * np.stack(shapes), 0, 255).astype(np.uint8)[..., None]
    found = duplicates.find(np.concatenate([images, images[:1], images[:3] // 2]))
    assert found.threshold == duplicates.AGREEING_ALIKE and "alike" in found.why
    pairs = set(map(tuple, found.pairs.tolist()))
    assert (0, 200) in pairs and pairs <= {(n, 201 + n) for n in range(3)} | {(0, 200), (200, 201)}


def test_small_images_are_compared_by_their_pixels_only():
    images = scenes(30, side=8)
    found = duplicates.find(np.concatenate([images, images[3:5], images[:5] // 2]))
    assert found.pairs.tolist() == [[3, 30], [4, 31]] and found.threshold is None


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_images_is_compared(count):
    images = scenes(count)
    assert len(duplicates.find(np.concatenate([images, images])).pairs) == count


def test_what_copies_mean_for_each_split():
    images = scenes(12)
    train, test = images[:8].copy(), images[8:].copy()
    labels, test_labels = np.arange(8) % 2, np.arange(4) % 2
    train[3], train[4] = train[1], jpeg(train[7], 90)  # 1 and 3 alike; 4 and 7, of two labels
    test[0], test[3] = train[1], test[2]  # of another label both
    found = duplicates.leakage_of(train, labels, test, test_labels)
    assert found.seen.tolist() == [0] == found.seen_equal.tolist()
    assert found.surplus_train.tolist() == [3, 7] and found.surplus_test.tolist() == [3]
    assert found.disputed_train.tolist() == [1, 3, 4, 7]
    assert found.disputed_test.tolist() == [0, 2, 3]


def write_folder(root, copies=2):
    """Two classes of ten images; the first test images of each are JPEGs of train images."""
    for split, seed in (("train", 1), ("test", 2)):
        for number, name in enumerate("ab"):
            (root / split / name).mkdir(parents=True)
            for n, image in enumerate(scenes(10, seed=10 * seed + number)):
                Image.fromarray(image).save(root / split / name / f"{n}.png")
    for name in "ab":
        for n in range(copies):
            image = Image.open(root / "train" / name / f"{n}.png")
            image.save(root / "test" / name / f"copy{n}.jpg", quality=70)
    return root


def prepared(name, root):
    out = root.parent
    prepare_folder(name, root, npz=out / f"{name}.npz", manifest=out / f"{name}.json")
    return load(out / f"{name}.npz", out / f"{name}.json")


def test_the_option_drops_them(tmp_path):
    root = write_folder(tmp_path / "set")
    whole = prepared("mine", root)
    assert whole.manifest["duplicates"]["test_images_with_a_copy_in_train"]["count"] == 4
    left = prepared("mine_duplicates-dropped", root)
    assert left.manifest["counts"] == {"train": 20, "test": 20}
    assert not left.manifest["duplicates"]["pairs"]
    assert {i.tobytes() for i in left.test_images} <= {i.tobytes() for i in whole.test_images}
    noisy = prepared("mine_duplicates-dropped_noise-0.4", root)
    np.testing.assert_array_equal(noisy.train_true_labels, left.train_labels)


def test_where_no_test_image_is_left_the_option_says_so(tmp_path):
    root = write_folder(tmp_path / "set")
    for path in (root / "test" / "b").iterdir():
        path.unlink()
    Image.open(root / "train" / "b" / "1.png").save(root / "test" / "b" / "1.png")
    with pytest.raises(PerturbError, match="every test image of class 'b' is a copy"):
        prepared("mine_duplicates-dropped", root)


def test_the_file_of_a_data_set_names_the_test_images_that_were_seen(tmp_path):
    prepared("mine", write_folder(tmp_path / "set"))
    find_duplicates(tmp_path / "mine.npz", tmp_path / "mine.json", tmp_path / "found.json")
    found = read_json(tmp_path / "found.json", "")
    data = load(tmp_path / "mine.npz", tmp_path / "mine.json")
    assert len(found["seen_test_images"]) == 4
    assert found["data_sha256"] == data.manifest["sha256"]
    assert "4 of 24 test images (16.7 %) have a copy among the train images" in found["remarks"][0]
    assert found["examples"][0]["images"][1].startswith(("test/a/copy", "test/b/copy"))


def test_manifest_and_data_of_built_in_sets_stay_as_they_were(tmp_path):
    """Their hashes are those of runs that are finished (contract 11)."""
    prepare("digits", ".", npz=tmp_path / "d.npz", manifest=tmp_path / "d.json")
    manifest = read_json(tmp_path / "d.json", "")
    assert not {"duplicates", "left_out", "notes"} & manifest.keys()
    assert manifest["sha256"] == DIGITS


DIGITS = "639d33c69d3a715c7cec568ad23122f89a52b5fe9e39f6e9b27e3e6962261d34"
