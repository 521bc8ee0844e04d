"""The points of a stage: a grid, or quasi-random ones. Which trial they are is told by its name."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from perturb.search.settings import Stage, Value

Point = dict[str, Value]


def points(stage: Stage, before: Mapping[str, Value]) -> list[Point]:
    """Return the points of a grid or a quasi-random sampler, each once, in its order.

    `before` is what the stage before has chosen. A quasi-random one of more points begins with the
    same points, so that a search that is extended goes on.
    """
    if stage.sampler == "grid":
        grids = [one.grid(before) for one in stage.parameters]
        found = [
            {one.name: value for one, value in zip(stage.parameters, values, strict=True)}
            for values in itertools.product(*grids)
        ]
    else:
        found = [
            {
                one.name: one.at(float(share))
                for one, share in zip(stage.parameters, shares, strict=True)
            }
            for shares in _quasi_random(stage)
        ]
    return list({tuple(point.items()): point for point in found}.values())


def _quasi_random(stage: Stage) -> Any:
    """Return points of the unit cube [trials, parameters] (scrambled, Owen 1998)."""
    import warnings

    from scipy.stats import qmc

    kind = qmc.Sobol if stage.sampler == "sobol" else qmc.Halton
    engine = kind(len(stage.parameters), scramble=True, rng=stage.sampler_seed)
    with warnings.catch_warnings():
        # A number that is no power of two loses Sobol's balance, not its order.
        warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
        return engine.random(stage.trials)


def ask(stage: Stage, told: Sequence[tuple[Point, float | None]], number: int) -> list[Point]:
    """Return the next points of Optuna's tree-structured Parzen estimator, maximising.

    Args:
        stage: whose sampler is `tpe`.
        told: all points so far, with what they came to; None where they were infeasible.
        number: of points to ask for.

    The same points for the same arguments: the sampler is made anew, seeded by the stage's seed
    and the number of points told.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(
        seed=stage.sampler_seed + len(told),
        n_startup_trials=max(4, 2 * len(stage.parameters)),
        multivariate=True,
        constant_liar=True,
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {one.name: _distribution(one) for one in stage.parameters}
    for point, value in told:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: _inside(space[name], at) for name, at in point.items()},
                distributions=space,
                value=value,
                state=optuna.trial.TrialState.COMPLETE
                if value is not None
                else optuna.trial.TrialState.PRUNED,
            )
        )
    known = {tuple(point.items()) for point, _ in told}
    asked: dict[tuple[Any, ...], Point] = {}
    for _ in range(20 * number):  # a point that is known already teaches nothing
        if len(asked) == number:
            break
        trial = study.ask(space)
        point = {one.name: _named(one, trial.params[one.name]) for one in stage.parameters}
        if tuple(point.items()) not in known:
            asked.setdefault(tuple(point.items()), point)
    return list(asked.values())


def _distribution(one: Any) -> Any:
    import optuna

    if not one.is_range:
        return optuna.distributions.CategoricalDistribution(one.values)
    if one.integer:
        return optuna.distributions.IntDistribution(
            int(one.low), int(one.high), log=one.scale == "log"
        )
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.scale == "log")


def _inside(distribution: Any, value: Value) -> Value:
    """Return a value that was rounded for a name, moved back into its range."""
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    return value if low is None else min(max(value, low), high)


def _named(one: Any, value: Value) -> Value:
    from perturb.search.settings import rounded

    return rounded(float(value)) if one.is_range and not one.integer else value
