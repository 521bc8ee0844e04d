"""Data, initial weights, runs and landscapes against their records, the code and the config."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from perturb import code
from perturb.analysis.runs import check_file, read_record
from perturb.config import Config
from perturb.data import load
from perturb.errors import PerturbError
from perturb.figures import landscape_page
from perturb.landscape import directions, vtk
from perturb.landscape.files import read_plane
from perturb.landscape.table import read_curvature
from perturb.models.weights import load_weights, sha256_weights
from perturb.verify.found import Study, Verification

NOT_RECORDED = {"record.json", "timing.csv"}


def check_data(found: Verification) -> dict[str, dict[str, Any]]:
    """Check the prepared data; return the manifests by data set."""
    manifests = {}
    for manifest in sorted((found.results / "data").glob("*.manifest.json")):
        name = manifest.name.removesuffix(".manifest.json")
        images = manifest.with_name(f"{name}.npz")
        data = found.attempt("data", images, lambda npz=images, m=manifest: load(npz, m))
        if data is not None:
            manifests[name] = data.manifest
    return manifests


def check_initial_weights(found: Verification) -> dict[tuple[str, ...], str]:
    """Check the initial weights; return their hashes by (data set, model, seed)."""
    hashes = {}
    for path in sorted((found.results / "init").glob("*/*/seed*.safetensors")):
        weights = found.attempt("initial weights", path, lambda path=path: load_weights(path))
        if weights is not None:
            hashes[*path.parts[-3:-1], path.stem] = sha256_weights(weights)
    return hashes


def check_runs(
    found: Verification,
    config: Config,
    studies: Sequence[Study],
    manifests: Mapping[str, Mapping[str, Any]],
    initial: Mapping[tuple[str, ...], str],
) -> dict[str, dict[str, Any]]:
    """Check every run; return the records that can be read, by their run's name."""
    records: dict[str, dict[str, Any]] = {}
    runs = found.results / "runs"
    for folder in sorted(path for path in runs.glob("*/*/*/seed*") if path.is_dir()):
        path = folder / "record.json"
        record = found.attempt("runs", path, lambda path=path: read_record(path))
        if record is None:
            continue
        dataset, model, _, seed = identity = folder.parts[-4:]
        named = (record["dataset"], record["model"], record["method"], f"seed{record['seed']}")
        if named != identity:
            found.find("runs", "edited", path, f"the record of {'/'.join(named)}")
            continue
        records[folder.relative_to(runs).as_posix()] = record
        _files_of_run(found, path, record)
        stale = _stale(config, record, manifests.get(dataset), initial.get((dataset, model, seed)))
        if stale:
            found.find("runs", "stale", path, "; ".join(stale))
    there = {path.as_posix() for path in runs.glob("*/*/*/seed*/record.json")}
    for study in studies:
        wanted = [*study.records, *study.landscapes.get("records", [])] if study.asked else []
        for path in dict.fromkeys(wanted):
            if Path(path).as_posix() not in there and not Path(path).parent.exists():
                found.find("runs", "missing", path)
    return records


def _files_of_run(found: Verification, path: Path, record: Mapping[str, Any]) -> None:
    files = record["sha256"].get("files", {})
    for name in files:
        file = path.parent / name
        found.attempt("files of runs", file, lambda name=name: check_file(path, name, record))
    for file in sorted(path.parent.rglob("[!.]*")):
        name = file.relative_to(path.parent).as_posix()
        if file.is_file() and name not in files and name not in NOT_RECORDED:
            found.find("files of runs", "unknown", file, f"{path.name} does not speak of it")


def _stale(
    config: Config,
    record: Mapping[str, Any],
    manifest: Mapping[str, Any] | None,
    initial: str | None,
) -> list[str]:
    """Return in what a run is not what would be trained today."""
    try:
        today = config.run(record["dataset"], record["model"], record["method"], record["seed"])
        modules = code.of_training(today.model, today.method)
    except PerturbError as error:
        return [str(error)]
    settings = json.loads(today.to_json())
    then = record["specification"] | {"scale": record.get("scale")}
    reasons = [
        f"{name} {value} then, {settings.get(name)} now"
        for name, value in then.items()
        if value != settings.get(name)
    ]
    hashes, used = record["sha256"], record.get("code", {})
    if hashes.get("code") != code.digest(modules):
        changed = {name for name in used.keys() | modules if used.get(name) != modules.get(name)}
        reasons.append(f"code changed: {', '.join(sorted(changed))}")
    current = {"initial_weights": initial}
    if manifest:
        current |= {"data": manifest["sha256"], "split": manifest["split_sha256"]}
    words = {"data": "the data", "split": "the split", "initial_weights": "the initial weights"}
    for name, value in current.items():
        if value is not None and value != hashes[name]:
            reasons.append(f"{words[name]} changed")
    return reasons


def check_landscapes(found: Verification, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Check directions, planes, trajectories and curvatures, and the pages made from them."""
    folder = found.results / "landscapes"
    for path in sorted(folder.glob("*/*/directions/seed*.safetensors")):
        drawn = found.attempt("landscapes", path, lambda path=path: directions.load(path))
        if drawn is not None and f"seed{drawn[1]}" != path.stem:
            found.find("landscapes", "edited", path, f"the directions of seed {drawn[1]}")
    for path in sorted(folder.glob("*/*/*/seed*/*")):
        of_run = path.parent.relative_to(folder).as_posix()
        if path.suffix == ".npz":
            plane = found.attempt("landscapes", path, lambda path=path: read_plane(path))
            if plane is None:
                continue
            attributes = plane.attributes
            for kind, render in ((".html", landscape_page.render), (".vti", vtk.render)):
                if path.with_suffix(kind).exists():
                    found.compare("landscapes", path.with_suffix(kind), render(plane))
        elif path.name == "curvature.json":
            attributes = found.attempt("landscapes", path, lambda path=path: read_curvature(path))
        elif path.suffix in (".html", ".vti") and path.with_suffix(".npz").exists():
            continue
        else:
            found.find("landscapes", "unknown", path)
            continue
        if attributes is not None:
            _landscape(found, path, attributes, of_run, records.get(of_run))


def _landscape(
    found: Verification,
    path: Path,
    attributes: Mapping[str, Any],
    of_run: str,
    record: Mapping[str, Any] | None,
) -> None:
    named = "{dataset}/{model}/{method}/seed{seed}".format_map(attributes)
    drawn = attributes.get("direction_seed")
    if named != of_run or (drawn is not None and path.stem != f"plane{drawn}"):
        found.find("landscapes", "edited", path, f"the landscape of {named}, directions {drawn}")
    elif record and attributes["checkpoint_sha256"] != record["sha256"]["final_weights"]:
        found.find("landscapes", "stale", path, "of other weights than its run's last")
    elif attributes["code_sha256"] != _code_of_landscapes(attributes["model"]):
        found.find("landscapes", "stale", path, "code changed")


@cache
def _code_of_landscapes(model: str) -> str:
    return code.digest(code.of("perturb.landscape.run") | code.of_model(model))
