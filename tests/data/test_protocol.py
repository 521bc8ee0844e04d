"""The splits of a run: balanced subsets, the hold-out, limits, with label noise and without."""

from dataclasses import dataclass

import numpy as np
import pytest

from perturb.data import load, prepare
from perturb.data.protocol import Split, balanced_subset, make_splits, thin


@dataclass(frozen=True)
class Limit:
    train: int
    test: int


@dataclass(frozen=True)
class Settings:
    protocol: str = "from400"
    split_seed: int = 0
    limit: Limit | None = None


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    found = {}
    for name in ("digits", "digits_noise-0.4"):
        files = {"npz": folder / f"{name}.npz", "manifest": folder / f"{name}.json"}
        prepare(name, folder, **files)
        found[name] = load(**files)
    return found


@pytest.mark.parametrize("count", [0, 1, 5, 7, 15, 19, 20, 60, 100, 263])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_subset_is_balanced(count, seed):
    sizes = np.array([100, 80, 60, 3, 20])
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), sizes))
    chosen = balanced_subset(labels, count, seed)
    assert len(chosen) == count and np.array_equal(chosen, np.unique(chosen))
    counts = np.bincount(labels[chosen], minlength=5)
    # A class has less than another only where it has no more, but for the one that is left over.
    assert ((counts == sizes) | (counts >= counts.max() - 1)).all()


def test_a_subset_is_part_of_every_larger_one_and_the_seeds_own():
    labels = np.repeat(np.arange(5), [100, 80, 60, 3, 20])
    subsets = [set(balanced_subset(labels, count, 0)) for count in (20, 60, 1000)]
    assert subsets[0] < subsets[1] < subsets[2] == set(range(263))
    assert subsets[0] != set(balanced_subset(labels, 20, 1))


def test_a_limit_thins_train_and_test(digits):
    splits = make_splits(digits["digits"], Settings(limit=Limit(train=50, test=30)))
    sizes = {name: len(split) for name, split in splits.items()}
    assert sizes == {"train": 50, "validation": 30, "test": 30}
    assert splits["validation"] is splits["test"]


@pytest.mark.parametrize("limit", [None, Limit(200, 100)])
@pytest.mark.parametrize("protocol", ["from400", "holdout"])
def test_noise_changes_given_labels_of_train_and_nothing_else(digits, protocol, limit):
    clean, noisy = (make_splits(data, Settings(protocol, 0, limit)) for data in digits.values())
    for name, split in noisy.items():
        assert np.array_equal(split.images, clean[name].images), name
        assert clean[name].true_labels is None
        of_train = name == "train" or (name == "validation" and protocol == "holdout")
        assert (split.true_labels is not None) == of_train
        if of_train:
            assert np.array_equal(split.true_labels, clean[name].labels)
            assert 0.3 < (split.labels != split.true_labels).mean() < 0.5
        else:
            assert np.array_equal(split.labels, clean[name].labels)


def test_thinning_keeps_images_and_both_labels_together(digits):
    data = digits["digits_noise-0.4"]
    whole = Split(data.train_images, data.train_labels, data.train_true_labels)
    thinned = thin(whole, 50, 0)
    assert np.bincount(thinned.true_labels).tolist() == [5] * 10
    places = [
        np.flatnonzero((whole.images == image).all(axis=(1, 2, 3))) for image in thinned.images
    ]
    for place, given, true in zip(places, thinned.labels, thinned.true_labels, strict=True):
        assert (given, true) in zip(whole.labels[place], whole.true_labels[place], strict=True)
