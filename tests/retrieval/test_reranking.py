import numpy as np
import pytest

from perturb.errors import PerturbError
from perturb.retrieval import Reranking, evaluate, reranking
from tests.retrieval.test_evaluation import drawn, plain


def dense(q, g, k1, k2, weight):
    """Zhong et al.'s published algorithm, whole matrices and loops, in float64."""
    features = np.concatenate([q, g]).astype(np.float64)
    distance = 2 - 2 * features @ features.T
    distance = distance / distance.max(axis=1, keepdims=True)
    rank = np.argsort(distance, axis=1, kind="stable")

    def reciprocal(i, k):
        forward = rank[i, : k + 1]
        return forward[[i in rank[j, : k + 1] for j in forward]]

    encoded = np.zeros_like(distance)
    for i in range(len(features)):
        own = reciprocal(i, k1)
        members = own
        for candidate in own:
            of_candidate = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(np.intersect1d(of_candidate, own)) > 2 / 3 * len(of_candidate):
                members = np.append(members, of_candidate)
        members = np.unique(members)
        encoded[i, members] = np.exp(-distance[i, members])
        encoded[i] /= encoded[i].sum()
    encoded = np.stack([encoded[rank[i, :k2]].mean(axis=0) for i in range(len(features))])
    shared = np.minimum(encoded[: len(q), None], encoded[None, len(q) :]).sum(axis=2)
    jaccard = 1 - shared / (2 - shared)
    return (1 - weight) * jaccard + weight * distance[: len(q), len(q) :]


@pytest.mark.parametrize("settings", [(20, 6, 0.3), (7, 1, 0.0), (5, 3, 0.8)])
def test_distances_are_those_of_the_published_algorithm(settings):
    for seed in range(3):
        (q, g, _, _), _ = drawn(seed, False)
        blocks = list(reranking.reranked(q, g, Reranking(*settings)))
        found = np.concatenate([part for _, part in blocks])
        np.testing.assert_allclose(found, dense(q, g, *settings), atol=2e-6)


def test_the_ranking_follows_these_distances():
    # Features of clusters: re-ranking is to help, and ties are none.
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((9, 16))
    (_, _, q_ids, g_ids), cameras = drawn(1, False)
    q_ids = (q_ids % 8) + 1
    noise = rng.standard_normal((len(q_ids) + len(g_ids), 16))
    features = centres[np.maximum(np.concatenate([q_ids, g_ids]), 0)] + 1.2 * noise
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    q, g = np.split(features, [len(q_ids)])
    kept = g_ids != -1  # junk is no neighbour of anything
    distances = dense(q, g[kept], 20, 6, 0.3)
    basis = np.eye(len(q))  # the loop ranks by products of features: these give the distances
    expected = plain(basis, -distances.T, q_ids, g_ids[kept], cameras[0], cameras[1][kept])
    found = evaluate(q, g, q_ids, g_ids, *cameras, reranking=Reranking())
    assert found.mAP == pytest.approx(expected[1], abs=1e-9)
    assert found.mINP == pytest.approx(expected[2], abs=1e-9)
    assert found.cmc == pytest.approx(expected[0])
    assert found.mAP > evaluate(q, g, q_ids, g_ids, *cameras).mAP


def test_it_says_its_memory_before_it_takes_it(capsys):
    arrays, cameras = drawn(0, False)
    evaluate(*arrays, *cameras, reranking=Reranking(k1=4))
    assert "re-ranking" in (said := capsys.readouterr().err) and "GB" in said
    assert Reranking().bytes_for(19_281, 2_048) < 1e9
    with pytest.raises(PerturbError, match="Give a smaller k1"):
        evaluate(*arrays, *cameras, reranking=Reranking(k1=500))
