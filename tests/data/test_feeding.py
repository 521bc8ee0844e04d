import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from perturb.data.feeding import Feed

MEAN, STD = (0.49, 0.48, 0.45), (0.2, 0.21, 0.22)


def make_feed(images, labels, **options):
    channels = images.shape[3]
    return Feed(
        images,
        labels,
        **{"batch_size": 64, "mean": MEAN[:channels], "std": STD[:channels], "seed": 3, **options},
    )


def reference_normalise(image):
    channels = len(image)
    scaled = reference.to_dtype(image, torch.float32, scale=True)
    return reference.normalize(scaled, MEAN[:channels], STD[:channels])


def one_epoch(feed, epoch):
    inputs, labels = zip(*feed.epoch(epoch), strict=True)
    return torch.cat(inputs), torch.cat(labels)


@pytest.mark.parametrize(("size", "channels", "padding"), [(32, 3, 4), (8, 1, 1), (28, 1, 3)])
@pytest.mark.parametrize("flip", [True, False])
def test_standard_is_torchvisions_crop_flip_and_normalise(
    random_images, size, channels, padding, flip
):
    images, labels = random_images(150, size, channels)
    feed = make_feed(images, labels, augment="standard", flip=flip, crop_padding=padding)
    draws = feed.draws(5)
    inputs, fed_labels = one_epoch(feed, 5)
    assert torch.equal(fed_labels, torch.as_tensor(labels)[draws["order"]])
    assert ("flip" in draws) == flip
    for place, source in enumerate(draws["order"]):
        image = torch.as_tensor(images[source]).permute(2, 0, 1)
        top, left = draws["crop"][:, place].tolist()
        image = reference.crop(reference.pad(image, padding), top, left, size, size)
        if flip and draws["flip"][place]:
            image = reference.horizontal_flip(image)
        torch.testing.assert_close(inputs[place], reference_normalise(image), atol=1e-6, rtol=0)


def test_every_crop_and_both_flips_are_drawn(random_images):
    feed = make_feed(*random_images(2000, 8, 1), augment="standard", crop_padding=1)
    draws = feed.draws(0)
    assert {tuple(pair) for pair in draws["crop"].T.tolist()} == {
        (row, column) for row in range(3) for column in range(3)
    }
    assert 0.45 < draws["flip"].float().mean() < 0.55


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (8, 1)])
def test_cv_rts_is_torchvisions_rotation_and_flip_in_order(random_images, size, channels):
    images, labels = random_images(150, size, channels)
    feed = make_feed(images, labels, augment="cv_rts")
    draws = feed.draws(2)
    assert "order" not in draws and draws["rotation"].abs().max() <= 15
    inputs, fed_labels = one_epoch(feed, 2)
    assert torch.equal(fed_labels, torch.as_tensor(labels))
    differing = 0
    for place, (image, degrees) in enumerate(zip(images, draws["rotation"], strict=True)):
        image = torch.as_tensor(image).permute(2, 0, 1)
        image = reference.rotate(image, float(degrees), InterpolationMode.NEAREST)
        if draws["flip"][place]:
            image = reference.horizontal_flip(image)
        differing += int(((inputs[place] - reference_normalise(image)).abs() > 1e-6).sum())
    # Two pixels may be equally near: then the last bit of a sine decides.
    assert differing <= 1e-5 * inputs.numel()


def test_no_augmentation_is_the_images_in_order(random_images):
    images, labels = random_images(150, 32, 3)
    inputs, fed_labels = one_epoch(make_feed(images, labels, augment="none"), 0)
    expected = reference_normalise(torch.as_tensor(images).permute(0, 3, 1, 2)[0])
    torch.testing.assert_close(inputs[0], expected, atol=1e-6, rtol=0)
    assert torch.equal(fed_labels, torch.as_tensor(labels))
    assert inputs.is_contiguous() and inputs.dtype == torch.float32


@pytest.mark.parametrize("augment", ["standard", "cv_rts", "none"])
def test_batches_depend_on_seed_and_epoch_alone(random_images, augment):
    images, labels = random_images(100, 8, 3)
    options = {"augment": augment, "crop_padding": 1}
    feed = make_feed(images, labels, **options)
    one_epoch(feed, 0)
    next(feed.epoch(1))
    torch.manual_seed(99)
    torch.rand(7)
    later = one_epoch(feed, 4)
    fresh = one_epoch(make_feed(images, labels, **options), 4)
    assert torch.equal(later[0], fresh[0]) and torch.equal(later[1], fresh[1])
    if augment != "none":
        assert not torch.equal(later[0], one_epoch(feed, 5)[0])
        assert not torch.equal(
            later[0], one_epoch(make_feed(images, labels, **options, seed=4), 4)[0]
        )


def test_global_random_state_is_left_alone(random_images):
    feed = make_feed(*random_images(20, 8, 3), augment="standard")
    before = torch.get_rng_state()
    one_epoch(feed, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_the_last_smaller_batch_is_kept(random_images):
    feed = make_feed(*random_images(150, 8, 1), augment="standard", crop_padding=1)
    assert [len(labels) for _, labels in feed.epoch(0)] == [64, 64, 22]
    assert len(feed) == 3


def test_standard_without_shuffling_keeps_the_order(random_images):
    images, labels = random_images(150, 8, 1)
    feed = make_feed(images, labels, augment="standard", crop_padding=1, shuffle=False)
    assert torch.equal(one_epoch(feed, 0)[1], torch.as_tensor(labels))


@pytest.mark.parametrize(
    "options",
    [
        {"augment": "standart"},
        {"augment": "cv_rts", "shuffle": True},
        {"batch_size": 0},
        {"mean": (0.5,)},
    ],
)
def test_arguments_that_do_not_fit_are_refused(random_images, options):
    with pytest.raises(ValueError):
        make_feed(*random_images(20, 8, 3), **options)


def test_images_that_are_not_bytes_are_refused(random_images):
    images, labels = random_images(20, 8, 3)
    with pytest.raises(ValueError):
        make_feed(images.astype(np.float32), labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("augment", ["standard", "cv_rts"])
def test_batches_are_the_same_on_a_gpu(random_images, augment):
    images, labels = random_images(150, 32, 3)
    on_cpu = one_epoch(make_feed(images, labels, augment=augment), 1)
    on_gpu = one_epoch(make_feed(images, labels, augment=augment, device="cuda"), 1)
    assert torch.equal(on_cpu[1], on_gpu[1].cpu())
    torch.testing.assert_close(on_cpu[0], on_gpu[0].cpu(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("augment", ["standard", "cv_rts", "none"])
@pytest.mark.parametrize("shuffle", [None, False])
def test_true_labels_come_in_the_order_of_the_batches(random_images, augment, shuffle):
    """Labels are the images' own numbers, so that a batch says which images it has."""
    images, _ = random_images(150, 8, 1)
    numbers = np.arange(150)
    true = np.random.default_rng(0).permutation(150)
    feed = make_feed(images, numbers, augment=augment, shuffle=shuffle, true_labels=true)
    for epoch in (0, 1):
        seen = []
        for (inputs, given), of_batch in zip(
            feed.epoch(epoch), feed.true_labels(epoch), strict=True
        ):
            assert len(inputs) == len(of_batch) and of_batch.dtype == torch.int64
            assert torch.equal(of_batch, torch.as_tensor(true)[given])
            seen += given.tolist()
        assert sorted(seen) == list(range(150))
        assert (seen == sorted(seen)) == (augment != "standard" or shuffle is False)


def test_true_labels_change_no_batch_and_are_none_without_noise(random_images):
    images, labels = random_images(150, 8, 1)
    plain = make_feed(images, labels, augment="standard")
    noisy = make_feed(images, labels, augment="standard", true_labels=labels[::-1].copy())
    assert plain.true_labels(0) is None
    for first, second in zip(plain.epoch(3), noisy.epoch(3), strict=True):
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    with pytest.raises(ValueError, match="149 true labels, 150 labels"):
        make_feed(images, labels, true_labels=labels[:149])
