"""Erasing, MixUp, CutMix and balanced sampling against closed forms and fixed draws."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from perturb.data.feeding import Feed
from perturb.data.regularised import ERASED_AREA, RegularisedFeed, erase, mix
from perturb.errors import PerturbError
from perturb.random import generator

COUNTS = (40, 8, 2)


def feed(kind=RegularisedFeed, size=8, **options):
    labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, 1), np.uint8)
    given = {"batch_size": 20, "mean": [0.0], "std": [1.0], "augment": "standard"}
    given |= {"crop_padding": 0, "flip": False, "seed": 3}
    if kind is RegularisedFeed:
        given["num_classes"] = len(COUNTS)
    return kind(images, labels, **given, **options)


def test_without_options_it_is_a_feed():
    ours, plain = list(feed().epoch(1)), list(feed(Feed).epoch(1))
    assert len(ours) == len(plain) == len(feed()) == 3
    for (a, b), (c, d) in zip(ours, plain, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_the_last_short_batch_is_dropped_or_refused():
    dropping = feed(drop_last=True)
    assert [len(labels) for _, labels in dropping.epoch(0)] == [20, 20]
    assert len(dropping) == 2
    with pytest.raises(PerturbError, match=r"batches of 60 images, but train has 50.*drop_last"):
        given = {"batch_size": 60, "mean": [0.0], "std": [1.0], "num_classes": 3}
        images, labels = np.zeros((50, 8, 8, 1), np.uint8), np.zeros(50)
        RegularisedFeed(images, labels, drop_last=True, **given)


def test_balanced_classes_are_equally_likely():
    """Over 200 epochs of 50 places: each class has a third, within five standard errors."""
    balanced = feed(balanced=True)
    drawn = torch.stack([balanced.labels[balanced.draws(epoch)["order"]] for epoch in range(200)])
    shares = torch.bincount(drawn.flatten()) / drawn.numel()
    assert (abs(shares - 1 / 3) < 5 * (1 / 3 * 2 / 3 / drawn.numel()) ** 0.5).all()
    seen = torch.cat([labels for _, labels in balanced.epoch(7)])
    assert torch.equal(seen, drawn[7]), "labels go with their images"
    weights = 1 / torch.tensor(COUNTS).double().repeat_interleave(torch.tensor(COUNTS))
    random = generator(3, 7, "balanced sampling")
    expected = torch.multinomial(weights, 50, replacement=True, generator=random)
    assert torch.equal(balanced.draws(7)["order"], expected)


def kinds(number=400, alpha=0.2, size=16):
    """Batches of one pixel value per image, mixed: (lambda of pixels or None, shares)."""
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, size, size)
    found = []
    for seed in range(number):
        mixed, shares = mix(images, torch.arange(4), 4, alpha, seed)
        assert shares.shape == (4, 4)
        torch.testing.assert_close(shares.sum(1), torch.ones(4))
        found.append((mixed, shares))
    return images, found


def test_mixed_pixels_and_labels_have_the_same_share():
    images, found = kinds()
    cut = 0
    for mixed, shares in found:
        share = float(shares[0, 0])
        other = images.roll(1, 0)
        if mixed[1].unique().numel() <= 2 and set(mixed[1].unique().tolist()) <= {0.0, 1.0}:
            cut += mixed[1].unique().numel() == 2
            inside = (mixed == other).double().mean((1, 2, 3))
            torch.testing.assert_close(inside, torch.full((4,), 1 - share).double(), atol=1e-6,
                                       rtol=0)  # fmt: skip
        else:
            torch.testing.assert_close(mixed, share * images + (1 - share) * other)
    assert 60 < cut < 240, "a fair draw decides; many boxes of alpha 0.2 are empty or whole"


def test_lambda_is_of_its_beta_distribution():
    """MixUp's share, of Beta(1, 1): mean 1/2, variance 1/12."""
    _, found = kinds(number=1500, alpha=1.0)
    mixup = [float(s[0, 0]) for m, s in found if not set(m[1].unique().tolist()) <= {0.0, 1.0}]
    assert 600 < len(mixup) < 900
    assert abs(np.mean(mixup) - 0.5) < 5 * (1 / 12 / len(mixup)) ** 0.5
    assert abs(np.var(mixup) - 1 / 12) < 0.01


def test_cutmix_corrects_lambda_to_the_pasted_area(monkeypatch):
    """The specification's example: lambda .3 at 224, half-side 93, corrected .310507."""
    cutmix = v2.CutMix(alpha=1.0, num_classes=2)
    monkeypatch.setattr(cutmix, "_dist", type("At", (), {"sample": lambda self, shape: 0.3})())
    monkeypatch.setattr(torch, "randint", lambda low, size=None, **_: torch.tensor([112]))
    _, shares = cutmix(torch.zeros(2, 1, 224, 224), torch.tensor([0, 1]))
    assert float(shares[0, 0]) == pytest.approx(1 - (2 * 93) ** 2 / 224**2, abs=1e-6)
    assert float(shares[0, 0]) == pytest.approx(0.310507, abs=1e-6)


def test_mixing_moves_no_global_generator_and_is_fixed_by_seed_epoch_and_batch():
    before = torch.random.get_rng_state()
    mixed = feed(mixup=0.4)
    first, again = list(mixed.epoch(2)), list(mixed.epoch(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for (a, b), (c, d) in zip(first, again, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)
    assert not torch.equal(first[0][0], next(mixed.epoch(3))[0])


def test_an_image_is_erased_by_a_rectangle_of_a_drawn_area():
    images = torch.ones(4000, 1, 48, 48)
    erased = erase(images, 0.5, generator(0, 0, "erasing")) == 0
    hit = erased.any(3).any(2)[:, 0]
    assert abs(float(hit.double().mean()) - 0.5) < 5 * (0.25 / 4000) ** 0.5
    assert torch.equal(images, torch.ones_like(images)), "not in place"
    for mask in erased[hit][:200, 0]:
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert int(mask.sum()) == int(rows * columns), "a full rectangle"
        assert 0.2 < float(rows / columns) < 5
    areas = erased[hit].double().mean((1, 2, 3))
    low, high = ERASED_AREA
    assert low * 0.7 < float(areas.min()) and float(areas.max()) < high * 1.25
    assert abs(float(areas.mean()) - (low + high) / 2) < 0.003
    centre = torch.stack(torch.where(erased[:, 0])[1:]).double().mean(1)
    assert (abs(centre - 23.5) < 0.7).all(), "rectangles lie anywhere alike"


def test_erasing_has_torchvisions_distribution():
    """Areas and sides of 3,000 rectangles against v2.RandomErasing's, by a two-sample test."""
    from scipy.stats import ks_2samp

    torch.manual_seed(0)
    theirs = v2.RandomErasing(1.0, scale=ERASED_AREA)
    image = torch.ones(1, 48, 48)
    reference = [theirs(image) == 0 for _ in range(3000)]
    ours = erase(torch.ones(3000, 1, 48, 48), 1.0, generator(1, 0, "erasing")) == 0
    for measured in (
        lambda mask: int(mask.sum()),
        lambda mask: int(mask.any(-1).sum()),
        lambda mask: int(mask.any(-2).sum()),
        lambda mask: int(mask.any(-1).int().argmax()),
    ):
        test = ks_2samp([measured(mask) for mask in reference], [measured(m) for m in ours])
        assert test.pvalue > 1e-3
