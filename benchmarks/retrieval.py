"""Evaluating a retrieval of Market-1501's size: seconds, against the plain way and the floor.

3,368 queries, a gallery of 15,913, features of 2,048 numbers: random ones around a centre for each
of 750 identities, six cameras, distractors. All ways have two threads, and take their turn.

- The floor is one matrix product of the features and one argsort of the similarities.
- The plain way is the Python loop that re-identification projects share (Zhong's and torchreid's
  `eval_market1501`): an argsort, then masks for each query. Its queries are a sixteenth, scaled up.
- torchreid's own, where it is installed (`make bench` does it): PyPI's package holds its Python
  evaluator and not the compiled one. The product of the features counts as ours does.
- `pytorch-metric-learning` knows no cameras: its mAP, on a gallery of which no query's camera has
  a match, is compared with ours and not timed.

Memory is the largest resident size of a process that evaluates and does nothing else.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._measuring import spread
from perturb.retrieval import Reranking, evaluate

QUERIES, GALLERY, DIMENSION, IDENTITIES, THREADS, REPEATS = 3_368, 15_913, 2_048, 750, 2, 3
PLAIN_SHARE = 16
SECONDS = 240  # the whole, on two cores
QUICK = {"queries": 800, "gallery": 4_000, "repeats": 2, "memories": False}
EXPECTED = {"floor": "at least 0.67", "plain": "at least 20"}
# Not getrusage, whose largest size a child process inherits.
_MEMORY = """
import sys
import numpy as np
from perturb.retrieval import Reranking, evaluate
def largest():
    lines = open("/proc/self/status").read().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("VmHWM"))
arrays = [np.load(path) for path in sys.argv[1:]]
before = largest()
evaluate(*arrays, reranking={reranking})
print(largest(), before)
"""


def drawn(queries: int = QUERIES, gallery: int = GALLERY, dimension: int = DIMENSION) -> tuple:
    """Return features, identities and cameras of queries and gallery, as `evaluate` takes them."""
    rng = np.random.default_rng(0)
    q_ids = rng.integers(1, IDENTITIES + 1, queries)
    g_ids = rng.integers(1, IDENTITIES + 1, gallery)
    g_ids[: gallery // 6] = 0
    q_cameras, g_cameras = rng.integers(1, 7, queries), rng.integers(1, 7, gallery)
    centres = rng.standard_normal((IDENTITIES + 1, dimension), dtype=np.float32)

    def features(ids: np.ndarray) -> np.ndarray:
        found = rng.standard_normal((len(ids), dimension), dtype=np.float32)
        found *= 6
        found[ids > 0] += centres[ids[ids > 0]]
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    return features(q_ids), features(g_ids), q_ids, g_ids, q_cameras, g_cameras


def floor(q: np.ndarray, g: np.ndarray, *_: np.ndarray) -> np.ndarray:
    return np.argsort(q @ g.T, axis=1)


def plain(q, g, q_ids, g_ids, q_cameras, g_cameras) -> tuple[float, float]:
    """The usual Python loop; rank 1 and mAP."""
    order = np.argsort(-(q @ g.T), axis=1)
    matches = (g_ids[order] == q_ids[:, None]).astype(np.int32)
    firsts, precisions = [], []
    for query in range(len(q)):
        own = order[query]
        same = (g_ids[own] == q_ids[query]) & (g_cameras[own] == q_cameras[query])
        found = matches[query][np.invert(same)]
        if not np.any(found):
            continue
        cmc = found.cumsum()
        firsts.append(min(cmc[0], 1))
        precision = np.asarray([x / (i + 1.0) for i, x in enumerate(cmc)]) * found
        precisions.append(precision.sum() / found.sum())
    return float(np.mean(firsts)), float(np.mean(precisions))


def published() -> tuple[str, Callable] | None:
    """Return torchreid's evaluator with its name, None where it is not installed.

    Its file alone: the package imports what it needs to train.
    """
    spec = importlib.util.find_spec("torchreid")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "reid" / "metrics" / "rank.py"
    of_file = importlib.util.spec_from_file_location("torchreid_rank", path)
    rank = importlib.util.module_from_spec(of_file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the compiled one is not there
        of_file.loader.exec_module(rank)

    def way(q, g, q_ids, g_ids, q_cameras, g_cameras):
        found = rank.evaluate_rank(
            1 - q @ g.T, q_ids, g_ids, q_cameras, g_cameras, use_cython=rank.IS_CYTHON_AVAI
        )
        return float(found[0][0]), float(found[1])

    compiled = " compiled" if rank.IS_CYTHON_AVAI else ""
    return f"torchreid {metadata.version('torchreid')}{compiled}", way


def memory(arrays: tuple, reranking: str) -> tuple[float, float]:
    """Return the gigabytes of a process that evaluates, and those before it began to."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{number}.npy" for number in range(len(arrays))]
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, array)
        code = _MEMORY.format(reranking=reranking)
        command = [sys.executable, "-c", code, *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(int(part) / 1e6 for part in done.stdout.split())


def agreement() -> float:
    """Return how far our mAP is from pytorch-metric-learning's, where there are no cameras."""
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        return float("nan")
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    q, g, q_ids, g_ids, _, _ = drawn(200, 1_000, 32)
    known = np.isin(q_ids, g_ids)
    q, q_ids = q[known], q_ids[known]
    nearest = CustomKNN(CosineSimilarity())
    calculator = AccuracyCalculator(include=("mean_average_precision",), k=len(g), knn_func=nearest)
    theirs = calculator.get_accuracy(
        *(torch.from_numpy(array) for array in (q, q_ids, g, g_ids)), ref_includes_query=False
    )["mean_average_precision"]
    cameras = np.ones(len(q), int), np.full(len(g), 2)
    return abs(evaluate(q, g, q_ids, g_ids, *cameras).mAP - theirs)


def run(
    queries: int = QUERIES, gallery: int = GALLERY, repeats: int = REPEATS, memories: bool = True
) -> list[dict]:
    """Return one row per way: seconds of an evaluation, and how many times longer it takes.

    `memories` are the memory of processes that evaluate.
    """
    arrays = drawn(queries, gallery)
    q, g, q_ids, g_ids, q_cameras, g_cameras = arrays
    few = (q[::PLAIN_SHARE], g, q_ids[::PLAIN_SHARE], g_ids, q_cameras[::PLAIN_SHARE], g_cameras)
    ways: dict[str, tuple[Callable, tuple, float]] = {
        "perturb": (evaluate, arrays, 1),
        "floor": (floor, arrays, 1),
        "plain": (plain, few, len(q) / len(few[0])),
    }
    peer = published()
    if peer:
        ways[peer[0]] = (peer[1], arrays, 1)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with threadpool_limits(limits=THREADS):
        for _ in range(repeats):
            for name, (way, given, scale) in ways.items():
                start = time.perf_counter()
                way(*given)
                seconds[name].append(scale * (time.perf_counter() - start))
        start = time.perf_counter()
        evaluate(*arrays, reranking=Reranking())
        reranked = time.perf_counter() - start
        ours_of_few = evaluate(*few).mAP
        assert np.isclose(ours_of_few, plain(*few)[1], atol=1e-9)
        assert not peer or np.isclose(ours_of_few, peer[1](*few)[1], atol=1e-6)
    what = f"{queries:,} x {gallery:,}, d {DIMENSION:,}, {THREADS} threads"
    ours = seconds.pop("perturb")
    rows = []
    for name, others in seconds.items():
        ratios = [b / a for a, b in zip(ours, others, strict=True)]
        rows.append(
            row(f"perturb, {what}", statistics.median(ours), "s")
            | {
                "ratio": statistics.median(ratios),
                "spread": spread(ratios),
                "repeats": repeats,
                "against": f"{name} ({statistics.median(others):.3g} s)",
                "expected": EXPECTED.get(name, ""),
            }
        )
    rows.append(row(f"perturb, re-ranked, {what}", reranked, "s"))
    for name, reranking in (("", "None"), (", re-ranked", "Reranking()")) if memories else ():
        own, before = memory(arrays, reranking)
        words = {"against": f"inputs and imports ({before:.2f} GB)", "expected": "below 1 GB"}
        rows.append(row(f"memory of a process that evaluates{name}", own, "GB") | words)
    rows.append(row("mAP against pytorch-metric-learning", agreement(), "difference"))
    return rows


def row(what: str, value: float, unit: str) -> dict:
    return {"benchmark": "retrieval", "what": what, "value": value, "unit": unit}


if __name__ == "__main__":
    for line in run():
        print(line)
