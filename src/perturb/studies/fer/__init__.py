"""Which settings IResNet-50 + ViT wants for facial expressions, and what it costs to run."""

from __future__ import annotations

from collections.abc import Sequence

from perturb.planning.cost import Cost
from perturb.search.study import Searching
from perturb.studies.fer import settings
from perturb.studies.fer.settings import FerSpecification


def _cost(run: FerSpecification, steps: int) -> Cost:
    # A last batch that is smaller may be left out.
    return Cost(steps * (settings.parse(run.method).epochs or 0), exact=not run.drop_last)


def _uses(run: FerSpecification) -> Sequence[str]:
    return ("perturb.optim.rules.sgd", f"perturb.optim.bases.{run.base}")


FER = Searching(
    name=settings.NAME,
    specification=FerSpecification,
    parse=settings.parse,
    format=settings.format,
    epochs=lambda slug: slug.epochs,
    settings=settings.set_by_name,
    models=settings.MODELS,
)
STUDY = FER.study(
    heads=settings.HEADS, learner="perturb.studies.fer.learner:learner", cost=_cost, uses=_uses
)
