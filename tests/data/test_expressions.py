"""CK+48, FER2013 and RAF-DB: the official counts, splits by subject, damaged copies."""

import numpy as np
import pytest
from PIL import Image

from perturb.data import load, prepare
from perturb.data.expressions import CK_COUNTS, CKPLUS48, FER2013, RAFDB, _flat, _of_classes
from perturb.data.splits import grouped_indices
from perturb.errors import PerturbError


def write_image(path, size=48, mode="L", value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size), value).save(path)


@pytest.fixture
def ck(tmp_path):
    """CK+48 in small: 10 subjects, two frames of two expressions each."""
    for at, name in enumerate(CK_COUNTS):
        for subject in range(10):
            for frame in range(2):
                file = f"S{subject:03}_00{at}_0000000{frame}.png"
                write_image(tmp_path / "CK+48" / name / file, value=10 * subject + at)
    return tmp_path


def prepared(name, root, tmp_path, **options):
    files = {"npz": tmp_path / f"{name}.npz", "manifest": tmp_path / f"{name}.manifest.json"}
    prepare(name, root, **files, **options)
    return load(*files.values())


def test_no_subject_is_in_two_splits(ck, tmp_path):
    data = prepared("ckplus48", ck, tmp_path, allow_partial=True)
    subject = {split: getattr(data, f"{split}_images")[:, 0, 0, 0] // 10 for split in
               ("train", "test")}  # fmt: skip
    held_out = np.zeros(len(data.train_labels), dtype=bool)
    held_out[data.validation_indices] = True
    parts = [subject["train"][~held_out], subject["train"][held_out], subject["test"]]
    assert [len(set(part)) for part in parts] == [6, 2, 2]
    assert len({int(s) for part in parts for s in set(part)}) == 10
    assert data.manifest["subjects"] == 8 and data.manifest["partial"]
    assert data.manifest["class_names"][1] == "contempt"


def test_the_split_depends_on_its_seed_and_the_test_split_does_not(ck, tmp_path):
    first, second = (
        prepared("ckplus48", ck, tmp_path, allow_partial=True, split_seed=seed) for seed in (0, 1)
    )
    assert np.array_equal(first.test_images, second.test_images)
    assert not np.array_equal(first.validation_indices, second.validation_indices)


def test_an_incomplete_copy_is_refused_by_its_counts(ck, tmp_path):
    with pytest.raises(PerturbError, match=r"anger has 20 images, not 135.*partial_data: true"):
        CKPLUS48.read(ck, allow_partial=False)
    with pytest.raises(PerturbError, match=r"no folder .*CK\+48.*may not be passed on"):
        CKPLUS48.read(tmp_path / "nothing", allow_partial=True)


def test_an_image_of_another_size_or_a_corrupt_one_is_named(ck):
    odd = ck / "CK+48" / "fear" / "S001_003_00000000.png"
    write_image(odd, size=50)
    with pytest.raises(PerturbError, match=r"S001_003_00000000.png: 50x50 pixels"):
        CKPLUS48.read(ck, allow_partial=True)
    odd.write_bytes(b"no image")
    with pytest.raises(PerturbError, match=r"S001_003_00000000.png: corrupt image"):
        CKPLUS48.read(ck, allow_partial=True)


def test_grouped_indices_keep_groups_whole_and_classes_even():
    random = np.random.default_rng(0)
    groups = random.integers(0, 60, 900)
    labels = random.integers(0, 7, 900)
    drawn = grouped_indices(labels, groups, 0.2, seed=0, purpose="a")
    inside, outside = set(groups[drawn]), set(np.delete(groups, drawn))
    assert not inside & outside
    share = np.bincount(labels[drawn]) / np.bincount(labels)
    assert (abs(share - 0.2) < 0.08).all()
    other = grouped_indices(labels, groups, 0.2, seed=0, purpose="b")
    assert not np.array_equal(drawn, other)


def test_rafdb_from_its_list_of_labels(tmp_path):
    basic = tmp_path / "RAF-DB" / "basic"
    lines = []
    for at in range(7):
        for split in ("train", "test"):
            write_image(
                basic / "Image" / "aligned" / f"{split}_0000{at}_aligned.jpg",
                100,
                "RGB",
                (at, 0, 0),
            )
            lines.append(f"{split}_0000{at}.jpg {7 - at}")
    listed = basic / "EmoLabel" / "list_patition_label.txt"
    listed.parent.mkdir()
    listed.write_text("\n".join(lines))
    images = RAFDB.read(tmp_path, allow_partial=True)
    assert images.train_images.shape == (7, 100, 100, 3)
    assert images.train_labels.tolist() == [6, 5, 4, 3, 2, 1, 0]
    with pytest.raises(PerturbError, match="train has 7 images, not 12271"):
        RAFDB.read(tmp_path, allow_partial=False)
    listed.write_text("train_00000.jpg 8")
    with pytest.raises(PerturbError, match=r"line 1: 'train_00000.jpg 8' is no line"):
        RAFDB.read(tmp_path, allow_partial=True)


def test_real_ckplus48(real_data):
    if not (real_data / "CK+48").is_dir():
        pytest.skip("no CK+48 there")
    images = CKPLUS48.read(real_data, allow_partial=False)
    every = np.concatenate([images.train_labels, images.test_labels])
    assert np.bincount(every).tolist() == list(CK_COUNTS.values())
    names = [p.name for p in _flat(_of_classes(real_data / "CK+48", tuple(CK_COUNTS)))]
    assert len({name.partition("_")[0] for name in names}) == 118
    assert images.train_images.shape[1:] == (48, 48, 1)
    assert not images.partial
    assert 0.15 < len(images.test_labels) / 981 < 0.25


def test_real_fer2013_without_its_training_folder(real_data):
    if not (real_data / "fer2013").is_dir():
        pytest.skip("no FER2013 there")
    images = FER2013.read(real_data, allow_partial=True)
    assert (len(images.train_labels), len(images.test_labels)) == (3_589, 3_589)
    assert images.partial
    with pytest.raises(PerturbError, match="Training has 0 images, not 28709"):
        FER2013.read(real_data, allow_partial=False)


SIX = {"anger": "angry", "contempt": None, "disgust": "disgust", "fear": "fear",
       "happy": "happy", "sadness": "sad", "surprise": "surprise"}  # fmt: skip


def test_a_class_map_leaves_images_out_and_keeps_the_splits_by_subject(ck, tmp_path):
    plain = prepared("ckplus48", ck, tmp_path, allow_partial=True)
    given = {"dataset": "ckplus48", "classes": SIX}
    data = prepared("six", ck, tmp_path, allow_partial=True, class_map=given)
    assert data.manifest["class_names"] == [name for name in SIX.values() if name]
    contempt = (plain.train_labels == 1).sum()
    assert contempt and len(data.train_labels) == len(plain.train_labels) - contempt
    assert sorted(set(data.train_labels)) == list(range(6))
    value = data.train_images[:, 0, 0, 0] % 10  # the old class, as the images have it
    old = [name for name in CK_COUNTS]
    names = data.manifest["class_names"]
    assert all(
        SIX[old[v]] == names[label] for v, label in zip(value, data.train_labels, strict=True)
    )
    assert data.manifest["subjects"] == 8
    for classes, says in (
        ({**SIX, "angre": "x"}, r"ckplus48 has no class 'angre'. Did you mean 'anger'"),
        ({k: v for k, v in SIX.items() if k != "fear"}, r"says nothing of 'fear'"),
    ):
        with pytest.raises(PerturbError, match=says):
            given = {"dataset": "ckplus48", "classes": classes}
            prepared("six", ck, tmp_path, allow_partial=True, class_map=given)
