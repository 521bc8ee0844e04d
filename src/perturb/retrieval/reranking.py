"""Re-ranking with k-reciprocal encoding (Zhong et al. 2017, CVPR), sparse and in blocks.

The published code holds several dense matrices of all images against all (12 GB at Market-1501's
size). Of them only each image's nearest k1 + 1 are ever looked at; the sets are sparse matrices
here, and distances of queries come in blocks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from perturb.errors import PerturbError

_BLOCK_BYTES = 2**25


@dataclass(frozen=True)
class Reranking:
    """Settings as the paper calls them.

    Args:
        k1: neighbours of which the reciprocal ones encode an image.
        k2: neighbours whose encodings are averaged.
        weight: lambda, of the original distance; 1 - lambda is that of the Jaccard distance.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def bytes_for(self, images: int, dimension: int) -> int:
        """Return about how many bytes re-ranking of that number of images takes at its peak."""
        features = 4 * images * dimension
        # Expanded sets have up to a few times k1 images; k2 of them are averaged.
        encoded = 3 * images * self.k1 * (self.k2 + 3) * 12
        return features + encoded + 4 * _BLOCK_BYTES


def reranked(
    queries: np.ndarray, gallery: np.ndarray, settings: Reranking
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield blocks of distances [B, G], float32, with the number of their first query.

    Features [Q, d] and [G, d] are at unit length. Distances are
    `(1 - lambda) * Jaccard + lambda * squared distance / its largest of the query`. Says on
    standard error how much memory it takes, before it takes it. PerturbError where there are not
    more than k1 images.
    """
    features = np.concatenate([queries, gallery])
    if len(features) <= settings.k1 + 1:
        raise PerturbError(
            f"re-ranking with k1 {settings.k1} needs more than {settings.k1 + 1} images, these "
            f"are {len(features)}. Give a smaller k1."
        )
    memory = settings.bytes_for(*features.shape) / 1e9
    print(f"re-ranking {len(features):,} images takes about {memory:.2f} GB", file=sys.stderr)
    neighbours, largest = _neighbours(features, settings.k1 + 1)
    encoded = _encoded(features, neighbours, largest, settings)
    yield from _distances(features, len(queries), encoded, largest, settings.weight)


def _block_size(images: int) -> int:
    return max(1, _BLOCK_BYTES // (4 * images))


def _neighbours(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's nearest ones, itself among them, and its largest squared distance.

    int64 [N, count], the nearest first, of equal ones the first of all; float32 [N].
    """
    images = len(features)
    nearest = np.empty((images, count), dtype=np.int64)
    largest = np.empty(images, dtype=np.float32)
    for start in range(0, images, _block_size(images)):
        rows = slice(start, start + _block_size(images))
        distances = 2 - 2 * (features[rows] @ features.T)
        largest[rows] = distances.max(axis=1)
        chosen = np.sort(np.argpartition(distances, count, axis=1)[:, :count], axis=1)
        order = np.argsort(np.take_along_axis(distances, chosen, axis=1), axis=1, kind="stable")
        nearest[rows] = np.take_along_axis(chosen, order, axis=1)
    # All images at one place: whatever stands for their distance, it is 0.
    return nearest, np.where(largest > 0, largest, 1).astype(np.float32)


def _sets(neighbours: np.ndarray) -> sparse.csr_matrix:
    """Return the sets of reciprocal neighbours as rows [N, N] of ones: each in the other's list."""
    images, count = neighbours.shape
    starts = np.arange(0, images * count + 1, count)
    ones = np.ones(images * count, dtype=np.float32)
    lists = sparse.csr_matrix((ones, neighbours.ravel(), starts), shape=(images, images))
    return lists.multiply(lists.T).tocsr()


def _expanded(neighbours: np.ndarray, k1: int) -> sparse.csr_matrix:
    """Return the sets R* of eq. 5: R(i, k1), and of its members c those whose R(c, k1 / 2) mostly
    lies in it."""
    whole = _sets(neighbours)
    half = _sets(neighbours[:, : int(np.around(k1 / 2)) + 1])
    sizes = np.asarray(half.sum(axis=1)).ravel()
    overlap = (whole @ half.T).multiply(whole).tocsr()
    overlap.data = (overlap.data > 2 / 3 * sizes[overlap.indices]).astype(np.float32)
    overlap.eliminate_zeros()
    found = (whole + overlap @ half).tocsr()
    found.data[:] = 1
    return found


def _encoded(
    features: np.ndarray, neighbours: np.ndarray, largest: np.ndarray, settings: Reranking
) -> sparse.csr_matrix:
    """Return the encodings V [N, N] (eq. 7): weights exp(-distance) over R*, which sum to 1,
    averaged over the nearest k2 (eq. 11)."""
    found = _expanded(neighbours, settings.k1)
    for image in range(len(features)):
        row = slice(found.indptr[image], found.indptr[image + 1])
        cosines = features[found.indices[row]] @ features[image]
        weights = np.exp(-(2 - 2 * cosines) / largest[image])
        found.data[row] = weights / weights.sum()
    if settings.k2 == 1:
        return found
    images, nearest = len(features), neighbours[:, : settings.k2]
    starts = np.arange(0, nearest.size + 1, nearest.shape[1])
    shares = np.full(nearest.size, 1 / nearest.shape[1], dtype=np.float32)
    mean = sparse.csr_matrix((shares, nearest.ravel(), starts), shape=(images, images))
    return (mean @ found).tocsr()


def _distances(
    features: np.ndarray,
    queries: int,
    encoded: sparse.csr_matrix,
    largest: np.ndarray,
    weight: float,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the distances of blocks of queries to the gallery.

    Jaccard's is 1 - sum(min) / (2 - sum(min)), for encodings sum to 1; the sum is over the columns
    that the query's encoding has.
    """
    columns = encoded.tocsc()
    gallery = features[queries:].T
    for start in range(0, queries, _block_size(len(features))):
        rows = range(start, min(start + _block_size(len(features)), queries))
        squared = 2 - 2 * (features[rows.start : rows.stop] @ gallery)
        for query, block in zip(rows, squared, strict=True):
            own = slice(encoded.indptr[query], encoded.indptr[query + 1])
            chosen = columns[:, encoded.indices[own]]
            limits = np.repeat(encoded.data[own], np.diff(chosen.indptr))
            shared = np.bincount(
                chosen.indices, np.minimum(limits, chosen.data), minlength=len(features)
            )[queries:]
            block *= weight / largest[query]
            block += (1 - weight) * (1 - shared / (2 - shared))
        yield start, squared
