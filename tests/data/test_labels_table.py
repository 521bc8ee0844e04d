"""A folder of images and a table of labels, as Kaggle has them."""

import subprocess
import sys

import pytest
from PIL import Image

from perturb.data import folder_layout
from perturb.data.labels_table import lay_out
from perturb.errors import PerturbError


@pytest.fixture
def kaggle(tmp_path):
    """The layout of Kaggle's CIFAR-10: `train/<id>.png`, `test/<id>.png` and `trainLabels.csv`."""
    for split, count in (("train", 6), ("test", 2)):
        (tmp_path / "k" / split).mkdir(parents=True)
        for number in range(1, count + 1):
            Image.new("RGB", (32, 32), (30 * number, 0, 0)).save(
                tmp_path / "k" / split / f"{number}.png"
            )
    rows = [f"{number},{'cat' if number % 2 else 'dog'}" for number in range(1, 6)]
    (tmp_path / "k" / "trainLabels.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    return tmp_path / "k"


def test_images_are_laid_out_by_label_and_those_without_one_told(kaggle, tmp_path):
    command = [sys.executable, "-m", "perturb.data.labels_table", kaggle / "trainLabels.csv"]
    done = subprocess.run(
        [*command, kaggle / "train", tmp_path / "by_class"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "cat: 3 images\ndog: 2 images\n" in done.stdout
    assert f"left out, without a label: 1 images, {kaggle / 'train' / '6.png'}" in done.stdout
    layout = folder_layout.find("k", tmp_path / "by_class")
    found = {name: [path.name for path in paths] for name, paths in layout.splits["train"].items()}
    assert found == {"cat": ["1.png", "3.png", "5.png"], "dog": ["2.png", "4.png"]}
    assert (tmp_path / "by_class/cat/1.png").samefile(kaggle / "train/1.png")


def test_as_a_folder_of_images_it_is_refused_with_the_command(kaggle):
    with pytest.raises(PerturbError, match=r"python -m perturb\.data\.labels_table \S*trainLabels"):
        folder_layout.find("k", kaggle)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,label\n1,cat\n1,dog\n", "image '1' stands twice"),
        ("id,label\n1,cat\n2,\n", "image '2' has no label"),
        ("id,label\n1,cat\n9,dog\n", "1 of 2 images are not in"),
        ("id,weight\n1,3\n", "needs one column called label"),
        ("id,file,label\n1,1.png,cat\n", "needs one column called id"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_table_that_does_not_say_each_image_once_is_refused(kaggle, tmp_path, text, says):
    (kaggle / "labels.csv").write_text(text)
    with pytest.raises(PerturbError, match=says):
        lay_out(kaggle / "labels.csv", kaggle / "train", tmp_path / "by_class")
    assert not (tmp_path / "by_class").exists()


def test_a_name_that_two_files_have_is_refused(kaggle, tmp_path):
    with pytest.raises(PerturbError, match="'1' could be"):
        lay_out(kaggle / "trainLabels.csv", kaggle, tmp_path / "by_class")
