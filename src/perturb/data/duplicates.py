"""Images that are in a data set twice: equal ones, and copies that were encoded, cut or toned anew.

Equal pixels are found by their hash. Copies are found in two steps. Candidates are each image's
ten nearest others by their pixels averaged to 8 x 8, centred and scaled to one length. Of these a
pair is a copy where the detail agrees: the brightness less its mean over 3 x 3 pixels, whose
correlation (Lewis 1995, "Fast normalized cross-correlation") is taken over the middle of one image
moved over the other by up to an eighth of the side. Colours, brightness, frames and small shifts
do not count, the objects' outlines and textures do; a perceptual hash of 64 bits (imagehash) has
thousands of false alarms among the pairs of 60,000 images.

Measured against ciFAIR (Barz and Denzler 2020, who looked at pairs by eye): docs/statistics.md.
Where a set's images are alike by nature (digits, clothes on a black ground), so that the typical
image agrees that far with its neighbours, a pair must agree almost wholly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from perturb.data.prepared import PreparedData

NEIGHBOURS = 10
AGREEING = 0.5  # no pair of CIFAR-10's of two classes agrees this far
ALIKE = 0.25  # of the typical image with its fifth neighbour: then ...
AGREEING_ALIKE = 0.95
SMALLEST_SIDE = 16  # below, there is no detail: equal images only
MOST_IMAGES = 200_000  # compared in pairs; above, equal images only
_GRID = 8
_LARGEST_SIDE = 32
# Added to the detail's standard deviation, in grey levels: that of rounding is no detail.
_NOISE = 1.0
_ROWS, _PAIRS = 500, 2000  # at once


@dataclass(frozen=True)
class Copies:
    """Pairs of images [pairs, 2], the smaller index first, and how far they agree (1: equal).

    `threshold` is what they had to reach, None where only equal images were looked for, `why`.
    """

    pairs: np.ndarray
    agreement: np.ndarray
    threshold: float | None
    why: str = ""

    def groups(self, count: int) -> np.ndarray:
        """Return the number of the group of copies that each of `count` images is in."""
        ones = np.ones(len(self.pairs))
        graph = coo_array((ones, self.pairs.T), shape=(count, count))
        return connected_components(graph, directed=False)[1]


def find(images: np.ndarray) -> Copies:
    """Return the copies among images uint8 [N, H, W, C]; of equal ones, each with the first.

    One thread, so that no other order of sums moves a near tie.
    """
    equal, first = _equal(images)
    nothing = np.zeros((0, 2), dtype=np.int64)
    pairs, agreement, threshold = nothing, np.zeros(0), None
    why = _not_compared(images, len(first))
    if not why:
        with threadpool_limits(limits=1):
            candidates = _candidates(images[first])
            found = _agreement(images[first], candidates)
        alike = _typical(candidates, found, len(first))
        threshold = AGREEING if alike <= ALIKE else AGREEING_ALIKE
        if alike > ALIKE:
            why = f"its images are alike: the typical one agrees to {alike:.2f} with others"
        kept = found >= threshold
        pairs, agreement = np.sort(first[candidates[kept]], axis=1), found[kept]
    every = np.concatenate([equal, pairs])
    order = np.lexsort(every.T[::-1])
    values = np.concatenate([np.ones(len(equal)), agreement])
    return Copies(every[order], values[order], threshold, why)


@dataclass(frozen=True)
class Leakage:
    """What copies mean for a data set: which test images a network has seen, and which it cannot.

    Indices are sorted and into their split. `seen` test images have a copy in train, `seen_equal`
    an equal one. `surplus_train` and `surplus_test` are copies of an earlier image of their split.
    `disputed_train` and `disputed_test` are in a group of copies that has two labels.
    """

    copies: Copies
    train: int
    seen: np.ndarray
    seen_equal: np.ndarray
    surplus_train: np.ndarray
    surplus_test: np.ndarray
    disputed_train: np.ndarray
    disputed_test: np.ndarray

    @property
    def any(self) -> bool:
        """Whether there is any copy."""
        return len(self.copies.pairs) > 0


def leakage(data: PreparedData) -> Leakage:
    """Return the leakage of a data set, by its true labels where some are noisy."""
    labels = data.train_labels if data.train_true_labels is None else data.train_true_labels
    return leakage_of(data.train_images, labels, data.test_images, data.test_labels)


def leakage_of(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> Leakage:
    """Return the leakage of images uint8 [N, H, W, C] with labels int64 [N]."""
    train = len(train_images)
    copies = find(np.concatenate([train_images, test_images]))
    labels = np.concatenate([train_labels, test_labels])
    groups = copies.groups(len(labels))
    is_test = np.arange(len(labels)) >= train
    disputed = np.isin(groups, _of_two_labels(groups, labels))

    def surplus(members: np.ndarray) -> np.ndarray:
        first = np.unique(groups[members], return_index=True)[1]
        return np.delete(np.arange(len(members)), first)

    equal = copies.pairs[copies.agreement == 1]
    same = Copies(equal, np.ones(len(equal)), None).groups(len(labels))
    return Leakage(
        copies=copies,
        train=train,
        seen=np.flatnonzero(np.isin(groups[is_test], groups[~is_test])),
        seen_equal=np.flatnonzero(np.isin(same[is_test], same[~is_test])),
        surplus_train=surplus(np.arange(train)),
        surplus_test=surplus(np.arange(train, len(labels))),
        disputed_train=np.flatnonzero(disputed[~is_test]),
        disputed_test=np.flatnonzero(disputed[is_test]),
    )


def _of_two_labels(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    pairs = np.unique(np.stack([groups, labels]), axis=1)[0]
    found, counts = np.unique(pairs, return_counts=True)
    return found[counts > 1]


def _not_compared(images: np.ndarray, different: int) -> str:
    """Say why images are not compared by their detail; "" where they are."""
    if min(images.shape[1:3]) < SMALLEST_SIDE:
        return f"images of less than {SMALLEST_SIDE} pixels a side have too little detail"
    if different > MOST_IMAGES:
        return f"more than {MOST_IMAGES:,} images are too many to compare in pairs"
    return "" if different > 1 else "there is one image only"


def _equal(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of each equal image with the first of its kind, and the indices of the first."""
    seen: dict[bytes, int] = {}
    pairs = []
    for index, image in enumerate(images):
        earlier = seen.setdefault(image.tobytes(), index)
        if earlier != index:
            pairs.append((earlier, index))
    first = np.fromiter(seen.values(), dtype=np.int64, count=len(seen))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), first


def _candidates(images: np.ndarray) -> np.ndarray:
    """Return pairs [pairs, 2] of each image with its nearest others, each once, sorted."""
    count = len(images)
    features = np.concatenate([_averaged(images[at : at + _ROWS]) for at in range(0, count, _ROWS)])
    wanted = min(NEIGHBOURS, count - 1)
    found = []
    for at in range(0, count, _ROWS):
        likeness = features[at : at + _ROWS] @ features.T
        rows = np.arange(len(likeness))
        likeness[rows, at + rows] = -np.inf
        near = _largest(likeness, wanted)
        found.append(np.stack([np.repeat(at + rows, wanted), near.ravel()], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _averaged(images: np.ndarray) -> np.ndarray:
    """Return float32 [N, F]: means over a grid of blocks, centred, of length one."""
    count, height, width, channels = images.shape
    down, across = height // _GRID, width // _GRID
    blocks = images[:, : down * _GRID, : across * _GRID].reshape(
        count, _GRID, down, _GRID, across, channels
    )
    features = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)
    features -= features.mean(axis=1, keepdims=True)
    return features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-6)


def _largest(values: np.ndarray, count: int, chunk: int = 100) -> np.ndarray:
    """Return the columns of the `count` largest of each row, in any order.

    They lie in the `count` chunks of largest maxima: ten times faster than to partition the row.
    """
    rows, columns = values.shape
    chunks = columns // chunk
    if chunks <= count:
        return np.argpartition(values, columns - count, axis=1)[:, -count:]
    whole = values[:, : chunks * chunk].reshape(rows, chunks, chunk)
    best = np.argpartition(whole.max(axis=2), chunks - count, axis=1)[:, -count:]
    inside = np.take_along_axis(whole, best[:, :, None], axis=1).reshape(rows, -1)
    at = (best[:, :, None] * chunk + np.arange(chunk)).reshape(rows, -1)
    rest = np.arange(chunks * chunk, columns)
    inside = np.concatenate([inside, values[:, rest]], axis=1)
    at = np.concatenate([at, np.broadcast_to(rest, (rows, len(rest)))], axis=1)
    chosen = np.argpartition(inside, inside.shape[1] - count, axis=1)[:, -count:]
    return np.take_along_axis(at, chosen, axis=1)


def _agreement(images: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return how far the detail of each pair agrees, at most 1, at the shift that fits best."""
    detail = np.concatenate(
        [_detail(images[at : at + _ROWS]) for at in range(0, len(images), _ROWS)]
    )
    found = [
        _correlation(*detail[pairs[at : at + _PAIRS].T]) for at in range(0, len(pairs), _PAIRS)
    ]
    return np.concatenate(found) if found else np.zeros(0)


def _detail(images: np.ndarray) -> np.ndarray:
    """Return the brightness less its mean over 3 x 3 pixels, float32 [N, H, W], H at most 32."""
    grey = images.mean(axis=3, dtype=np.float32)
    by = max(1, grey.shape[1] // _LARGEST_SIDE)
    side = grey.shape[1] // by
    grey = grey[:, : side * by, : side * by].reshape(len(grey), side, by, side, by).mean((2, 4))
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    mean = sum(padded[:, y : y + side, x : x + side] for y in range(3) for x in range(3)) / 9
    return grey - mean


def _correlation(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the largest correlation of the middle of `image` [N, H, H] within `other`, [N]."""
    side = image.shape[1]
    shift = side // 8
    inner = side - 2 * shift
    middle = image[:, shift:-shift, shift:-shift]
    middle = middle - middle.mean(axis=(1, 2), keepdims=True)
    template = np.zeros_like(image)
    template[:, :inner, :inner] = middle
    spectrum = scipy.fft.rfft2(other) * np.conj(scipy.fft.rfft2(template))
    product = scipy.fft.irfft2(spectrum, s=(side, side))[:, : 2 * shift + 1, : 2 * shift + 1]
    pixels = inner**2
    variance = _windows(other**2, inner) - _windows(other, inner) ** 2 / pixels
    noise = _NOISE * inner
    of_other = np.sqrt(np.maximum(variance, 0)) + noise
    of_image = np.sqrt((middle**2).sum(axis=(1, 2))) + noise
    return (product / of_other / of_image[:, None, None]).max(axis=(1, 2)).astype(np.float64)


def _windows(values: np.ndarray, side: int) -> np.ndarray:
    """Return the sums of all windows `side` x `side` of values [N, H, H]."""
    sums = np.zeros((len(values), values.shape[1] + 1, values.shape[2] + 1))
    sums[:, 1:, 1:] = values.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    upper, lower = sums[:, :-side], sums[:, side:]
    return lower[:, :, side:] - lower[:, :, :-side] - upper[:, :, side:] + upper[:, :, :-side]


def _typical(pairs: np.ndarray, agreement: np.ndarray, count: int) -> float:
    """Return the median over images of their fifth largest agreement: of no copy, but of a kind.

    That of the last where an image has fewer than five pairs.
    """
    images = np.concatenate([pairs[:, 0], pairs[:, 1]])
    values = np.concatenate([agreement, agreement])
    order = np.lexsort((-values, images))
    _, start, number = np.unique(images[order], return_index=True, return_counts=True)
    return float(np.median(values[order][start + np.minimum(number, 5) - 1]))
