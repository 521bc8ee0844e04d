"""What this study trains: a classifier, by the update rule of the method's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perturb.train import classifier
from perturb.train.classifier import Classifier
from perturb.train.learner import Inputs

if TYPE_CHECKING:
    from perturb.studies.rts.settings import RtsSpecification


def learner(specification: RtsSpecification, inputs: Inputs) -> Classifier:
    """Return the classifier of one run (`perturb.train.classifier.build`)."""
    return classifier.build(
        specification,
        inputs,
        schedule_clock=specification.schedule_clock,
        bn_second_pass=specification.bn_second_pass,
    )
