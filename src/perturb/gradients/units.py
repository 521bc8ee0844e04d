"""A layer of stochastic units, whose gradient can be enumerated: which estimator comes near it."""

from __future__ import annotations

import pandas as pd
import torch

from perturb.gradients.network import initial_weights, normal_inputs
from perturb.gradients.settings import Stochastic
from perturb.gradients.stochastic import ESTIMATORS, EVALUATIONS, exact
from perturb.random import generator
from perturb.train.determinism import make_deterministic


def compare(settings: Stochastic) -> pd.DataFrame:
    """Return a row an estimator and number of evaluations of the loss an input.

    The units are the toy's last hidden ones, on with probability sigmoid(2 z), as sign(z) with
    logistic noise; the loss is the squared error of its linear output. `bias` is the norm of (mean
    estimate - exact gradient) over the exact one's, `bias_expected` what chance alone gives;
    `relative_error` the root mean square of the error's norm over the same.
    """
    make_deterministic(1)
    units = settings.units
    weights = initial_weights(units, 0, "evaluated")
    inputs = normal_inputs(units, settings.inputs, 0, 0, "stochastic").sign()
    logits = (2 * inputs @ weights[2].T).double()
    targets = normal_inputs(1, settings.inputs, 0, 0, "stochastic targets")[:, 0].double()
    output = weights[3][0].double()

    def loss(bits: torch.Tensor) -> torch.Tensor:
        return ((2 * bits - 1) @ output - targets).square()

    true = exact(loss, logits)
    rows = []
    for evaluations in settings.evaluations:
        for name, estimator in ESTIMATORS.items():
            draws = generator(0, evaluations, f"stochastic {name}")
            samples = evaluations // EVALUATIONS[name]
            errors = torch.stack(
                [estimator(loss, logits, samples, draws) - true for _ in range(settings.repeats)]
            )
            spread = errors.square().sum(dim=(1, 2)).mean().sqrt()
            rows.append(
                {
                    "estimator": name,
                    "evaluations": evaluations,
                    "units": units,
                    "inputs": settings.inputs,
                    "repeats": settings.repeats,
                    "bias": (errors.mean(dim=0).norm() / true.norm()).item(),
                    "bias_expected": (spread / settings.repeats**0.5 / true.norm()).item(),
                    "relative_error": (spread / true.norm()).item(),
                }
            )
    return pd.DataFrame(rows)
