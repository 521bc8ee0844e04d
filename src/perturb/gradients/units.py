"""A layer of stochastic units, whose gradient can be enumerated: which estimator comes near it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from perturb.gradients.network import initial_weights, normal_inputs
from perturb.gradients.stochastic import ESTIMATORS, EVALUATIONS, exact
from perturb.random import generator
from perturb.train.determinism import make_deterministic


def compare(units: int, inputs: int, evaluations: Sequence[int], repeats: int) -> pd.DataFrame:
    """Return one row per estimator and number of evaluations of the loss for each input.

    The units are the last hidden ones of a network of sign units (`network`), on with probability
    sigmoid(2 z), as sign(z) with logistic noise; the loss is the squared error of its linear
    output. `bias` is the norm of (mean estimate - exact gradient) over the exact one's,
    `bias_expected` what chance alone gives; `relative_error` the root mean square of the error's
    norm over the same.

    Args:
        units: of the layer; their 2^units states are summed over.
        inputs: how many the layer sees.
        evaluations: of the loss, for each input and estimate.
        repeats: estimates that bias and spread are taken over.
    """
    make_deterministic(1)
    weights = initial_weights(units, 0, "evaluated")
    seen = normal_inputs(units, inputs, 0, 0, "stochastic").sign()
    logits = (2 * seen @ weights[2].T).double()
    targets = normal_inputs(1, inputs, 0, 0, "stochastic targets")[:, 0].double()
    output = weights[3][0].double()

    def loss(bits: torch.Tensor) -> torch.Tensor:
        return ((2 * bits - 1) @ output - targets).square()

    true = exact(loss, logits)
    rows = []
    for count in evaluations:
        for name, estimator in ESTIMATORS.items():
            draws = generator(0, count, f"stochastic {name}")
            samples = count // EVALUATIONS[name]
            errors = torch.stack(
                [estimator(loss, logits, samples, draws) - true for _ in range(repeats)]
            )
            spread = errors.square().sum(dim=(1, 2)).mean().sqrt()
            rows.append(
                {
                    "estimator": name,
                    "evaluations": count,
                    "units": units,
                    "inputs": inputs,
                    "repeats": repeats,
                    "bias": (errors.mean(dim=0).norm() / true.norm()).item(),
                    "bias_expected": (spread / repeats**0.5 / true.norm()).item(),
                    "relative_error": (spread / true.norm()).item(),
                }
            )
    return pd.DataFrame(rows)
