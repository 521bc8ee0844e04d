"""What a unit of a study's cost takes here, where the study measures that itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from perturb import studies
from perturb.errors import PerturbError
from perturb.files import read_json, write_json
from perturb.planning.here import calibration_file, device_here
from perturb.runs import Specification
from perturb.study import load

SECONDS = 5.0  # that a study may take about for its measurement


@dataclass(frozen=True)
class UnitCost:
    """The seconds of a unit of cost on a device, for runs like one, whose settings stand beside."""

    device: str
    unit: str
    seconds: float
    settings: dict[str, object]


def unit_cost(specification: Specification, folder: Path, results: Path) -> UnitCost:
    """Return what a unit of cost takes here for runs like this one; measured once, then kept.

    `folder` keeps it; `results` is where finished runs are.
    PerturbError where neither a finished run nor its study can tell.
    """
    study = studies.get(specification.study)
    if not study.calibrate:
        raise PerturbError(
            f"plan: nothing is known of {specification.model} on {specification.dataset} on this "
            f"machine, and study {study.name} times no units of cost. Finish a run first: "
            f"snakemake -- {results / specification.run.record}"
        )
    path = calibration_file(specification, folder)
    plain = json.loads(json.dumps(specification.settings()))
    if path.exists():
        kept = UnitCost(**read_json(path, "Delete the file and plan again to measure anew."))
        if kept.settings == plain:
            return kept
    seconds = load(study.calibrate)(specification, SECONDS)
    unit = study.cost(specification, 0).unit
    found = UnitCost(device_here(specification), unit, seconds, plain)
    write_json(path, asdict(found))
    return found
