"""What an estimate takes in floating-point operations, and what a toy takes in all. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from perturb.planning.cost import Cost

if TYPE_CHECKING:
    import pandas as pd

    from perturb.studies.gradients.settings import Nes, ToySpecification

Number = TypeVar("Number", float, "pd.Series[float]")
# Kinds of NES that share perturbations, and so losses, where they share a window.
SHARED = ({"plain", "baseline"}, {"antithetic", "rank"}, {"spsa"})
STEPS = 3  # hidden, all, raw
# In additions of the tables that losses are looked up in (d^2 for one sample), as measured on CPUs:
# what else a sample takes for each unit, a drawn number, a unit of a sample in a forward and
# backward (what is no product decides there), an operation of the factorised gradient.
ROWS, DRAWN, BACKWARD, PRODUCT = 11, 270, 1700, 2.3


def forward(d: Number) -> Number:
    """Return the operations of one forward of a sample: 2 (3 d^2 + d)."""
    return 2 * (3 * d**2 + d)


def factorised(d: Number, windows: int = 1) -> Number:
    """Return those of the factorised coordinate gradient, for each sample.

    A forward, and for each flipped unit what is left of the network: flips of the first layer run
    through one matrix product per unit, of the second through a dot product; moving one activation
    changes d preactivations. Then one product for each layer and window.
    """
    flips = (2 * d**3 + 4 * d**2) + 4 * d**2 + 4 * d
    return forward(d) + flips + windows * 3 * 2 * d**2


def cost(toy: ToySpecification, steps: int = 0) -> Cost:
    """Return the work of a run, which its seconds on a CPU are proportional to.

    At most, for kinds of NES that choose the same window share losses. The weights of its terms
    are measured: docs/gradients.md.
    """
    d = float(toy.dimension)
    straight, kinds = len(toy.straight_through), sum(len(nes.kinds) for nes in toy.nes)
    arms = 1 + kinds + straight
    windows, rates = len(toy.windows), 5 * toy.learning_rates + 1
    evaluated = windows * sum(map(_scanned, toy.nes))
    evaluated += toy.batches * sum(nes.evaluations * len(nes.kinds) for nes in toy.nes)
    moved = ((1 + kinds) * windows + straight) * (rates + 3)  # the scan's own steps
    moved += STEPS * arms * (rates + 1 + 3 * toy.batches)
    looked_up = evaluated * toy.samples + moved * toy.held_out_samples
    backward = toy.pretraining * toy.pretraining_samples
    backward += straight * ((1 + toy.batches) * toy.samples + toy.pooled_samples)
    coordinate = toy.samples * (factorised(d, windows) + toy.batches * factorised(d))
    coordinate += toy.pooled_samples * factorised(d)
    count = looked_up * (d**2 + ROWS * d) + DRAWN * evaluated * (3 * d**2 + d)
    count += BACKWARD * backward * d + PRODUCT * coordinate
    return Cost(count, exact=False, unit="additions of the toy's tables")


def _scanned(nes: Nes) -> int:
    """Return the evaluations of the loss that all kinds take at one window."""
    return nes.evaluations * sum(bool(group & set(nes.kinds)) for group in SHARED)
