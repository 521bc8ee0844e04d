import subprocess
import sys

import numpy as np
import pytest

from perturb.errors import PerturbError
from perturb.retrieval import evaluate


def plain(q, g, q_ids, g_ids, q_cameras, g_cameras, junk=(-1,)):
    """Rank by loops, as the definitions say: (cmc, mAP, mINP, skipped)."""
    firsts, precisions, penalties = [], [], []
    for feature, identity, camera in zip(q, q_ids, q_cameras, strict=True):
        similar = g @ feature
        order = sorted(range(len(g)), key=lambda j: (-similar[j], j))
        kept = [j for j in order if g_ids[j] not in junk]
        kept = [j for j in kept if (g_ids[j], g_cameras[j]) != (identity, camera)]
        ranks = [rank for rank, j in enumerate(kept, 1) if g_ids[j] == identity]
        if ranks:
            firsts.append(ranks[0])
            precisions.append(np.mean([n / rank for n, rank in enumerate(ranks, 1)]))
            penalties.append(len(ranks) / ranks[-1])
    cmc = {r: np.mean([first <= r for first in firsts]) for r in (1, 5, 10)}
    return cmc, np.mean(precisions), np.mean(penalties), len(q) - len(firsts)


def drawn(seed, exact):
    """A gallery with same-camera matches, junk, distractors, and queries without a match.

    `exact`: features of +-1, whose cosines are exact, so that many tie to the last bit.
    """
    rng = np.random.default_rng(seed)
    queries, gallery, d = 23, 120, 16
    shape = (queries + gallery, d)
    features = rng.choice([-1.0, 1.0], shape) if exact else rng.standard_normal(shape)
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    q_ids, g_ids = rng.integers(1, 12, queries), rng.integers(-1, 9, gallery)
    cameras = rng.integers(1, 4, queries + gallery)
    return (features[:queries], features[queries:], q_ids, g_ids), np.split(cameras, [queries])


@pytest.mark.parametrize("exact", [True, False])
def test_it_is_the_plain_loop(exact):
    skipped = ties = 0
    for seed in range(25):
        arrays, cameras = drawn(seed, exact)
        found = evaluate(*arrays, *cameras)
        cmc, mean_precision, mean_penalty, without = plain(*arrays, *cameras)
        assert found.cmc == pytest.approx(cmc, abs=1e-12)
        assert (found.mAP, found.mINP) == pytest.approx((mean_precision, mean_penalty), abs=1e-12)
        assert (found.skipped, found.queries) == (without, len(arrays[0]) - without)
        assert found.junk == (arrays[3] == -1).sum()
        skipped += without
        ties += len(np.unique(arrays[1] @ arrays[0][0])) < len(arrays[1])
    assert skipped and (ties == 25) == exact


def ranked(*gallery):
    """Evaluate a query (identity 1, camera 1) on (identity, camera) pairs in ranked order."""
    angles = np.linspace(0.1, 1, len(gallery))
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ids, cameras = np.array(gallery).T
    one = np.array([1])
    return features, lambda **options: evaluate(
        np.array([[2.0, 0.0]]), features, one, ids, one, cameras, **options
    )


def test_hand_values():
    _, of = ranked((1, 1), (2, 2), (1, 2), (-1, 3), (0, 2), (1, 3), (1, 2))
    found = of()
    assert found.mAP == pytest.approx(0.533333, abs=1e-6)
    assert found.mINP == pytest.approx(0.6)
    assert (found.cmc[1], found.cmc[5]) == (0, 1)
    kept = of(junk=())
    assert kept.mAP == pytest.approx(0.466667, abs=1e-6)
    assert kept.mINP == pytest.approx(0.5)


def test_a_query_with_matches_of_its_own_camera_only_is_skipped():
    arrays, cameras = drawn(0, False)
    q, g, q_ids, g_ids = arrays
    alone = np.array([99])
    more = evaluate(
        np.concatenate([q, q[:1]]),
        np.concatenate([g, q[:1]]),
        np.concatenate([q_ids, alone]),
        np.concatenate([g_ids, alone]),
        np.concatenate([cameras[0], [2]]),
        np.concatenate([cameras[1], [2]]),
    )
    assert more.skipped == evaluate(*arrays, *cameras).skipped + 1
    assert more.first_ranks[-1] == 0 and np.isnan(more.average_precisions[-1])
    with pytest.raises(PerturbError, match="none of 1 queries has a match"):
        ranked((1, 1), (2, 2))[1]()


def test_blocks_are_seen_nowhere(monkeypatch):
    from perturb.retrieval import evaluation

    arrays, cameras = drawn(3, True)
    whole = evaluate(*arrays, *cameras)
    monkeypatch.setattr(evaluation, "_BLOCK_BYTES", 4 * 3 * len(arrays[1]))
    in_blocks = evaluate(*arrays, *cameras)
    np.testing.assert_array_equal(whole.average_precisions, in_blocks.average_precisions)
    np.testing.assert_array_equal(whole.first_ranks, in_blocks.first_ranks)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    arrays, cameras = drawn(0, False)
    arrays[1][7, 3] = value
    with pytest.raises(PerturbError, match=r"1 of 120 gallery features are not finite.*image 7"):
        evaluate(*arrays, *cameras)


def test_what_does_not_fit_is_refused():
    (q, g, q_ids, g_ids), cameras = drawn(0, False)
    with pytest.raises(PerturbError, match="query features are zero, the first that of image 2"):
        evaluate(q * (np.arange(len(q)) != 2)[:, None], g, q_ids, g_ids, *cameras)
    with pytest.raises(PerturbError, match="gallery cameras must be 120 whole numbers"):
        evaluate(q, g, q_ids, g_ids, cameras[0], cameras[1][1:])
    with pytest.raises(PerturbError, match="query ids must be 23 whole numbers"):
        evaluate(q, g, q_ids.astype(float), g_ids, *cameras)
    with pytest.raises(PerturbError, match="not of one network"):
        evaluate(q[:, :8], g, q_ids, g_ids, *cameras)


def test_it_is_usable_without_torch():
    code = "import sys, perturb.retrieval; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
