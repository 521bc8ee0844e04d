"""What this study trains: a classifier, by the update rule and the settings of the run's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perturb import names
from perturb.studies.tune.settings import parse
from perturb.train import classifier
from perturb.train.classifier import Classifier
from perturb.train.learner import Inputs

if TYPE_CHECKING:
    from perturb.studies.tune.settings import TuneSpecification


def learner(specification: TuneSpecification, inputs: Inputs) -> Classifier:
    """Return the classifier of one run (`perturb.train.classifier.build`)."""
    return classifier.build(
        specification,
        inputs,
        method=names.format(parse(specification.method).method),
        schedule_clock=specification.schedule_clock,
        bn_second_pass=specification.bn_second_pass,
    )
