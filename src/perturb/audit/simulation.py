"""Made-up folders of result files whose truth is known, and how often an audit tells it.

    python -m perturb.audit.simulation --folders 100

prints the error rates. The curves follow no formula of the audit's own: the loss grows with a
power of the radius that changes over the epochs, the accuracy has its own noise in every epoch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perturb import names
from perturb.audit.claims import HOLDS, REVERSED, Claim
from perturb.audit.plan import AuditPlan
from perturb.audit.schedules import readings_of
from perturb.audit.study import Audit, build

EPOCHS = 60
SCHEDULES = (
    "pugdr_icos_2_0.01",
    "pugdr_icos_3_0.1",
    "pugdr_icos_1_0.3",
    "pugdr_isin_2_0.01",
    "pugdr_isin_2_0.1",
    "pugdr_isin_3_0.1",
    "pugdr_cos_1.5_0.5",
    "pugdr_cos_2_0.1",
    "pugdr_cos_3_0.5",
    "pugdr_sin_2_0.1",
    "pugdr_sin_3_0.5",
    "pugdr_sin_1.5_0.2",
)
PLAIN = (
    "pugd",
    "pugds_icos_2_1",
    "pugds_isin_3_0.8",
    "pugds_cos_1.5_0",
    "pugds_sin_2_0",
    "pugdr_const_0.5",
)
# Of the methods whose name is right, the first half have no effect, the rest these (fractions).
EFFECTS = (0.005, -0.005, 0.01, -0.01)


@dataclass(frozen=True)
class Truth:
    """What was planted: `effects` by method against pugd, `swapped` methods, paths by finding."""

    sd: float
    effects: Mapping[str, float]
    swapped: frozenset[str]
    planted: Mapping[str, frozenset[str]]


def make_folder(
    folder: Path, random_seed: int, *, seeds: int = 3, sd: float = 0.002, swaps: int = 3
) -> Truth:
    """Write a folder of `seeds` runs a method with noise `sd` between them; return its truth.

    `swaps` schedules are run with alpha for 1/alpha. One SGD run's learning rate climbs again, one
    file is another's double, one is cut off, one has a value that is no number.
    """
    random = np.random.default_rng(random_seed)
    methods = [f"{name}_{EPOCHS}" for name in (*PLAIN, *SCHEDULES)]
    swapped = frozenset(random.choice([f"{n}_{EPOCHS}" for n in SCHEDULES], swaps, replace=False))
    shuffled = [str(name) for name in random.permutation(methods[1:])]
    sizes = [0.0] * (len(shuffled) // 2) + list(EFFECTS) * len(shuffled)
    effects = {methods[0]: 0.0, **dict(zip(shuffled, sizes, strict=False))}
    for name in methods:
        method = names.parse(name)
        run = readings_of(method)["reciprocal"] if name in swapped else method
        for seed in range(seeds):
            curves = _run(random, run, 0.93 + effects[name] + random.normal(0, sd))
            _write(folder / f"{name}-{seed}.json", curves)
    climbing = _run(random, names.parse(f"sgd_{EPOCHS}"), 0.925)
    _write(folder / f"sgd_{EPOCHS}-0.json", {k: [*v, *reversed(v)] for k, v in climbing.items()})
    return Truth(sd, effects, swapped, _spoil(folder, random, climbing))


def _run(random: np.random.Generator, method: names.Method, accuracy: float) -> dict[str, list]:
    """Return the curves of a run that ends near `accuracy`."""
    epoch = np.arange(EPOCHS)
    progress = epoch / (EPOCHS - 1)
    radius = np.array(
        [method.radius.value(e, EPOCHS) if method.radius else 1.0 for e in epoch], dtype=float
    )
    power = 0.15 + 0.6 * progress
    annealed = 2.2 * np.exp(-4.2 * progress) * (0.05 + radius) ** power
    scatter = random.normal(0, 0.04) + random.normal(0, 0.02, EPOCHS)
    rising = accuracy * (1 - 0.45 * np.exp(-epoch / 6)) + random.normal(0, 0.0005, EPOCHS)
    rising[-1] = accuracy  # so that noise between runs is `sd`, exactly what was planted
    return {"train_loss": list(annealed * np.exp(scatter)), "test_accuracy": list(rising)}


def _write(path: Path, curves: Mapping[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(curves), encoding="utf-8")


def _spoil(
    folder: Path, random: np.random.Generator, climbing: Mapping[str, list]
) -> dict[str, frozenset[str]]:
    """Add files with a fault each, of methods that no comparison needs; return their names."""
    curves = _run(random, names.parse("pugd_60"), 0.93)
    _write(folder / "looksam_0.05_60-0.json", curves)
    _write(folder / "looksam_0.05_60-1.json", curves)
    whole = json.dumps(_run(random, names.parse("pugd_60"), 0.93))
    (folder / "asam_0.5_60-0.json").write_text(whole[: len(whole) // 2], encoding="utf-8")
    curves = _run(random, names.parse("pugd_60"), 0.93)
    curves["test_accuracy"][30] = float("nan")
    _write(folder / "ugd_60-0.json", curves)
    return {
        "learning_rate": frozenset({f"sgd_{EPOCHS}-0.json"}),
        "epochs": frozenset({f"sgd_{EPOCHS}-0.json"}),
        "duplicate": frozenset({"looksam_0.05_60-1.json"}),
        "truncated": frozenset({"asam_0.5_60-0.json"}),
        "non_finite": frozenset({"ugd_60-0.json"}),
    }


def plan_of(folder: Path) -> AuditPlan:
    """Return the plan that audits a made-up folder."""
    pattern = r"(?P<method>[^/]+)-(?P<seed>\d+)\.json"
    return AuditPlan("made_up", str(folder), pattern=pattern, dataset="made up")


@dataclass
class Score:
    """Counts of right and wrong over folders, by what was asked."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, truth: Truth, audit: Audit) -> None:
        """Count what an audit of one folder got right and wrong."""
        counted = [c for c in audit.claims if _counts(c, truth)]
        false = [self._claim(claim, truth) for claim in counted]
        self._tally("folders with a false holds or reversed", any(false))
        found = {f.path.rpartition("-")[0] for f in audit.of_kind("contradiction")}
        for name in truth.effects:
            if names.parse(name).radius is not None:
                label = "swaps found" if name in truth.swapped else "false alarms of a swap"
                self._tally(label, name in found)
        for kind, paths in truth.planted.items():
            flagged = {finding.path for finding in audit.of_kind(kind)}
            self._tally(f"planted faults found ({kind})", paths <= flagged)
            self._tally(f"folders with a false fault ({kind})", bool(flagged - paths))

    def _claim(self, claim: Claim, truth: Truth) -> bool:
        """Count one claim; return whether it holds, or is reversed, falsely."""
        effect = truth.effects[claim.method.name]
        self._tally("intervals that cover the truth", claim.low <= effect <= claim.high)
        said = {HOLDS: 1, REVERSED: -1}.get(claim.verdict, 0)
        if effect == 0:
            self._tally("false holds or reversed, of claims without effect", said != 0)
            return said != 0
        size = f"effects of {100 * abs(effect):.1f} points"
        self._tally(f"{size} missed", said == 0)
        self._tally(f"{size} told the wrong way", said * effect < 0)
        return said * effect < 0

    def _tally(self, label: str, event: bool) -> None:
        self.counts[label, "of"] += 1
        self.counts[label, "yes"] += bool(event)

    def rate(self, label: str) -> float:
        """Return the share of cases in which what the label says was so."""
        return self.counts[label, "yes"] / self.counts[label, "of"]

    def labels(self) -> list[str]:
        """Return what was counted, sorted."""
        return sorted({label for label, _ in self.counts})

    def table(self) -> str:
        """Return the counts and rates as a Markdown table."""
        lines = ["| what | cases | rate |", "| --- | ---: | ---: |"]
        for label in self.labels():
            lines.append(f"| {label} | {self.counts[label, 'of']} | {self.rate(label):.3f} |")
        return "\n".join(lines)


def _counts(claim: Claim, truth: Truth) -> bool:
    """Return whether a claim is one of what was planted, and not of a swapped method's."""
    name = claim.method.name
    return (
        name in truth.effects
        and name not in truth.swapped
        and claim.baseline.name == f"pugd_{EPOCHS}"
        and claim.low is not None
    )


def simulate(random_seeds: Iterable[int], **options: float) -> Score:
    """Audit one made-up folder a random seed and return the score; `options` of `make_folder`."""
    score = Score()
    for random_seed in random_seeds:
        with tempfile.TemporaryDirectory() as name:
            truth = make_folder(Path(name), random_seed, **options)
            score.add(truth, build(plan_of(Path(name))))
    return score


def main() -> None:
    """Print the error rates over made-up folders."""
    parser = argparse.ArgumentParser(description="Error rates of audits of made-up folders.")
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method")
    parser.add_argument("--sd", type=float, default=0.002, help="noise between runs, of 1")
    parser.add_argument("--swaps", type=int, default=3, help="schedules run as their reciprocal")
    options = parser.parse_args()
    score = simulate(
        range(options.folders), seeds=options.seeds, sd=options.sd, swaps=options.swaps
    )
    print(score.table())


if __name__ == "__main__":
    main()
