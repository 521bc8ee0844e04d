"""What decides one run of this study. Pure, without torch."""

from __future__ import annotations

from perturb.train.settings import TrainSettings


class RtsSpecification(TrainSettings, frozen=True, kw_only=True):
    """A classifier's settings, and two of the update rules' own (`perturb.optim`)."""

    study: str = "rts"
    schedule_clock: str = "epoch"
    bn_second_pass: bool = False
