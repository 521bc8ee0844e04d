"""How often the intervals cover, and the tests and verdicts err, by simulation.

    python -m perturb.analysis.coverage

prints the table that docs/statistics.md quotes. It calls what the tables call, on made-up
accuracies whose truth is known: y = method + seed + noise, noise of standard deviation 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from perturb.analysis import aggregates, images, pooling, ranking, spread, statistics
from perturb.analysis.statistics import LEVEL, POWER

METHODS = 28
_NORMAL = "normal"
_SKEWED = "skewed (gamma, shape 2)"


@dataclass(frozen=True)
class Measured:
    """A rate over `replicates` simulated studies beside what it should be."""

    what: str
    noise: str
    seeds: int
    nominal: float
    rate: float
    replicates: int

    @property
    def error(self) -> float:
        """The standard error of the rate, were it the nominal one."""
        return float(np.sqrt(self.nominal * (1 - self.nominal) / self.replicates))


def draw(noise: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return noise of mean 0 and standard deviation 1."""
    generator = np.random.default_rng(seed)
    if noise == _NORMAL:
        return generator.standard_normal(shape)
    return (generator.gamma(2.0, 1.0, shape) - 2.0) / np.sqrt(2.0)


def t_coverage(noise: str, n: int, replicates: int = 4000, seed: int = 0) -> Measured:
    """How often the t interval of a mean holds it."""
    low, high = statistics.t_interval(draw(noise, (replicates, n), seed))
    return Measured("t interval", noise, n, 0.95, _covering(low, high), replicates)


def bootstrap_coverage(noise: str, n: int, replicates: int = 2000, seed: int = 0) -> Measured:
    """How often the bootstrap-t interval of a mean holds it (999 resamples)."""
    values = draw(noise, (replicates, n), seed)
    low, high = statistics.bootstrap_interval(values, resamples=999)
    finite = np.isfinite(low) & np.isfinite(high)
    what = "bootstrap-t interval" + ("" if finite.mean() > 0.5 else ", infinitely wide")
    return Measured(what, noise, n, 0.95, _covering(low, high), replicates)


def scipy_bootstrap_coverage(method: str, noise: str, n: int, replicates: int = 1000) -> Measured:
    """How often an interval of `scipy.stats.bootstrap` would hold the mean, for comparison."""
    found = stats.bootstrap(
        (draw(noise, (replicates, n), 0),),
        np.mean,
        axis=-1,
        n_resamples=999,
        method=method,
        batch=100,
        rng=np.random.default_rng(0),
    ).confidence_interval
    what = f"{method} bootstrap (SciPy's, not used)"
    return Measured(what, noise, n, 0.95, _covering(found.low, found.high), replicates)


def pooled_coverage(
    n: int, spreads: str = "equal", replicates: int = 1000, methods: int = METHODS, seed: int = 0
) -> Measured:
    """How often the pooled interval of the difference of two methods holds it.

    `spreads` is `equal`, or `unequal`: every second method's noise is twice as large, that of
    the two compared among them, which is where the interval is too narrow.
    """
    values, factors = _study(n, replicates, methods, seed), np.ones(methods)
    if spreads == "unequal":
        factors[1::2] = 2.0
    held = []
    for study in values * factors[:, None]:
        low, high = pooling.pool(_by_seed(study), resamples=1).interval("001", "003")
        held.append(low <= 0 <= high)
    what = f"pooled interval, {methods} methods of {spreads} spread"
    return Measured(what, _NORMAL, n, 0.95, float(np.mean(held)), replicates)


def equal_spread_error(
    n: int, images: int, sd: float = 0.003, replicates: int = 400, methods: int = METHODS
) -> Measured:
    """How often the test of equal spreads rejects them where they are equal.

    Accuracies of `methods` around 93 % (standard deviation 1 point between methods, 0.3 between
    seeds) with noise of standard deviation `sd`, in steps of 1 / `images`.
    """
    generator = np.random.default_rng(n)
    columns = [np.repeat(np.arange(methods), n), np.tile(np.arange(n), methods)]
    design = np.hstack([np.eye(methods)[columns[0]], np.eye(n)[columns[1]]])
    rejected = 0
    for seed in range(replicates):
        means = 0.93 + 0.01 * generator.standard_normal((methods, 1))
        common = 0.003 * generator.standard_normal((1, n))
        values = means + common + sd * generator.standard_normal((methods, n))
        values = np.rint(np.minimum(values, 1) * images) / images
        found = spread.equal_spread(
            design, values.ravel(), columns[0], 1 / images, resamples=199, seed=seed
        )
        rejected += found is not None and found <= LEVEL  # of 200, exactly 5 % are
    of = f"{sd * images:g} image" + ("" if sd * images == 1 else "s")
    what = f"equal spread rejected, {methods} methods, {images:,} images, noise of {of}"
    return Measured(what, _NORMAL, n, LEVEL, rejected / replicates, replicates)


def image_coverage(
    n: int, images_of_test: int, replicates: int = 400, seed: int = 0
) -> list[Measured]:
    """How often intervals hold a mean, and a difference, for other seeds and other test images.

    A network is right on an image where its skill, with noise of its own, exceeds the image's
    difficulty (probit model): accuracy 85 %, difficulties of standard deviation 1.2, seeds' skills
    of 0.05, and a method's on an image of 0.15. Both methods are equally good.
    """
    generator = np.random.default_rng(seed)
    spreads = {"seed": 0.05, "image": 1.2, "method": 0.15}
    truth = float(stats.norm.cdf(1.6 / np.sqrt(1 + sum(s**2 for s in spreads.values()))))
    names = (
        f"interval of a mean over seeds and images, {images_of_test:,} images",
        f"interval of a difference over seeds and images, {images_of_test:,} images",
        f"t interval over seeds, for other test images, {images_of_test:,} images",
    )
    held = np.zeros(3)
    for _ in range(replicates):
        difficulty = spreads["image"] * generator.standard_normal(images_of_test)
        ours, theirs = (
            generator.standard_normal((n, images_of_test))
            < 1.6
            + difficulty
            + spreads["method"] * generator.standard_normal(images_of_test)
            + spreads["seed"] * generator.standard_normal((n, 1))
            for _ in range(2)
        )
        mean = images.interval(ours.astype(float))
        difference = images.interval(ours.astype(float) - theirs)
        low, high = statistics.t_interval(ours.mean(axis=1))
        held += [
            mean is not None and mean[0] <= truth <= mean[1],
            difference is not None and difference[0] <= 0 <= difference[1],
            bool(low <= truth <= high),
        ]
    return [
        Measured(name, "probit", n, 0.95, float(rate), replicates)
        for name, rate in zip(names, held / replicates, strict=True)
    ]


def equivalence_error(noise: str, n: int, margin: float, replicates: int = 4000) -> Measured:
    """How often a difference as large as the margin is called equivalent (uncorrected)."""
    differences = margin + draw(noise, (n, replicates), 0)
    rate = np.mean(statistics.equivalence(differences, margin) < LEVEL)
    what = f"equivalence shown at a true difference of the margin, {margin:g} sd"
    return Measured(what, noise, n, LEVEL, float(rate), replicates)


def family_error(n: int, replicates: int = 4000, methods: int = METHODS) -> Measured:
    """How often any of a table's methods, all equal to the reference, is called different."""
    studies = _study(n, replicates, methods, 0)
    differences = studies[:, 1:] - studies[:, :1]
    p_values = stats.ttest_1samp(differences, 0.0, axis=-1).pvalue
    what = f"any of {methods - 1} equal methods called different (Holm)"
    return Measured(what, _NORMAL, n, LEVEL, _any_rejected(p_values), replicates)


def equivalence_family_error(n: int, margin: float, replicates: int = 4000) -> Measured:
    """How often any of a table's methods, all the margin away, is called equivalent."""
    studies = _study(n, replicates, METHODS, 0)
    differences = margin + studies[:, 1:] - studies[:, :1]
    flat = differences.reshape(-1, n).T
    p_values = statistics.equivalence(flat, margin).reshape(replicates, -1)
    what = f"any of {METHODS - 1} methods the margin ({margin:g} sd) away called equivalent (Holm)"
    return Measured(what, _NORMAL, n, LEVEL, _any_rejected(p_values), replicates)


def detection(n: int, replicates: int = 4000) -> Measured:
    """How often the t test finds a difference of the size said to be detectable."""
    differences = statistics.detectable_difference(n, 1.0) + draw(_NORMAL, (replicates, n), 0)
    rate = np.mean(stats.ttest_1samp(differences, 0.0, axis=-1).pvalue < LEVEL)
    return Measured("detectable difference found", _NORMAL, n, POWER, float(rate), replicates)


def ranking_error(datasets: int, replicates: int = 2000, methods: int = 8) -> Measured:
    """How often the ranking's test speaks where no method is better than another.

    The column `seeds` then holds the number of data sets.
    """
    accuracies = draw(_NORMAL, (replicates, datasets, methods), 0)
    rate = np.mean([ranking.friedman(study) < LEVEL for study in accuracies])
    what = f"ranking of {methods} equal methods called unequal (number of data sets)"
    return Measured(what, _NORMAL, datasets, LEVEL, float(rate), replicates)


def improvement_coverage(n: int, datasets: int = 4, replicates: int = 300) -> Measured:
    """How often the interval of a probability of improvement of 0.76 holds it."""
    generator, truth = np.random.default_rng(n), float(stats.norm.cdf(1 / np.sqrt(2)))
    held = 0
    for _ in range(replicates):
        ours, theirs = (generator.standard_normal((datasets, n)) + shift for shift in (1, 0))
        found = aggregates.probability_of_improvement(list(ours), list(theirs))
        held += found.low is not None and found.low <= truth <= found.high
    what = f"probability of improvement over {datasets} data sets"
    return Measured(what, _NORMAL, n, 0.95, held / replicates, replicates)


def measure() -> list[Measured]:
    """Return every row of the table."""
    noises = (_NORMAL, _SKEWED)
    parts: list[Callable[[], Measured]] = []
    for noise in noises:
        parts += [lambda n=n, x=noise: t_coverage(x, n) for n in (3, 6, 10)]
        parts += [lambda n=n, x=noise: bootstrap_coverage(x, n) for n in (3, 4, 5, 6, 10, 20)]
        parts += [
            lambda n=n, x=noise, m=method: scipy_bootstrap_coverage(m, x, n)
            for method in ("percentile", "BCa")
            for n in (3, 5, 10, 20)
        ]
    parts += [lambda n=n, s=s: pooled_coverage(n, s) for s in ("equal", "unequal") for n in (3, 6)]
    parts += [
        lambda n=n, i=images: equal_spread_error(n, i)
        for n in (3, 5, 10)
        for images in (100, 360, 1000, 10_000)
    ]
    parts += [lambda n=n: equivalence_error(_NORMAL, n, 2.0) for n in (3, 6, 10)]
    parts += [lambda n=n: family_error(n) for n in (3, 6)]
    parts += [lambda n=n: equivalence_family_error(n, 4.0) for n in (3, 6)]
    parts += [lambda n=n: detection(n) for n in (3, 6, 10)]
    parts += [lambda n=n: ranking_error(n) for n in (3, 6)]
    found = [part() for part in parts]
    found += [improvement_coverage(n) for n in (3, 5, 10)]
    for n in (3, 5, 10):
        for number in (100, 1000, 10_000):
            found += image_coverage(n, number, replicates=400 if number < 10_000 else 100)
    return found


def table(rows: list[Measured]) -> str:
    """Return the rows as a Markdown table, rates in percent with their standard error."""
    lines = ["| rate | noise | seeds | nominal (%) | measured (%) |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.noise} | {row.seeds} | {100 * row.nominal:.0f} | "
        f"{100 * row.rate:.1f} ± {100 * row.error:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _covering(low: np.ndarray, high: np.ndarray) -> float:
    return float(np.mean((low <= 0) & (high >= 0)))


def _any_rejected(families: np.ndarray) -> float:
    """Return the share of families of p-values of which one is below the level after Holm."""
    rejected = [min(statistics.holm(list(p_values))) < LEVEL for p_values in families]
    return float(np.mean(rejected))


def _study(n: int, replicates: int, methods: int, seed: int) -> np.ndarray:
    """Return noise [replicates, methods, seeds] with what is common to the methods of a seed."""
    common = draw(_NORMAL, (replicates, 1, n), seed + 1)
    return draw(_NORMAL, (replicates, methods, n), seed) + common


def _by_seed(study: np.ndarray) -> dict[str, dict[int, float]]:
    return {f"{m:03}": dict(enumerate(map(float, row))) for m, row in enumerate(study)}


if __name__ == "__main__":
    print(table(measure()))
