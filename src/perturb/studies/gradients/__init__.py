"""Study gradients: which estimate of a discrete network's gradient points downhill.

Its runs are toys, `toy_dimension-8_pretraining-2000`; docs/gradients.md.
"""

from perturb.studies.gradients import chapters, cost, settings
from perturb.study import Study

STUDY = Study(
    name=settings.NAME,
    heads=(settings.HEAD,),
    parse=settings.parse,
    format=settings.format,
    epochs=lambda method: 1,
    resolve=settings.resolve,
    specification=settings.ToySpecification,
    job="perturb.studies.gradients.run:run",
    learner="perturb.studies.gradients.toy:run",
    chapters=chapters.chapters,
    cost=cost.cost,
    calibrate="perturb.studies.gradients.calibration:seconds_of_unit",
    rule="toy",
)
