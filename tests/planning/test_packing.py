"""The shortest makespan: against brute force, against bounds; and what the jobs must keep to."""

import itertools

import numpy as np
import pytest

from perturb.planning.packing import Task, lower_bound, pack


def tasks(lengths):
    return [Task(f"run{index:03}", int(length)) for index, length in enumerate(lengths)]


def brute_force(lengths, gpus):
    """Return the shortest makespan of every assignment there is."""
    return min(
        max(np.bincount(chosen, weights=lengths, minlength=gpus))
        for chosen in itertools.product(range(gpus), repeat=len(lengths))
    )


def check(packing, asked, gpus, limit):
    """Check that every run is done once, in order, on one GPU, in jobs that keep to the limit."""
    for task in asked:
        parts = [part for part in packing.parts if part.run == task.name]
        assert sum(part.end - part.start for part in parts) == pytest.approx(task.seconds)
        assert [part.part for part in parts] == list(range(1, len(parts) + 1))
        assert len({part.gpu for part in parts}) == 1
        assert all(a.end == b.start for a, b in itertools.pairwise(parts))
        if task.seconds <= limit:
            assert len(parts) == 1, "a run that fits into a job is not cut"
    for job in {part.job for part in packing.parts}:
        own = [part for part in packing.parts if part.job == job]
        assert max(p.end for p in own) - min(p.start for p in own) <= limit + 1e-6
        assert len({part.gpu for part in own}) == 1
    for gpu in range(gpus):
        own = sorted((p.start, p.end) for p in packing.parts if p.gpu == gpu)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(own)), "no gap, no overlap"
    assert packing.makespan == pytest.approx(max((p.end for p in packing.parts), default=0))
    assert packing.makespan >= packing.lower_bound - 1e-6


@pytest.mark.parametrize("seed", range(25))
def test_as_brute_force(seed):
    random = np.random.default_rng(seed)
    gpus = int(random.integers(2, 4))
    lengths = random.integers(20, 100, random.integers(4, 9))
    found = pack(tasks(lengths), gpus, limit=60)
    check(found, tasks(lengths), gpus, 60)
    best = brute_force(lengths, gpus)
    assert found.proven
    assert found.makespan == best
    assert lower_bound(lengths, gpus) <= best + 1e-9


def test_some_need_more_than_longest_first():
    """Graham's worst case for two: 3 3 2 2 2 takes 7 longest first, and 6 at best."""
    found = pack(tasks([3, 3, 2, 2, 2]), 2, limit=100)
    assert (found.makespan, found.method, found.proven) == (6, "integer program", True)


def test_the_bound_knows_that_runs_cannot_be_shared_out():
    assert lower_bound([10, 10, 10], 2) == 20
    assert lower_bound([6] * 7, 3) == 18
    assert lower_bound([50, 1, 1], 4) == 50
    assert lower_bound([], 4) == 0


def test_a_run_longer_than_the_limit_spans_jobs():
    asked = tasks([250, 90, 90, 40])
    found = pack(asked, 2, limit=100)
    check(found, asked, 2, 100)
    assert [part.parts for part in found.parts if part.run == "run000"] == [3, 3, 3]
    assert found.makespan == 250


@pytest.mark.parametrize("kinds", [3, 200])
def test_a_study_of_200_methods_in_seconds(kinds):
    random = np.random.default_rng(1)
    lengths = random.choice(random.integers(3000, 15000, kinds), 1000)
    asked = tasks(lengths)
    found = pack(asked, 4, limit=24 * 3600)
    check(found, asked, 4, 24 * 3600)
    assert found.makespan <= 1.001 * found.lower_bound
    assert found.solver_seconds < 60


def test_nothing_to_do():
    assert pack([], 4, limit=100).makespan == 0
