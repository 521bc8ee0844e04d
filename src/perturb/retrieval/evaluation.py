"""Ranking a gallery for each query, by the cosine of features, and what comes out.

As Zheng et al. 2015 ("Scalable person re-identification: a benchmark", Market-1501) do: of a
query's gallery the images of the same identity *and* camera are dropped; a query without a match
in what is left is skipped and counted. mINP is that of Ye et al. 2022 ("Deep learning for person
re-identification: a survey and outlook", eq. 8).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perturb.errors import PerturbError
from perturb.retrieval.features import unit_length
from perturb.retrieval.reranking import Reranking, reranked

JUNK = (-1,)
# A block of similarities and its sorted copy stay below this, whatever the gallery's size.
_BLOCK_BYTES = 2**25


@dataclass(frozen=True)
class Retrieval:
    """What a ranking came to, over the queries that have a match.

    Args:
        cmc: share of queries whose first match is among the first r, by rank r.
        mAP: mean over queries of the average precision, the mean over matches of (number of the
            match / its rank).
        mINP: mean over queries of (number of matches / rank of the last match).
        queries: that were evaluated.
        skipped: queries without a match in another camera.
        junk: gallery images that were left out for all queries.
        average_precisions, inverse_penalties: of each query [all queries]; NaN where skipped.
        first_ranks: rank of each query's first match, from 1; 0 where skipped.
    """

    cmc: dict[int, float]
    mAP: float
    mINP: float
    queries: int
    skipped: int
    junk: int
    average_precisions: np.ndarray
    inverse_penalties: np.ndarray
    first_ranks: np.ndarray


def evaluate(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    *,
    ranks: Sequence[int] = (1, 5, 10),
    junk: Collection[int] = JUNK,
    reranking: Reranking | None = None,
) -> Retrieval:
    """Rank the gallery for each query and return CMC, mAP and mINP.

    Features [Q, d] and [G, d] are brought to unit length and compared by their cosine in float32,
    or by the distance of `reranking`. Of gallery images at the same distance the one that stands
    first in the gallery is the nearer. Identities and cameras are whole numbers [Q] or [G].

    Gallery images whose identity is in `junk` are left out, as if they were not there. Every other
    identity that no query has (Market-1501's 0) is a distractor: it takes a rank. At most about
    three times the features' own bytes and 64 MB are needed; re-ranking says what it needs.

    Raises PerturbError for features that are not finite or zero, for arrays that do not fit
    together, and where no query has a match.
    """
    queries, gallery = (
        unit_length(query_features, "query"),
        unit_length(gallery_features, "gallery"),
    )
    q_ids, q_cameras = _labels(len(queries), "query", ids=query_ids, cameras=query_cameras)
    g_ids, g_cameras = _labels(len(gallery), "gallery", ids=gallery_ids, cameras=gallery_cameras)
    if queries.shape[1] != gallery.shape[1]:
        raise PerturbError(
            f"query features have {queries.shape[1]} numbers each, gallery features "
            f"{gallery.shape[1]}: they are not of one network."
        )
    if not ranks or min(ranks) < 1:
        raise PerturbError(f"ranks must be 1 or more, not {list(ranks)}.")
    kept = ~np.isin(g_ids, list(junk))
    if not kept.all():
        gallery, g_ids, g_cameras = gallery[kept], g_ids[kept], g_cameras[kept]
    if reranking is None:
        blocks = _cosines(queries, gallery)
    else:
        blocks = ((start, -part) for start, part in reranked(queries, gallery, reranking))
    found = _ranked(blocks, q_ids, g_ids, q_cameras, g_cameras)
    done = found.first > 0
    if not done.any():
        raise PerturbError(
            f"none of {len(q_ids)} queries has a match in another camera: nothing to evaluate. "
            "Check identities and cameras."
        )
    return Retrieval(
        cmc={rank: float((found.first[done] <= rank).mean()) for rank in ranks},
        mAP=float(found.precision[done].mean()),
        mINP=float(found.penalty[done].mean()),
        queries=int(done.sum()),
        skipped=int((~done).sum()),
        junk=int((~kept).sum()),
        average_precisions=found.precision,
        inverse_penalties=found.penalty,
        first_ranks=found.first,
    )


def _labels(count: int, name: str, **given: Any) -> Iterator[np.ndarray]:
    """Yield identities and cameras as int64 [count]; PerturbError where they are not."""
    for what, values in given.items():
        array = np.asarray(values)
        if array.shape != (count,) or array.dtype.kind not in "iu":
            raise PerturbError(
                f"{name} {what} must be {count} whole numbers, one for each feature, not "
                f"{array.dtype} {list(array.shape)}."
            )
        yield array.astype(np.int64)


def _cosines(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield blocks of similarities [B, G] with the number of their first query."""
    size = max(1, _BLOCK_BYTES // (4 * max(1, len(gallery))))
    for start in range(0, len(queries), size):
        yield start, queries[start : start + size] @ gallery.T


@dataclass(frozen=True)
class _Ranked:
    """Of each query: rank of its first match (0: none), average precision, INP (NaN: none)."""

    first: np.ndarray
    precision: np.ndarray
    penalty: np.ndarray


def _ranked(
    blocks: Iterator[tuple[int, np.ndarray]],
    q_ids: np.ndarray,
    g_ids: np.ndarray,
    q_cameras: np.ndarray,
    g_cameras: np.ndarray,
) -> _Ranked:
    """Return what the ranks of the matches come to. Blocks of similarities are written to.

    Only the matches' ranks are needed: a match's rank is 1 + the number of gallery images that are
    nearer, which a sort of the similarities alone (without indices, several times as fast as an
    argsort) tells by a binary search.
    """
    of_identity = _members(g_ids)
    none = np.empty(0, dtype=np.int64)
    found = _Ranked(
        np.zeros(len(q_ids), dtype=np.int64),
        np.full(len(q_ids), np.nan),
        np.full(len(q_ids), np.nan),
    )
    for start, block in blocks:
        matches: list[np.ndarray] = []
        for row, query in enumerate(range(start, start + len(block))):
            same = of_identity(int(q_ids[query]), none)
            elsewhere = g_cameras[same] != q_cameras[query]
            block[row, same[~elsewhere]] = -np.inf
            matches.append(same[elsewhere])
        ordered = np.sort(block, axis=1)
        for row, (query, places) in enumerate(zip(range(start, len(q_ids)), matches, strict=False)):
            if not len(places):
                continue
            ranks = _ranks(block[row], ordered[row], places)
            numbers = np.arange(1, len(ranks) + 1)
            found.first[query] = ranks[0]
            found.precision[query] = (numbers / ranks).mean()
            found.penalty[query] = len(ranks) / ranks[-1]
    return found


def _members(ids: np.ndarray) -> Callable[[int, np.ndarray], np.ndarray]:
    """Return a look-up of the places of an identity in `ids`, in rising order."""
    order = np.argsort(ids, kind="stable")
    known, starts = np.unique(ids[order], return_index=True)
    return dict(zip(known.tolist(), np.split(order, starts[1:]), strict=True)).get


def _ranks(similarities: np.ndarray, ordered: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the ranks of the images at `places` (rising) among all [G], sorted, from 1.

    `ordered` are the similarities from the smallest to the largest. Of equal ones the first in the
    gallery is nearer.
    """
    own = similarities[places]
    ends = np.searchsorted(ordered, own, side="right")
    ranks = len(ordered) - ends + 1
    tied = ends - np.searchsorted(ordered, own, side="left") > 1
    for at in np.flatnonzero(tied):
        ranks[at] += np.count_nonzero(similarities[: places[at]] == own[at])
    return np.sort(ranks)
