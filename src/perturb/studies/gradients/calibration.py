"""What a unit of a toy's cost takes on this machine, where no toy has finished."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from perturb import studies
from perturb.gradients.kept import Kept
from perturb.jobs.progress import Progress
from perturb.studies.gradients import toy

if TYPE_CHECKING:
    from perturb.studies.gradients.settings import ToySpecification

_FIRST = 1e-3  # of the work
_GROWTH = 3.0  # from one try to the next


def seconds_of_unit(specification: ToySpecification, seconds: float) -> float:
    """Return the seconds of a floating-point operation of toys like this one.

    A toy of the same dimension and arms is timed whose samples, perturbations and batches are
    fewer. A very small one tells what every toy takes beside its operations; then they grow until
    one takes about `seconds`, or is whole.
    """
    smallest = _smaller(specification, _FIRST)
    _timed(smallest)  # warms up
    besides, least = _timed(smallest)
    share = _FIRST
    while True:
        share = min(1.0, _GROWTH * share)
        took, count = _timed(_smaller(specification, share))
        if share == 1:
            return took / count
        if took > besides + seconds / 3 and count > least:
            return (took - besides) / (count - least)


def _timed(small: ToySpecification) -> tuple[float, float]:
    """Return the seconds and the cost of a toy that leaves no files."""
    start = time.perf_counter()
    toy.run(small, Kept(), Progress(None, toy.count(small)))
    return time.perf_counter() - start, _cost(small)


def _cost(specification: ToySpecification) -> float:
    return studies.get(specification.study).cost(specification, 0).count


def _smaller(specification: ToySpecification, share: float) -> ToySpecification:
    """Return a toy of at most that share of the work, or the least that there is."""
    alike, most = 1.0, share * _cost(specification)
    while (small := _thinned(specification, alike)) and _cost(small) > most and alike > _FIRST:
        alike /= 1.25
    return small


def _thinned(specification: ToySpecification, share: float) -> ToySpecification:
    """Return a toy with that share of the samples, perturbations and batches, each some at least.

    Evaluations of NES stay even, for they come in pairs.
    """

    def of(number: int, least: int) -> int:
        return max(min(least, number), round(share * number))

    return msgspec.structs.replace(
        specification,
        samples=of(specification.samples, 16),
        held_out_samples=of(specification.held_out_samples, 16),
        pooled_samples=of(specification.pooled_samples, 32),
        batches=of(specification.batches, 1),
        pretraining=of(specification.pretraining, 0),
        nes=tuple(
            msgspec.structs.replace(nes, evaluations=of(nes.evaluations // 2, 5) * 2)
            for nes in specification.nes
        ),
    )
