import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perturb.data import load, prepare, registry
from perturb.data.identities import split_identities
from perturb.data.identity_folder import IdentityFolder, sightings_in
from perturb.data.noise import noisy_labels
from perturb.errors import PerturbError
from perturb.retrieval import evaluate

REAL = Path(os.environ.get("PERTURB_TEST_DATA", "nowhere"))
needs_market = pytest.mark.skipif(
    not (REAL / "Market-1501-v15.09.15").is_dir(), reason="PERTURB_TEST_DATA has no Market-1501"
)


def write(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 128), (number, 0, 0)).save(path)


def pixels(images) -> float:
    """Return the rank-1 rate of the pixels themselves, by the data's own cameras."""
    features = images.test_images.reshape(len(images.test_labels), -1) - 127.0
    is_query, ids = images.sightings.test_is_query, images.test_labels
    cameras = images.sightings.test_cameras
    found = evaluate(
        features[is_query],
        features[~is_query],
        ids[is_query],
        ids[~is_query],
        cameras[is_query],
        cameras[~is_query],
    )
    return found.cmc[1]


def test_photo_patches(tmp_path):
    paths = {"npz": tmp_path / "data.npz", "manifest": tmp_path / "manifest.json"}
    prepare("photo_patches_noise-0.5", tmp_path, **paths)
    data = load(**paths)
    assert data.train_images.shape == data.test_images.shape == (768, 32, 32, 3)
    assert (data.train_labels != data.train_true_labels).sum() == 384
    assert sorted(np.bincount(data.train_true_labels)) == [16] * 48
    described = data.manifest["identities"]
    assert described["queries"] == 192 and described["gallery"] == 576
    assert described["test_identities"] == 48 and described["cameras"] == [1, 2, 3, 4]
    assert registry.shape("photo_patches").train == 768
    # Other places of the photographs, so none of train's images is in test.
    seen = {image.tobytes() for image in data.train_images}
    assert not seen & {image.tobytes() for image in data.test_images}
    again = {"npz": tmp_path / "again.npz", "manifest": tmp_path / "again.json"}
    prepare("photo_patches_noise-0.5", tmp_path, **again)
    assert all(paths[kind].read_bytes() == again[kind].read_bytes() for kind in paths)


def test_a_camera_makes_more_of_an_image_than_a_shift():
    """Counting the same camera's views as matches doubles the rank-1 rate of the pixels."""
    images = registry.find("photo_patches").read(Path(), False)
    ours = pixels(images)
    frames = np.arange(len(images.test_labels))  # as if each image had a camera of its own
    object.__setattr__(images.sightings, "test_cameras", frames)
    assert 0.2 < ours < 0.6 and pixels(images) > 1.5 * ours


def test_identities_are_split():
    rng = np.random.default_rng(0)
    identities = np.concatenate([rng.integers(10, 30, 300), [77, 77, 78]])
    cameras = np.concatenate([rng.integers(1, 4, 300), [1, 1, 2]])
    split = split_identities(identities, cameras)
    assert set(split.classes) == set(identities[split.train])
    assert len(split.classes) == 11  # of 22
    assert {77, 78} <= set(split.classes)  # seen by one camera only: no query finds them
    tested = np.concatenate([split.query, split.gallery])
    assert not set(split.classes) & set(identities[tested])
    assert sorted([*split.train, *tested]) == list(range(303))
    pairs = list(zip(identities[split.query], cameras[split.query], strict=True))
    assert (
        len(pairs)
        == len(set(pairs))
        == len({*zip(identities[tested], cameras[tested], strict=True)})
    )


def test_market_names(tmp_path):
    write(tmp_path, "0002_c1s1_000451_03.jpg", "-1_c3s2_000001_00.jpg", "0000_c12_f0054.png")
    found = {(one.identity, one.camera) for one in sightings_in(tmp_path)}
    assert found == {(2, 1), (-1, 3), (0, 12)}


@pytest.mark.parametrize(
    "name",
    ["000451.jpg", "0002_000451_03.jpg", "0002_c1s1.txt.jpg", "0002_cam1_3.jpg", "c1s1_2.jpg"],
)
def test_a_camera_that_cannot_be_read_is_refused_by_name(tmp_path, name):
    write(tmp_path, "0002_c1s1_000451_03.jpg", name)
    if name == "0002_c1s1.txt.jpg":  # odd, and says its camera
        assert len(sightings_in(tmp_path)) == 2
        return
    with pytest.raises(PerturbError, match=re.escape(str(tmp_path / name)) + ".*camera"):
        sightings_in(tmp_path)


def test_renamed_folders(tmp_path):
    write(tmp_path, "0002/0002_c1s1_000451_03.jpg", "0007/0007_c2s1_000451_03.jpg")
    assert [one.identity for one in sightings_in(tmp_path)] == [2, 7]
    write(tmp_path, "0003/0002_c1s1_000452_03.jpg")
    with pytest.raises(PerturbError, match="identity 2 by its name lies in the folder '0003'"):
        sightings_in(tmp_path)
    write(tmp_path / "other", "0002/000451.jpg")
    with pytest.raises(PerturbError, match="camera"):
        sightings_in(tmp_path / "other")


def layout(folder: Path, *, with_test: bool) -> None:
    names = [f"{i:04}_c{c}s1_{i:06}_00.jpg" for i in (2, 7, 9, 11) for c in (1, 2)]
    write(folder / "bounding_box_train", *names, "-1_c1s1_000000_00.jpg")
    if with_test:
        write(folder / "query", "0001_c1s1_000001_00.jpg")
        gallery = ["0001_c2s1_000001_00.jpg", "0000_c2s1_000001_00.jpg", "-1_c2s1_000001_00.jpg"]
        write(folder / "bounding_box_test", *gallery)


def test_a_folder_of_ones_own(tmp_path):
    layout(tmp_path / "mine", with_test=True)
    data = registry.find("mine", tmp_path / "mine")
    images = data.read(tmp_path, False)
    assert images.class_names == ("2", "7", "9", "11") and len(images.train_labels) == 8
    assert images.sightings.described(images.test_labels) == {
        "cameras": [1, 2],
        "test_identities": 1,
        "queries": 1,
        "gallery": 3,
        "distractors": 1,
        "junk": 1,
    }
    assert len(data.files()) == 13 and data.counted().train == 8
    (tmp_path / "mine" / "query").rename(tmp_path / "query")
    with pytest.raises(PerturbError, match="has bounding_box_test and no query"):
        data.read(tmp_path, False)


def test_a_training_folder_alone_is_split_and_says_so(tmp_path):
    layout(tmp_path / "mine", with_test=False)
    images = registry.find("mine", tmp_path / "mine").read(tmp_path, False)
    assert images.kind == "identity split of bounding_box_train"
    assert len(images.class_names) == 2 and images.sightings.test_is_query.all()


def test_market_without_its_test_part_is_no_market(tmp_path):
    layout(tmp_path / "Market-1501-v15.09.15", with_test=False)
    with pytest.raises(
        PerturbError, match=r"without query and bounding_box_test.*market1501_split"
    ):
        registry.find("market1501").read(tmp_path, False)
    assert registry.find("market1501_split").read(tmp_path, False).sightings
    with pytest.raises(PerturbError, match="no bounding_box_train in any of"):
        registry.find("market1501").read(tmp_path / "elsewhere", False)


def test_no_classifier_is_tested_on_other_identities(tmp_path):
    from perturb.names import parse
    from perturb.studies.rts.learner import learner
    from perturb.studies.rts.settings import RtsSpecification
    from perturb.train.learner import Inputs

    paths = {"npz": tmp_path / "data.npz", "manifest": tmp_path / "manifest.json"}
    prepare("photo_patches", tmp_path, **paths)
    wanted = RtsSpecification(dataset="photo_patches", model="cnn", method="sgd_2", seed=0)
    assert parse(wanted.method).epochs == 2
    with pytest.raises(PerturbError, match="other identities than its train images"):
        learner(wanted, Inputs("cpu", load(**paths)))


@needs_market
def test_noise_of_market_has_the_published_numbers():
    sightings = sightings_in(REAL / "Market-1501-v15.09.15" / "bounding_box_train")
    labels = np.unique([one.identity for one in sightings], return_inverse=True)[1]
    assert (len(labels), labels.max() + 1) == (12_936, 751)
    for rate, changed in ((0.1, 1311), (0.2, 2581), (0.3, 3886), (0.5, 6468)):
        assert (noisy_labels(labels, 751, rate, 0) != labels).sum() == changed


@needs_market
def test_real_folders_are_read():
    viper = registry.find("viper").read(REAL, False)
    assert viper.test_images.shape == (632, 128, 48, 3)
    assert viper.sightings.test_is_query.sum() == 316
    counted = IdentityFolder(name="m", folder=REAL / "Market-1501-v15.09.15").counted()
    assert counted.train + counted.test == 12_936
