"""Label noise: how many labels change, into what, and that everything else stays as it is."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chisquare, multivariate_normal
from sklearn.covariance import ledoit_wolf

from perturb import code
from perturb.data import load, prepare, registry
from perturb.data.noise import discriminant_scores, likeliest_mistakes, noisy_labels
from perturb.errors import PerturbError
from perturb.files import sha256_arrays


@pytest.fixture
def prepared(tmp_path):
    def make(name, **options):
        files = {"npz": tmp_path / f"{name}.npz", "manifest": tmp_path / f"{name}.json"}
        prepare(name, tmp_path, **files, **options)
        return load(**files)

    return make


def clustered_images(sizes, size, channels, seed=0):
    """Images of classes of the given sizes, each class a pattern of its own with much noise."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    patterns = generator.integers(60, 196, (len(sizes), size, size, channels))
    noise = generator.normal(0, 60, (len(labels), size, size, channels))
    return np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8), labels


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.4, 1.0])
def test_of_every_class_exactly_the_rate_changes(rate):
    sizes = [100, 50, 30, 10, 6, 2]
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(6), sizes))
    given = noisy_labels(labels, 6, rate, seed=0)
    changed = np.bincount(labels[given != labels], minlength=6)
    expected = {
        0.1: [10, 5, 3, 1, 1, 0],
        0.25: [25, 12, 8, 2, 2, 0],  # 12.5, 7.5, 2.5, 1.5, 0.5: half to even
        0.4: [40, 20, 12, 4, 2, 1],
        1.0: sizes,
    }[rate]
    assert changed.tolist() == expected
    assert given.dtype == np.int64 and set(given) <= set(range(6))


def test_a_half_is_a_half_as_the_name_says_it():
    """In floating point 150 * 0.07 is 10.500000000000002, which rounds to 11."""
    labels = np.repeat([0, 1], [150, 50])
    given = noisy_labels(labels, 2, 0.07, seed=0)
    assert np.bincount(labels[given != labels]).tolist() == [10, 4]  # 10.5 and 3.5


def test_random_noise_is_uniform_over_the_other_classes():
    labels = np.repeat(np.arange(10), 5_000)
    given = noisy_labels(labels, 10, 0.4, seed=0)
    for label in range(10):
        into = np.bincount(given[labels == label], minlength=10)
        assert into[label] == 3_000
        assert chisquare(np.delete(into, label)).pvalue > 1e-4
    images = np.flatnonzero(given != labels)
    assert abs(images.mean() - 25_000) < 500  # anywhere in the data


def test_the_seed_fixes_the_noise_and_a_smaller_rate_is_part_of_a_larger_one():
    labels = np.arange(3_000) % 10
    large, small = (noisy_labels(labels, 10, rate, seed=0) for rate in (0.5, 0.2))
    assert np.array_equal(large, noisy_labels(labels, 10, 0.5, seed=0))
    assert not np.array_equal(large, noisy_labels(labels, 10, 0.5, seed=1))
    changed = small != labels
    assert changed.sum() == 600 and np.array_equal(small[changed], large[changed])
    choices = (labels + 1) % 10
    patterned = noisy_labels(labels, 10, 0.2, seed=0, choices=choices)
    assert np.array_equal(patterned != labels, changed)
    assert np.array_equal(patterned[changed], choices[changed])


def test_two_classes_swap_and_one_class_is_refused():
    labels = np.repeat([0, 1], [50, 20])
    for choices in (None, 1 - labels):
        given = noisy_labels(labels, 2, 0.4, seed=0, choices=choices)
        assert np.bincount(2 * labels + given).tolist() == [30, 20, 8, 12]
    with pytest.raises(PerturbError, match="two classes"):
        noisy_labels(np.zeros(10, dtype=np.int64), 1, 0.4, seed=0)


def test_noise_that_changes_nothing_is_refused():
    with pytest.raises(PerturbError, match="changes none of the 6 train labels"):
        noisy_labels(np.repeat([0, 1], 3), 2, 0.1, seed=0)
    with pytest.raises(ValueError, match="must not be the true one"):
        noisy_labels(np.array([0, 1]), 2, 0.5, seed=0, choices=np.array([1, 1]))


def test_a_mistake_is_the_second_choice_or_the_first_where_that_is_wrong():
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 1.5, 4.0], [-1.0, -1.0, -2.0]])
    assert likeliest_mistakes(scores, np.array([0, 1, 2, 0])).tolist() == [1, 0, 1, 1]
    with pytest.raises(ValueError, match="finite"):
        likeliest_mistakes(np.array([[np.nan, 0.0]]), np.array([0]))


def test_scores_are_the_log_densities_of_normal_classes():
    images, labels = clustered_images([70, 40, 20], 8, 1)
    scores = discriminant_scores(images, labels, 4)  # the fourth class has no images
    pixels = images.reshape(len(images), -1) / 255
    means = np.stack([pixels[labels == label].mean(axis=0) for label in range(3)])
    covariance, _ = ledoit_wolf(pixels - means[labels], assume_centered=True)
    expected = np.stack(
        [
            multivariate_normal(mean, covariance).logpdf(pixels) + np.log(np.mean(labels == label))
            for label, mean in enumerate(means)
        ],
        axis=1,
    )
    for label in (1, 2):
        np.testing.assert_allclose(
            scores[:, label] - scores[:, 0], expected[:, label] - expected[:, 0], atol=1e-6
        )
    assert (scores[:, 3] < scores[:, :3].min(axis=1)).all()


def test_colour_images_are_averaged_to_sixteen_pixels():
    images, labels = clustered_images([30] * 10, 32, 3)
    small = images.reshape(300, 16, 2, 16, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    large_scores = discriminant_scores(images, labels, 10)
    assert (large_scores.argmax(axis=1) == labels).mean() > 0.9
    agree = likeliest_mistakes(large_scores, labels) == likeliest_mistakes(
        discriminant_scores(small, labels, 10), labels
    )
    assert agree.mean() > 0.95  # but for the rounding of the averages


def test_no_image_of_a_class_and_single_images_do_not_break_the_pattern():
    images, labels = clustered_images([1, 1, 1], 8, 1)
    mistakes = likeliest_mistakes(discriminant_scores(images, labels, 5), labels)
    assert (mistakes != labels).all() and set(mistakes) <= {0, 1, 2}


@pytest.mark.parametrize("kind", ["random", "patterned"])
def test_noisy_digits(prepared, kind):
    name = "digits_noise-0.4" + ("_kind-patterned" if kind == "patterned" else "")
    clean, noisy = prepared("digits"), prepared(name)
    assert np.array_equal(noisy.train_images, clean.train_images)
    assert np.array_equal(noisy.train_true_labels, clean.train_labels)
    assert np.array_equal(noisy.test_labels, clean.test_labels)
    assert np.array_equal(noisy.validation_indices, clean.validation_indices)
    assert clean.train_true_labels is None and "noise" not in clean.manifest
    true, given = noisy.train_true_labels, noisy.train_labels
    counts = np.bincount(true)
    assert np.array_equal(np.bincount(true[given != true]), np.rint(counts * 0.4))
    described, before = noisy.manifest["noise"], clean.manifest
    assert noisy.manifest["dataset"] == name and noisy.manifest["mean"] == before["mean"]
    assert noisy.manifest["sha256"] != before["sha256"]
    assert noisy.manifest["split_sha256"] == before["split_sha256"]
    assert noisy.manifest["class_counts"]["train"] == np.bincount(given).tolist()
    assert described["true_class_counts"] == before["class_counts"]["train"]
    assert (described["base"], described["kind"], described["seed"]) == ("digits", kind, 0)
    assert described["rate"] == 0.4 and described["changed"] == (given != true).sum()
    assert described["actual_rate"] == pytest.approx(0.4, abs=0.002)
    assert described["given_labels_sha256"] == sha256_arrays({"train_labels": given})
    told = {
        (int(before), int(after)): count
        for before, row in described["transitions"].items()
        for after, count in row.items()
    }
    assert sum(told.values()) == described["changed"]
    for (before, after), count in told.items():
        assert count == ((true == before) & (given == after)).sum() and before != after


def test_patterned_noise_of_digits_is_what_they_are_mistaken_for(prepared):
    noisy = prepared("digits_noise-0.4_kind-patterned")
    true, given = noisy.train_true_labels, noisy.train_labels
    mistakes = likeliest_mistakes(discriminant_scores(noisy.train_images, true, 10), true)
    changed = given != true
    assert np.array_equal(given[changed], mistakes[changed])
    random = prepared("digits_noise-0.4")
    assert np.array_equal(random.train_labels != true, changed)
    # A digit is mistaken for few others: its two commonest wrong labels are most of them.
    shares = [
        np.sort(np.bincount(labels[(true == label) & changed], minlength=10))[-2:].sum()
        for labels in (given, random.train_labels)
        for label in range(10)
    ]
    assert sum(shares[:10]) / changed.sum() > 0.6 > 0.45 > sum(shares[10:]) / changed.sum()


def test_preparing_again_gives_the_same_bytes_and_another_seed_other_noise(prepared, tmp_path):
    name = "digits_noise-0.4_kind-patterned"
    prepared(name)
    files = {kind: tmp_path / f"{name}.{kind}" for kind in ("npz", "json")}
    first = {kind: path.read_bytes() for kind, path in files.items()}
    prepared(name)
    assert {kind: path.read_bytes() for kind, path in files.items()} == first
    zero, one = prepared("digits_noise-0.4"), prepared("digits_noise-0.4", split_seed=1)
    assert zero.manifest["sha256"] != one.manifest["sha256"]
    assert one.manifest["noise"]["seed"] == 1


def test_changed_true_labels_are_found(prepared, tmp_path):
    prepared("digits_noise-0.4")
    path = tmp_path / "digits_noise-0.4.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["train_true_labels"][0] ^= 1
    np.savez(path, **arrays)
    with pytest.raises(PerturbError, match="the data is not what its manifest says"):
        load(path, tmp_path / "digits_noise-0.4.json")


def test_a_folder_of_images_with_noise(prepared, tmp_path):
    for number, name in enumerate(("cat", "dog", "eel")):
        images, _ = clustered_images([20], 16, 3, seed=number)
        (tmp_path / "set" / name).mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "set" / name / f"{i}.png")
    for kind in ("", "_kind-patterned"):
        noisy = prepared(f"my_pets_noise-0.25{kind}", folder=tmp_path / "set")
        assert noisy.manifest["noise"]["base"] == "my_pets"
        assert noisy.manifest["counts"] == {"train": 48, "test": 12}
        changed = noisy.train_labels != noisy.train_true_labels
        assert np.bincount(noisy.train_true_labels[changed]).tolist() == [4, 4, 4]
    with pytest.raises(PerturbError, match="'digits' is a built-in data set"):
        prepared("digits_noise-0.4", folder=tmp_path / "set")
    with pytest.raises(PerturbError, match=r"'my_pets_noise-0.01': label noise of rate 0.01"):
        prepared("my_pets_noise-0.01", folder=tmp_path / "set")


def test_cifar10_with_noise(cifar10_binary, tmp_path):
    files = {"npz": tmp_path / "c.npz", "manifest": tmp_path / "c.json"}
    prepare("cifar10_noise-0.4_kind-patterned", cifar10_binary.parent, **files)
    noisy = load(**files)
    assert noisy.manifest["noise"]["changed"] == 20_000
    official = registry.shape("cifar10")
    assert noisy.manifest["counts"] == {"train": official.train, "test": official.test}
    cats = noisy.manifest["noise"]["transitions"]["3"]
    assert max(cats, key=cats.get) == "5"  # a cat is taken for a dog


def test_counts_of_market1501_are_the_published_ones(real_data):
    folder = real_data / "Market-1501-v15.09.15" / "bounding_box_train"
    if not folder.is_dir():
        pytest.skip(f"no Market-1501 in {real_data}")
    identities = [path.name[:4] for path in folder.glob("*.jpg")]
    labels = np.unique(identities, return_inverse=True)[1]
    changed = [(noisy_labels(labels, 751, r, seed=0) != labels).sum() for r in (0.1, 0.2, 0.3, 0.5)]
    assert changed == [1311, 2581, 3886, 6468]


def test_editing_noise_prepares_what_has_noise_and_nothing_else(root):
    script = root / "workflow" / "scripts" / "prepare_data.py"
    plain, noisy = (
        code.of(script, *registry.readers(name)) for name in ("digits", "digits_noise-0.4")
    )
    assert set(noisy) - set(plain) == {"perturb.data.noise", "perturb.data.variants"}
    assert "perturb.data.noise" not in code.of("perturb.train.run", "perturb.train.classifier")


def test_names_and_the_registry_need_no_torch():
    check = "import sys; from perturb.data import registry; registry.find('digits_noise-0.4'); "
    check += "sys.exit(bool({'torch', 'sklearn'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", check], check=True)
