"""Where every cell of a table of landscapes comes from: one line per file (docs/provenance.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from perturb.analysis import comparability
from perturb.analysis.provenance import describe, relative
from perturb.analysis.runs import collect
from perturb.errors import PerturbError
from perturb.files import sha256_file
from perturb.landscape.files import read_plane
from perturb.landscape.table import read_curvature

PLANE = "flat_area_* direction_seeds masked_points points mark"
FIRST_PLANE = f"loss accuracy images device precision {PLANE}"  # the first direction seed's
CURVATURE = "*eigenvalue* trace* *sharpness* curvature_images"
# What a file says of itself; the columns from `run` on are its run's.
OWN = ("direction_seed", "directions_sha256", "images_sha256", "code_sha256", "device", "versions")


def of_table(
    planes: Iterable[str | Path],
    curvatures: Iterable[str | Path],
    records: Iterable[str | Path],
    results: str | Path,
) -> pd.DataFrame:
    """Return the provenance of the table of these planes and curvatures.

    A line a row of the table and file; files and runs are named relative to `results`. As in the
    table there is a column `network` where any run has several.

    Raises PerturbError where a landscape is not of the last weights of a run among `records`.
    """
    runs = {(run["method"], run["seed"]): run for run in collect(records).to_dict("records")}
    files = [(Path(path), read_plane(path).attributes) for path in planes]
    first = min((attributes["direction_seed"] for _, attributes in files), default=None)
    parts = [(p, a, FIRST_PLANE if a["direction_seed"] == first else PLANE) for p, a in files]
    parts += [(Path(path), read_curvature(path), CURVATURE) for path in curvatures]
    lines = []
    for path, found, columns in parts:
        run = runs.get((found["method"], found["seed"]), {})
        if run.get("final_weights_sha256") != found["checkpoint_sha256"]:
            raise PerturbError(
                f"{path}: not a landscape of the last weights of its run. Delete it and run again."
            )
        line = {
            "method": found["method"],
            "seed": found["seed"],
            "network": found.get("network", ""),
            "columns": columns,
            "file": relative(path, results),
            "file_sha256": sha256_file(path),
        }
        own = found | {"versions": comparability.versions(json.dumps(found["versions"]))}
        line |= {
            name if name.startswith("direction") else f"file_{name}": own.get(name) for name in OWN
        }
        of_run = describe(run, results)
        line |= {"run": of_run.pop("run")} | {f"run_{k}": v for k, v in of_run.items()}
        lines.append(line)
    frame = pd.DataFrame(lines)
    if lines:
        frame = frame.astype({"direction_seed": "Int64"}).drop(columns="run_seed")
        frame = frame.sort_values(["method", "seed", "network"], kind="stable", ignore_index=True)
        if not frame["network"].any():
            frame = frame.drop(columns="network")
    return frame
