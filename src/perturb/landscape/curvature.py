"""The Hessian of a trained network's loss: its outermost eigenvalues and its trace.

As in PyHessian (Yao et al. 2020), from Hessian-vector products alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from perturb.landscape.objective import Objective
from perturb.landscape.sharpness import ETA, Sharpness, adaptive_sharpness, sharpness
from perturb.random import generator

ITERATIONS = 100
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Eigenvalues:
    """Ritz values of a Hessian, float64, and bounds on their distances to eigenvalues.

    `largest` [k], descending, and `largest_errors` [k]; `smallest` and `smallest_error`; the
    number of Hessian-vector `products` spent. All are NaN where a product was not finite.
    """

    largest: np.ndarray
    largest_errors: np.ndarray
    smallest: float
    smallest_error: float
    products: int


@dataclass(frozen=True)
class Trace:
    """Estimates v^T H v of a Hessian's trace, float64 [m], one a random vector v."""

    samples: np.ndarray

    @property
    def mean(self) -> float:
        """The mean of the samples: the estimate of the trace."""
        return float(self.samples.mean())

    @property
    def standard_error(self) -> float | None:
        """The standard error of `mean`, sd / sqrt(m); None for a single sample."""
        return _standard_error(self.samples)


def top_eigenvalues(
    objective: Objective,
    count: int = 5,
    *,
    seed: int = 0,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Eigenvalues:
    """Return the `count` algebraically largest eigenvalues of the Hessian [n, n], and the smallest.

    Lanczos from a random vector, every new one made orthogonal to all before, twice: with Q [m, n]
    those vectors and T = Q H Q^T tridiagonal, an eigenpair (theta, s) of T is within
    `abs(beta_m s_m)` of an eigenvalue of H (Parlett 1998, section 13.2). It stops where that bound
    is below `tolerance` times the largest absolute theta for every number returned, or after
    `iterations` products (at least `count`, at most n). The errors returned are the bounds plus the
    rounding of a product, about eps sqrt(n) norm(H). Q takes the memory of as many networks.

    One Krylov space has each eigenvalue once. Copies of a repeated one appear when the space is
    exhausted and the iteration goes on from a new orthogonal vector; with `tolerance=0` and n
    iterations it finds the whole spectrum.
    """
    product, weights = objective.hessian(), objective.weights
    draws, rounding = generator(seed, 0, "lanczos"), _rounding(weights)
    basis = weights.new_empty(min(max(iterations, count), len(weights)), len(weights))
    diagonal: list[float] = []
    beside: list[float] = []
    vector = _normal(draws, weights)
    for step in range(len(basis)):
        basis[step] = vector / vector_norm(vector)
        vector = product(basis[step])
        diagonal.append(float(basis[step] @ vector))
        vector = _orthogonal(vector, basis[: step + 1])
        beta = float(vector_norm(vector))
        if not math.isfinite(diagonal[-1] + beta):
            unknown = np.full(min(count, len(weights)), np.nan)
            return Eigenvalues(unknown, unknown, math.nan, math.nan, step + 1)
        found = _ritz_values(diagonal, beside, beta, count)
        size = max(abs(found.largest[0]), abs(found.smallest))
        bound = max(found.largest_errors.max(), found.smallest_error)
        if step + 1 >= count and bound < tolerance * size:
            break
        if beta <= rounding * size:  # the space is exhausted: what is left is rounding
            vector, beta = _orthogonal(_normal(draws, weights), basis[: step + 1]), 0.0
        beside.append(beta)
    return replace(
        found,
        largest_errors=found.largest_errors + rounding * size,
        smallest_error=found.smallest_error + rounding * size,
    )


def trace(objective: Objective, samples: int = 30, *, seed: int = 0) -> Trace:
    """Return Hutchinson's estimate of the Hessian's trace: the mean of v^T H v, v of random signs.

    A sample's variance is `2 (norm(H)_F^2 - sum of H_ii^2)`: it is exact for a diagonal H.
    """
    product, weights = objective.hessian(), objective.weights
    draws = generator(seed, 0, "hutchinson")
    values = []
    for _ in range(samples):
        signs = torch.randint(0, 2, weights.shape, generator=draws).mul_(2).sub_(1).to(weights)
        values.append(float(signs @ product(signs)))
    return Trace(np.array(values))


def measure(
    objective: Objective,
    *,
    radii: Sequence[float],
    seeds: Sequence[int],
    adaptive_radii: Sequence[float] | None = None,
    eigenvalues: int = 5,
    trace_samples: int = 10,
    ascent_steps: int = 10,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
    eta: float = ETA,
) -> dict[str, Any]:
    """Return everything this package says about a minimum's shape, as plain JSON values.

    Args:
        objective: what is measured.
        radii: rho of SAM's sharpness; nothing about it is random, so it has no spread.
        seeds: one Lanczos start vector and `trace_samples` probes each. An eigenvalue's
            `standard_error` is over the seeds, the trace's over all probes together; null where
            there is only one.
        adaptive_radii: rho of the adaptive sharpness; by default `radii`.
        eigenvalues: how many of the largest; see `top_eigenvalues` for `iterations` and
            `tolerance`, and `sharpness` for `ascent_steps` and `eta`.

    Returns:
        Numbers that are not finite are null, and named in `non_finite` by where they are, such as
        {"sharpness/0/one_step": "inf"}; that is empty where all is well. Progress goes to stderr.
    """
    loss, gradient = objective.loss_and_gradient()
    spectra, traces = [], []
    for seed in seeds:
        spectra.append(
            top_eigenvalues(
                objective, eigenvalues, seed=seed, iterations=iterations, tolerance=tolerance
            )
        )
        _report(f"seed {seed}: largest eigenvalue {spectra[-1].largest[0]:.6g}")
        traces.append(trace(objective, trace_samples, seed=seed))
        _report(f"seed {seed}: trace {traces[-1].mean:.6g}")
    climbs = sharpness(objective, radii, ascent_steps)
    _report(f"sharpness at {len(climbs)} radii")
    adaptive = adaptive_sharpness(
        objective, radii if adaptive_radii is None else adaptive_radii, ascent_steps, eta
    )
    _report(f"adaptive sharpness at {len(adaptive)} radii")
    found = {
        "images": objective.images,
        "parameters": len(gradient),
        "loss": loss,
        "gradient_norm": float(vector_norm(gradient)),
        "seeds": list(seeds),
        "eigenvalues": _describe_eigenvalues(spectra),
        "trace": _describe_trace(traces),
        "sharpness": [_describe_sharpness(climb) for climb in climbs],
        "adaptive_sharpness": [_describe_sharpness(climb) for climb in adaptive],
        "eta": eta,
    }
    non_finite: dict[str, str] = {}
    return _without_non_finite(found, "", non_finite) | {"non_finite": non_finite}


def _rounding(weights: Tensor) -> float:
    """Return the relative rounding of a Hessian-vector product, roughly: eps sqrt(n)."""
    return torch.finfo(weights.dtype).eps * math.sqrt(len(weights))


def _normal(draws: torch.Generator, like: Tensor) -> Tensor:
    """Return a vector of standard normal numbers, the same in every precision."""
    return torch.randn(like.shape, generator=draws, dtype=torch.float64).to(like)


def _orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    """Return the part of `vector` [n] that is orthogonal to the rows of `basis` [k, n]."""
    for _ in range(2):  # once leaves a part as large as the rounding of what was subtracted
        vector = vector - basis.T @ (basis @ vector)
    return vector


def _ritz_values(
    diagonal: list[float], beside: list[float], beta: float, count: int
) -> Eigenvalues:
    """Return the extreme eigenvalues of T, tridiagonal [m, m], and their bounds from beta_m."""
    tridiagonal = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    values, vectors = np.linalg.eigh(tridiagonal)
    errors = np.abs(beta * vectors[-1])
    largest = slice(None, -count - 1, -1)
    return Eigenvalues(
        values[largest], errors[largest], float(values[0]), float(errors[0]), len(diagonal)
    )


def _standard_error(values: Sequence[float] | np.ndarray) -> float | None:
    """Return sd / sqrt(m) of m values, sd with m - 1; None where m is 1."""
    if len(values) < 2:
        return None
    with np.errstate(invalid="ignore"):
        return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _describe_eigenvalues(spectra: Sequence[Eigenvalues]) -> dict[str, Any]:
    """Return the eigenvalues by rank, each with its spread over the start vectors."""

    def spread(values: Sequence[float], bounds: Sequence[float]) -> dict[str, Any]:
        return {
            "mean": float(np.mean(values)),
            "standard_error": _standard_error(values),
            "per_seed": [float(value) for value in values],
            "error_bounds": [float(bound) for bound in bounds],
        }

    ranks = range(len(spectra[0].largest))
    return {
        "largest": [
            spread([s.largest[k] for s in spectra], [s.largest_errors[k] for s in spectra])
            for k in ranks
        ],
        "smallest": spread([s.smallest for s in spectra], [s.smallest_error for s in spectra]),
        "products": [s.products for s in spectra],
    }


def _describe_trace(traces: Sequence[Trace]) -> dict[str, Any]:
    pooled = Trace(np.concatenate([t.samples for t in traces]))
    return {
        "mean": pooled.mean,
        "standard_error": pooled.standard_error,
        "per_seed": [t.mean for t in traces],
        "samples": [t.samples.tolist() for t in traces],
    }


def _describe_sharpness(climb: Sharpness) -> dict[str, Any]:
    return {
        "radius": climb.radius,
        "one_step": climb.one_step,
        "several_steps": climb.several_steps,
        "increases": list(climb.increases),
    }


def _without_non_finite(value: Any, where: str, non_finite: dict[str, str]) -> Any:
    """Return `value` with None for NaN and infinities, each added to `non_finite`."""
    if isinstance(value, dict):
        return {k: _without_non_finite(v, f"{where}/{k}", non_finite) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_non_finite(v, f"{where}/{i}", non_finite) for i, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        non_finite[where.lstrip("/")] = str(value)
        return None
    return value


def _report(line: str) -> None:
    print(f"curvature: {line}", file=sys.stderr, flush=True)
