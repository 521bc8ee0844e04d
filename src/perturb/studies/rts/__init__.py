"""When and how much to perturb the weights: PUGD and its peers, with radius, scale and timing."""

from __future__ import annotations

from collections.abc import Sequence

from perturb import bases, code, names
from perturb.comparison import Comparing
from perturb.planning.cost import Cost
from perturb.planning.evaluations import evaluations
from perturb.studies.rts import across
from perturb.studies.rts.figures import figures
from perturb.studies.rts.settings import RtsSpecification


def _uses(run: RtsSpecification) -> Sequence[str]:
    bases.options_of(run.base)
    rule = names.parse(run.method).rule
    return (f"perturb.optim.rules.{rule}", f"perturb.optim.bases.{run.base}")


def _entries(run: RtsSpecification) -> dict[str, str]:
    """Return the hash of what the method's name came to.

    So a change of the grammar makes those runs again whose names mean something else by it.
    """
    return {"method": code.hash_text(repr(names.parse(run.method)))}


def _model(method: names.Method) -> str:
    """Return the model that a name names: the notebook's ResNet-18 has the ImageNet stem."""
    return {"resnet18": "resnet18_imagenet"}.get(method.model or "", method.model or "")


def _cost(run: RtsSpecification, steps: int) -> Cost:
    found = evaluations(names.parse(run.method), steps)
    return Cost(found.count, found.exact)


RTS = Comparing(
    name="rts",
    specification=RtsSpecification,
    parse=names.parse,
    format=names.format,
    epochs=lambda method: method.epochs,
    model=_model,
    section=lambda method: method.axis,
    sections=("Baselines", "Radius", "Scale", "Radius and scale", "Timing"),
    figures=figures,
    across=across.relative,
    across_words=across.NAMES,
    timed=lambda method: method.timing is not None,
    prefix="",
    predicted=True,
    example="{model: cnn, epochs: 5, methods: [sgd, pugd]}",
    with_epochs=names.with_epochs,
)
STUDY = RTS.study(
    heads=names.heads(),
    learner="perturb.studies.rts.learner:learner",
    cost=_cost,
    uses=_uses,
    entries=_entries,
)
