import numpy as np
import torch
from torch.nn.functional import interpolate

from perturb.studies.reid import batches
from perturb.studies.reid.batches import Pixels
from perturb.studies.reid.settings import ReidSpecification

SPECIFICATION = ReidSpecification(
    dataset="d",
    model="embedding_small",
    method="ce_2",
    seed=3,
    height=16,
    width=8,
    enlargement=1.25,
)


def pixels(images) -> Pixels:
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    return Pixels(images, mean, std, SPECIFICATION, torch.device("cpu"))


def images(count=10, height=32, width=16):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_evaluated_images_are_resized_and_normalised():
    given = images()
    (found,) = pixels(given).evaluated()
    expected = torch.from_numpy(given).permute(0, 3, 1, 2).float()
    expected = interpolate(expected, (16, 8), mode="bicubic").clamp(0, 255) / 255
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    expected = (expected - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_crops_are_windows_of_the_enlarged_image_mirrored_or_not():
    given, labels = pixels(images()), torch.arange(10)
    order = batches.in_turn(10, 3, 1)
    enlarged = given.at(order, (20, 10))
    found = list(given.batches(labels, order, 4, 1, strong=False))
    assert [len(batch.labels) for batch in found] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.places for batch in found]), order)
    kinds = set()
    for crop, whole in zip(torch.cat([b.inputs for b in found]), enlarged, strict=True):
        windows = {
            (row, column, mirrored): torch.equal(
                crop.flip(2) if mirrored else crop, whole[:, row : row + 16, column : column + 8]
            )
            for row in range(5)
            for column in range(3)
            for mirrored in (False, True)
        }
        (kind,) = [key for key, same in windows.items() if same]
        kinds.add(kind)
    assert len({kind[:2] for kind in kinds}) > 3 and len({kind[2] for kind in kinds}) == 2
    again = list(given.batches(labels, order, 4, 1, strong=False))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(found, again, strict=True))
    other = next(given.batches(labels, order, 4, 2, strong=False))
    assert not torch.equal(other.inputs, found[0].inputs)


def test_strong_augmentation_erases_and_scales():
    inputs = torch.rand(6, 3, 16, 8) + 1
    strengths = torch.rand(6, 8, generator=torch.Generator().manual_seed(0))
    found = batches.strongly(inputs, strengths)
    erased = (found == 0).all(1)
    shares = erased.float().mean((1, 2))
    assert (shares > 0.05).all() and (shares < 0.4).all()
    for one in erased:  # a rectangle
        rows, columns = one.any(1), one.any(0)
        assert torch.equal(one, rows[:, None] & columns[None, :])
    ratio = torch.where(erased[:, None], torch.nan, found / inputs).numpy()
    assert 0.4 < np.nanmin(ratio) and np.nanmax(ratio) < 1.7
    assert all(len(np.unique(np.round(r[~np.isnan(r)], 4))) == 1 for image in ratio for r in image)


def test_balanced_batches():
    labels = np.repeat(np.arange(20), [3] * 10 + [9] * 10)
    order = batches.balanced(labels, 32, 4, seed=0, epoch=5)
    assert len(order) == len(labels) == 120
    for batch in order[:96].split(32):
        identities, counts = np.unique(labels[batch], return_counts=True)
        assert len(identities) == 8 and (counts == 4).all()
    assert set(labels[order]) == set(range(20))
    assert torch.equal(order, batches.balanced(labels, 32, 4, seed=0, epoch=5))
    assert not torch.equal(order, batches.balanced(labels, 32, 4, seed=0, epoch=6))
    # Every image of an identity comes before one comes again.
    of_one = order[labels[order] == 15][:9]
    assert len(of_one) == len(set(of_one.tolist()))
    few = batches.balanced(np.zeros(5, dtype=int), 32, 4, seed=0, epoch=0)
    assert sorted(few.tolist()) == [0, 1, 2, 3, 4]
