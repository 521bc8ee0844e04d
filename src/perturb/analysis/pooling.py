"""One spread for all methods of a table: sharper where each has a few seeds only.

A randomised block design: accuracy = method + seed + noise, with the same spread of the noise for
every method (Fisher 1935). Its degrees of freedom are (methods - 1)(seeds - 1): they cannot be the
sum over the rows, because the rows' differences share the reference's runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import OLS
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from perturb.analysis.spread import RESAMPLES, equal_spread
from perturb.analysis.statistics import CONFIDENCE, FEW_SEEDS, ROUNDING

# From a warning (5 %) down to this p-value of equal spreads the pooled intervals are still given:
# they are then somewhat too narrow for some methods and too wide for others (docs/statistics.md).
# Below it, as where a method collapsed, there is no common spread to speak of.
TOO_UNEQUAL = 0.001


@dataclass(frozen=True)
class PooledSpread:
    """The fitted block design of a table.

    `sd` is the standard deviation of one run about its method and seed, `equal_spread_p_value` that
    of the test that it is the same for all methods (`perturb.analysis.spread`); None where fewer
    than two methods have three seeds.
    """

    sd: float
    degrees_of_freedom: int
    equal_spread_p_value: float | None
    fit: Any
    methods: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the methods' spreads are similar enough to speak of one."""
        return self.equal_spread_p_value is None or self.equal_spread_p_value >= TOO_UNEQUAL

    def interval(self, method: str, reference: str) -> tuple[float, float]:
        """Return both ends of the 95 % interval of the difference of two methods.

        They must share a seed: else the data do not tell the difference from that of the seeds.
        """
        contrast = np.zeros(len(self.fit.params))
        contrast[self.methods.index(method)] += 1
        contrast[self.methods.index(reference)] -= 1
        low, high = self.fit.t_test(contrast).conf_int(alpha=1 - CONFIDENCE)[0]
        return float(low), float(high)


def pool(
    values: Mapping[str, Mapping[int, float]], step: float = 0.0, resamples: int = RESAMPLES
) -> PooledSpread | None:
    """Fit the block design to the values of each method by seed; None where no spread is left.

    `step` is what every value is a multiple of (1 / images for accuracies), 0 where they are
    continuous; `resamples` are drawn for the test of equal spreads.
    """
    tidy = pd.DataFrame(
        [(method, seed, v) for method, seeds in values.items() for seed, v in seeds.items()],
        columns=["method", "seed", "value"],
    )
    if tidy["method"].nunique() < 2:
        return None
    methods = pd.get_dummies(tidy["method"], dtype=float)
    seeds = pd.get_dummies(tidy["seed"], dtype=float).iloc[:, 1:]
    with warnings.catch_warnings():
        # Where two groups of methods share no seed, only differences within a group are told.
        warnings.simplefilter("ignore", SingularMatrixWarning)
        design = np.hstack([methods, seeds])
        fit = OLS(tidy["value"].to_numpy(), design).fit()
    if fit.df_resid < 1 or fit.scale <= ROUNDING**2:
        return None
    runs = tidy.groupby("method")["value"].transform("size").to_numpy()
    groups = np.where(runs >= FEW_SEEDS, np.argmax(methods.to_numpy(), axis=1), -1)
    spread = equal_spread(design, tidy["value"].to_numpy(), groups, step, resamples)
    return PooledSpread(
        sd=float(np.sqrt(fit.scale)),
        degrees_of_freedom=int(fit.df_resid),
        equal_spread_p_value=spread,
        fit=fit,
        methods=tuple(methods.columns),
    )
