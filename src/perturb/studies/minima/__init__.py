"""Study minima: does a network that is pushed away from where it was follow the valley, or jump.

docs/minima.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from perturb import code
from perturb.planning.cost import Cost
from perturb.studies.minima import chapters, names, settings
from perturb.studies.minima.settings import MinimaSpecification
from perturb.study import Study


def _uses(run: MinimaSpecification) -> Sequence[str]:
    rule = "ugd" if run.normalised else "sgd"
    own = "perturb.studies.minima.together" if run.members else f"perturb.optim.rules.{rule}"
    return (own, f"perturb.optim.bases.{run.base}")


def _cost(run: MinimaSpecification, steps: int) -> Cost:
    return Cost(steps * names.parse(run.method).epochs * max(run.members, 1))


STUDY = Study(
    name=settings.NAME,
    heads=names.HEADS,
    parse=names.parse,
    format=names.format,
    epochs=lambda method: names.parse(method).epochs,
    resolve=settings.resolve,
    specification=MinimaSpecification,
    learner="perturb.studies.minima.learner:learner",
    uses=_uses,
    entries=lambda run: code.of_model(run.architecture),
    begins_from=settings.begins_from,
    chapters=chapters.chapters,
    cost=_cost,
)
