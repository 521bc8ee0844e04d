"""Study reid: re-identification under label noise, one network or two (docs/reid.md)."""

from __future__ import annotations

from perturb import code
from perturb.planning.cost import Cost
from perturb.studies.reid import chapters, methods
from perturb.studies.reid.settings import ReidSpecification
from perturb.study import Study


def _cost(run: ReidSpecification, steps: int) -> Cost:
    """Return epochs times networks; of one data set and model, seconds go with them."""
    found = methods.method(run.method)
    return Cost(found.epochs * found.definition.networks, unit="epochs of a network")


STUDY = Study(
    name=chapters.NAME,
    heads=methods.HEADS,
    parse=methods.parse,
    format=methods.format,
    epochs=lambda name: methods.method(name).epochs,
    resolve=chapters.resolve,
    specification=ReidSpecification,
    learner="perturb.studies.reid.learner:learner",
    entries=lambda run: code.of_model(run.model),
    chapters=chapters.chapters,
    cost=_cost,
    entry=chapters.entry_of,
    published=chapters.published,
)
