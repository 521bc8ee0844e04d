"""Eigenvalues and traces of quadratics and of a small network against NumPy on dense matrices."""

import json
import math

import numpy as np
import pytest
import torch

from perturb.landscape.curvature import Trace, measure, top_eigenvalues, trace
from perturb.landscape.objective import Objective
from perturb.landscape.sharpness import adaptive_sharpness, sharpness

from .problems import dense_hessian, mean, network_objective, quadratic, with_spectrum

SPECTRA = {
    "positive": np.linspace(1, 12, 12),
    "repeated": np.array([5.0, 5.0, 5.0, 3.0, 3.0, 1.0, 0.0, 0.0, -2.0, -2.0]),
    "identity": np.full(6, 2.0),
    "negative": np.linspace(-20, 3, 15),
    "all negative": -np.linspace(1, 8, 8),
    "zero": np.zeros(4),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("diagonal", [False, True])
def test_the_whole_spectrum_of_a_quadratic(name, diagonal):
    values = SPECTRA[name]
    matrix = np.diag(values) if diagonal else with_spectrum(values)
    found = top_eigenvalues(quadratic(matrix), len(values), tolerance=0.0)
    expected = np.linalg.eigvalsh(matrix)[::-1]
    assert found.largest == pytest.approx(expected, abs=1e-10)
    assert found.smallest == pytest.approx(expected[-1], abs=1e-10)
    assert found.products == len(values)
    assert found.largest_errors.max() < 1e-10 and found.smallest_error < 1e-10


def test_the_top_of_a_larger_quadratic():
    values = np.append(np.random.default_rng(0).uniform(-1, 1, 194), [3, 4, 5, 6, 7, -4])
    found = top_eigenvalues(quadratic(with_spectrum(values)), 3, iterations=150, tolerance=1e-12)
    assert found.products < 150
    assert found.largest == pytest.approx([7, 6, 5], abs=1e-10)
    assert found.smallest == pytest.approx(-4, abs=1e-10)


def test_orthogonality_is_kept_where_lanczos_alone_loses_it():
    """Far apart and few: without reorthogonalisation copies of the largest appear (ghosts)."""
    values = np.append(np.linspace(0, 1, 60), [1e3, 1e5])
    found = top_eigenvalues(quadratic(with_spectrum(values)), 5, iterations=60, tolerance=0.0)
    expected = np.sort(values)[::-1][:5]
    assert found.largest == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("iterations", [6, 10, 20])
def test_errors_bound_the_distance_to_an_eigenvalue(iterations):
    values = np.random.default_rng(1).normal(size=80)
    for seed in range(5):
        found = top_eigenvalues(
            quadratic(with_spectrum(values)), 5, seed=seed, iterations=iterations, tolerance=0.0
        )
        distances = [np.abs(values - theta).min() for theta in found.largest]
        assert (distances <= found.largest_errors).all()
        assert np.abs(values - found.smallest).min() <= found.smallest_error
        assert found.products == iterations
        assert found.largest_errors.max() > 1e-3


@pytest.mark.parametrize("outlier", [500.0, -500.0])
def test_the_iteration_stops_at_its_tolerance(outlier):
    """Of every number returned, relative to the largest absolute one, whichever side it is on."""
    values = np.append(np.random.default_rng(2).normal(size=149), outlier)
    objective = quadratic(with_spectrum(values))
    loose, tight = (
        top_eigenvalues(objective, 1, iterations=150, tolerance=t) for t in (1e-5, 1e-8)
    )
    size = max(abs(tight.largest[0]), abs(tight.smallest))
    for found, tolerance in ((loose, 1e-5), (tight, 1e-8)):
        bound = max(found.largest_errors.max(), found.smallest_error)
        assert tolerance * size / 30 < bound < 1.01 * tolerance * size
    assert loose.products < tight.products < 150


def test_errors_include_the_rounding_of_single_precision():
    values = np.linspace(0.5, 100, 50)
    matrix = with_spectrum(values)
    found = top_eigenvalues(quadratic(matrix, dtype=torch.float32), 5, tolerance=0.0)
    expected = values[::-1][:5]
    distances = np.abs(found.largest - expected)
    assert distances.max() > 1e-7  # of which the residual bounds, 1e-10 and less, know nothing
    assert (distances <= found.largest_errors).all()
    assert found.largest_errors.max() < 1e-3


def test_eigenvalues_of_a_network():
    objective = network_objective(7, 13)
    expected = np.linalg.eigvalsh(dense_hessian(objective))
    found = top_eigenvalues(objective, 5, tolerance=1e-12)
    assert expected[0] < -1e-3
    assert found.largest == pytest.approx(expected[::-1][:5], abs=1e-10)
    assert found.smallest == pytest.approx(expected[0], abs=1e-10)


def test_more_eigenvalues_than_dimensions_are_all_there_are():
    found = top_eigenvalues(quadratic(with_spectrum([1.0, 2.0, 3.0])), 10)
    assert found.largest == pytest.approx([3, 2, 1], abs=1e-12)
    assert len(found.largest_errors) == 3


def test_the_trace_of_a_diagonal_is_exact():
    values = np.array([3.0, -1.0, 0.5, 8.0])
    found = trace(quadratic(np.diag(values)), 5)
    assert found.samples == pytest.approx(np.full(5, values.sum()), abs=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_the_trace_is_within_its_standard_error_which_is_the_theorys():
    matrix = with_spectrum(np.linspace(-2, 9, 12))
    found = trace(quadratic(matrix), 4000, seed=1)
    variance = 2 * ((matrix**2).sum() - (np.diag(matrix) ** 2).sum())
    assert found.samples.shape == (4000,)
    assert found.mean == pytest.approx(found.samples.mean())
    assert abs(found.mean - np.trace(matrix)) < 4 * math.sqrt(variance / 4000)
    assert found.standard_error == pytest.approx(math.sqrt(variance / 4000), rel=0.06)


def test_the_trace_of_a_network():
    objective = network_objective(7, 13)
    found = trace(objective, 100)
    distance = abs(found.mean - np.trace(dense_hessian(objective)))
    assert 0 < distance < 4 * found.standard_error < 0.4 * found.mean


def test_one_sample_has_no_standard_error():
    assert Trace(np.array([2.0])).standard_error is None
    assert Trace(np.array([1.0, 3.0])).standard_error == pytest.approx(1.0)


def test_a_seed_says_which_numbers():
    objective = network_objective()
    same = [trace(objective, 5, seed=4).samples for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert (same[0] != trace(objective, 5, seed=5).samples).all()
    first, again, other = (
        top_eigenvalues(objective, 3, seed=seed, iterations=8) for seed in (4, 4, 5)
    )
    assert (first.largest == again.largest).all() and first.smallest == again.smallest
    assert (first.largest != other.largest).all()


def test_curvature_that_is_not_finite_is_nan():
    matrix = np.eye(3)
    matrix[1, 1] = np.nan
    found = top_eigenvalues(quadratic(matrix), 2)
    assert np.isnan(found.largest).all() and np.isnan(found.largest_errors).all()
    assert math.isnan(found.smallest) and math.isnan(found.smallest_error)
    assert found.products == 1
    assert np.isnan(trace(quadratic(matrix), 3).samples).all()


def test_a_measurement_is_everything_as_json(capsys):
    objective = network_objective(7, 13)
    seeds, radii = (0, 1, 2), (0.05, 0.5)
    options = {"adaptive_radii": [1.0], "trace_samples": 4, "ascent_steps": 3, "eigenvalues": 2}
    before = objective.weights
    found = measure(objective, radii=radii, seeds=seeds, **options)
    assert torch.equal(objective.weights, before)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == measure(objective, radii=radii, seeds=seeds, **options)
    assert "seed 2" in capsys.readouterr().err
    assert found["non_finite"] == {}
    assert (found["images"], found["parameters"]) == (20, 88)
    assert found["loss"] == objective.loss()
    assert found["gradient_norm"] == pytest.approx(objective.gradient().norm().item())

    spectra = [top_eigenvalues(objective, 2, seed=seed) for seed in seeds]
    second = found["eigenvalues"]["largest"][1]
    per_seed = [s.largest[1] for s in spectra]
    assert len(found["eigenvalues"]["largest"]) == 2
    assert second["per_seed"] == per_seed
    assert second["error_bounds"] == [s.largest_errors[1] for s in spectra]
    assert second["mean"] == pytest.approx(np.mean(per_seed))
    assert second["standard_error"] == pytest.approx(np.std(per_seed, ddof=1) / math.sqrt(3))
    assert found["eigenvalues"]["smallest"]["per_seed"] == [s.smallest for s in spectra]
    assert found["eigenvalues"]["products"] == [s.products for s in spectra]

    samples = np.array([trace(objective, 4, seed=seed).samples for seed in seeds])
    assert found["trace"]["samples"] == samples.tolist()
    assert found["trace"]["per_seed"] == pytest.approx(samples.mean(axis=1))
    assert found["trace"]["mean"] == pytest.approx(samples.mean())
    assert found["trace"]["standard_error"] == pytest.approx(samples.std(ddof=1) / math.sqrt(12))

    for name, climbs in (
        ("sharpness", sharpness(objective, radii, 3)),
        ("adaptive_sharpness", adaptive_sharpness(objective, [1.0], 3)),
    ):
        assert [f["radius"] for f in found[name]] == [c.radius for c in climbs]
        assert [f["one_step"] for f in found[name]] == [c.one_step for c in climbs]
        assert [f["several_steps"] for f in found[name]] == [c.several_steps for c in climbs]


def test_one_seed_has_no_spread():
    found = measure(network_objective(), radii=[0.1], seeds=[7], trace_samples=1)
    assert found["eigenvalues"]["largest"][0]["standard_error"] is None
    assert found["trace"]["standard_error"] is None
    assert found["non_finite"] == {}


def test_what_is_not_finite_is_null_and_named():
    found = measure(quadratic(np.diag([np.nan, 1.0])), radii=[0.1], seeds=[0, 1])
    json.dumps(found, allow_nan=False)
    assert found["loss"] is None and found["trace"]["mean"] is None
    assert found["sharpness"][0]["one_step"] is None
    flags = found["non_finite"]
    assert flags["loss"] == flags["sharpness/0/one_step"] == flags["trace/per_seed/1"] == "nan"
    assert flags["eigenvalues/largest/0/mean"] == "nan"

    steep = Objective(quadratic(np.eye(2)).model, [(torch.ones(2).double(),) * 2], exploding)
    flags = measure(steep, radii=[0.1, 9.0], seeds=[0])["non_finite"]
    assert flags["sharpness/1/one_step"] == "inf"
    assert "sharpness/0/one_step" not in flags


def exploding(outputs, labels):
    """exp of 10 times the loss: inf above 71."""
    return (
        torch.exp(10 * mean(outputs, labels)) if outputs.mean() < 40 else outputs.sum() * math.inf
    )


def test_deterministic_algorithms_suffice():
    before = torch.get_deterministic_debug_mode()
    try:
        torch.set_deterministic_debug_mode("error")
        measure(network_objective(7, 13), radii=[0.1], seeds=[0])
    finally:
        torch.set_deterministic_debug_mode(before)
