"""Searches of your own, over settings of any method and any data set (docs/tune.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perturb import bases, code
from perturb.planning.cost import Cost
from perturb.planning.evaluations import evaluations
from perturb.search.study import Searching
from perturb.studies.tune import settings
from perturb.studies.tune.settings import TuneSpecification


def _uses(run: TuneSpecification) -> Sequence[str]:
    bases.options_of(run.base)
    rule = settings.parse(run.method).method.rule
    return (f"perturb.optim.rules.{rule}", f"perturb.optim.bases.{run.base}")


def _entries(run: TuneSpecification) -> Mapping[str, str]:
    return {"method": code.hash_text(repr(settings.parse(run.method).method))}


def _cost(run: TuneSpecification, steps: int) -> Cost:
    found = evaluations(settings.parse(run.method).method, steps)
    return Cost(found.count, found.exact)


TUNE = Searching(
    name=settings.NAME,
    specification=TuneSpecification,
    parse=settings.parse,
    format=settings.format,
    epochs=lambda tuned: tuned.method.epochs,
    settings=settings.set_by_name,
)
STUDY = TUNE.study(
    heads=(settings.HEAD,),
    learner="perturb.studies.tune.learner:learner",
    cost=_cost,
    uses=_uses,
    entries=_entries,
)
