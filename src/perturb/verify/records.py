"""Data, initial weights, runs and landscapes against their records, the code and the config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from perturb import code, studies
from perturb.config import Config
from perturb.data import load, registry, variants
from perturb.data.prepared import read_manifest
from perturb.errors import PerturbError
from perturb.figures import landscape_page
from perturb.files import read_json
from perturb.jobs.store import DAMAGED, ENTRY, DamagedEntry, Entry, Store
from perturb.landscape import directions, vtk
from perturb.landscape.files import read_plane
from perturb.landscape.parts import ending_of
from perturb.landscape.table import read_curvature
from perturb.models.weights import load_weights, sha256_weights
from perturb.predictions import files as predictions
from perturb.runs import IDENTITY, NOT_HASHED, Run, check_file, folders, read_record
from perturb.search.listing import chosen_runs, listed
from perturb.study import Chapter
from perturb.verify.found import Verification


def check_data(found: Verification, config: Config) -> dict[str, dict[str, Any]]:
    """Check the prepared data, against folders of images too; return the manifests by data set."""
    manifests = {}
    for manifest in sorted((found.results / "data").glob("*.manifest.json")):
        name = manifest.name.removesuffix(".manifest.json")
        images = manifest.with_name(f"{name}.npz")
        if found.is_left_out(images):
            said = found.attempt("data", manifest, lambda m=manifest: read_manifest(m))
        else:
            data = found.attempt("data", images, lambda npz=images, m=manifest: load(npz, m))
            said = data and data.manifest
        if said is not None:
            manifests[name] = said
            _compare_with_folder(found, config, manifest, said)
            _check_duplicates(found, manifest.with_name(f"{name}.duplicates.json"), said)
    return manifests


def _check_duplicates(found: Verification, path: Path, manifest: Mapping[str, Any]) -> None:
    """Check the file that says what a data set has twice, where it is there."""
    if not path.exists():
        return
    read = found.attempt("data", path, lambda: read_json(path, "Delete it and make it again."))
    if read is not None and read.get("data_sha256") != manifest["sha256"]:
        found.find("data", "stale", path, "of other data")


def _compare_with_folder(
    found: Verification, config: Config, path: Path, manifest: Mapping[str, Any]
) -> None:
    """Find a data set whose folder of images, where it is there, has changed."""
    folders_of_images = config.values.get("image_folders", {})
    folder = folders_of_images.get(variants.base_name(manifest["dataset"]))
    if not folder or not Path(folder).is_dir():
        return
    try:
        now = registry.of_folder(manifest["dataset"], Path(folder)).digests()
    except (PerturbError, OSError) as error:
        found.find("data", "stale", path, error)
        return
    then = manifest["source"]["files"]
    changed = sorted(name for name in now.keys() | then if now.get(name) != then.get(name))
    if changed:
        found.find("data", "stale", path, f"{folder} changed: {', '.join(changed)}")


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
    asked: Sequence[Chapter],
    known: Sequence[Chapter],
    manifests: Mapping[str, Mapping[str, Any]],
    initial: Mapping[tuple[str, ...], str],
) -> dict[Run, dict[str, Any]]:
    """Check every run, of any study; return the records that can be read.

    `asked` are the chapters whose runs have to be there, `known` all that the configuration has. A
    run that none of them lists may be another configuration's: where it has other settings than
    this one gives, it is named, and is not wrong.
    """
    records: dict[Run, dict[str, Any]] = {}
    for folder in folders(found.results):
        path = folder / "record.json"
        record = found.attempt("runs", path, lambda path=path: read_record(path))
        if record is None:
            continue
        named, run = Run(*(record[key] for key in IDENTITY)), _run_of(folder)
        if run is None or _canonical(run) != _canonical(named):
            found.find("runs", "edited", path, f"the record of {named}")
            continue
        records[run] = record
        _files_of_run(found, path, record)
    own = _listed(known, found.results) | _sources(config, records)
    for run, record in records.items():
        if _canonical(run) not in own and _has_other_settings(config, run, record):
            found.put_aside("runs", Path(run.folder).relative_to("runs").parent.as_posix())
            continue
        start = _initial(found, config, run, initial)
        stale = _stale(config, run, record, manifests.get(run.dataset), start)
        if stale:
            found.find("runs", "stale", found.results / run.record, "; ".join(stale))
    wanted = [run for chapter in asked for run in (*chapter.runs, *chapter.landscape_runs)]
    wanted += [run for chapter in asked for run in chosen_runs(chapter, found.results)]
    for run in dict.fromkeys(wanted):
        if run not in records and not (found.results / run.folder).exists():
            found.find("runs", "missing", found.results / run.record)
    return records


def _listed(chapters: Iterable[Chapter], results: Path) -> set[Run]:
    """Return every run that a chapter lists, by the one spelling of its method."""
    found: list[Run] = []
    for chapter in chapters:
        found += [*chapter.runs, *chapter.landscape_runs]
        try:
            found += listed(chapter, results)
        except PerturbError:  # a damaged step of a search, which `searches` finds
            continue
    return {_canonical(run) for run in found}


def _sources(config: Config, runs: Iterable[Run]) -> set[Run]:
    """Return the runs whose weights these begin from."""
    found = set()
    for run in runs:
        try:
            file = Path(studies.initial_file(studies.specification(config, run)))
            if file.is_relative_to("runs"):
                found.add(_canonical(Run.of_folder(file.parent)))
        except PerturbError:  # found elsewhere
            continue
    return found


def _has_other_settings(config: Config, run: Run, record: Mapping[str, Any]) -> bool:
    """Whether a run has other settings than the configuration gives it."""
    try:
        return bool(studies.specification(config, run).differences(record))
    except PerturbError:  # a method that is no more, which is found as stale
        return False


def _initial(
    found: Verification, config: Config, run: Run, initial: Mapping[tuple[str, ...], str]
) -> str | None:
    """Return the hash of the weights that a run begins from today; None where they are not there.

    `initial` are those of models and seeds; another run's are read.
    """
    try:
        file = found.results / studies.initial_file(studies.specification(config, run))
        if file.is_relative_to(found.results / "runs"):
            return sha256_weights(load_weights(file)) if file.exists() else None
    except PerturbError:  # what is wrong with it is found elsewhere
        return None
    return initial.get((run.dataset, run.model, f"seed{run.seed}"))


def _run_of(folder: Path) -> Run | None:
    """Return the run that a folder is called after, its method as it is spelled there."""
    try:
        run = Run.of_folder(folder)
    except PerturbError:
        return None
    return run if folder.name == f"seed{run.seed}" else None


def _canonical(run: Run) -> Run:
    return replace(run, method=studies.canonical(run.method))


def _files_of_run(found: Verification, path: Path, record: Mapping[str, Any]) -> None:
    files = record["sha256"].get("files", {})
    for name in files:
        file = path.parent / name
        if found.is_left_out(file):
            continue
        found.attempt("files of runs", file, lambda name=name: check_file(path, name, record))
    for file in sorted(path.parent.rglob("[!.]*")):
        name = file.relative_to(path.parent).as_posix()
        if file.is_file() and name not in files and name not in NOT_HASHED:
            found.find("files of runs", "unknown", file, f"{path.name} does not speak of it")


def _stale(
    config: Config,
    run: Run,
    record: Mapping[str, Any],
    manifest: Mapping[str, Any] | None,
    initial: str | None,
) -> list[str]:
    """Return in what a run is not what would be made today."""
    try:
        today = studies.specification(config, run)
        modules = studies.code_of(today)
    except PerturbError as error:
        return [str(error)]
    reasons = today.differences(record)
    hashes, used = record["sha256"], record.get("code", {})
    if hashes.get("code") != code.digest(modules):
        changed = {name for name in used.keys() | modules if used.get(name) != modules.get(name)}
        reasons.append(f"code changed: {', '.join(sorted(changed))}")
    current = {"initial_weights": initial}
    if manifest:
        current |= {"data": manifest["sha256"], "split": manifest["split_sha256"]}
    words = {"data": "the data", "split": "the split", "initial_weights": "the initial weights"}
    for name, value in current.items():
        if value is not None and value != hashes.get(name):
            reasons.append(f"{words[name]} changed")
    return reasons


def check_predictions(found: Verification, records: Mapping[Run, Mapping[str, Any]]) -> None:
    """Check the runs' predictions against their records."""
    for path in sorted((found.results / "predictions").glob("*/*/*/seed*/*")):
        read = found.attempt("predictions", path, lambda path=path: predictions.read(path))
        if read is None:
            continue
        of_run, attributes = Run.of_folder(path.parent), read.attributes
        named, record = Run(*(attributes[key] for key in IDENTITY)), records.get(of_run)
        if path.name != predictions.FILE or _canonical(named) != _canonical(of_run):
            found.find("predictions", "edited", path, f"the predictions of {named}")
        elif record and attributes["final_weights_sha256"] != record["sha256"]["final_weights"]:
            found.find("predictions", "stale", path, "of other weights than its run's last")


def check_landscapes(found: Verification, records: Mapping[Run, Mapping[str, Any]]) -> None:
    """Check directions, planes, trajectories and curvatures, and the pages made from them."""
    folder = found.results / "landscapes"
    for path in sorted(folder.glob("*/*/directions/seed*.safetensors")):
        drawn = found.attempt("landscapes", path, lambda path=path: directions.load(path))
        if drawn is not None and f"seed{drawn[1]}" != path.stem:
            found.find("landscapes", "edited", path, f"the directions of seed {drawn[1]}")
    for path in sorted(folder.glob("*/*/*/seed*/*")):
        of_run = Run.of_folder(path.parent)
        if path.suffix == ".npz":
            plane = found.attempt("landscapes", path, lambda path=path: read_plane(path))
            if plane is None:
                continue
            attributes = plane.attributes
            for kind, render in ((".html", landscape_page.render), (".vti", vtk.render)):
                if path.with_suffix(kind).exists():
                    found.compare("landscapes", path.with_suffix(kind), render(plane))
        elif path.name.startswith("curvature") and path.suffix == ".json":
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
    of_run: Run,
    record: Mapping[str, Any] | None,
) -> None:
    named = Run(*(attributes[key] for key in IDENTITY))
    network = (record or {}).get("specification", {}).get("network") or attributes["model"]
    drawn, of_network = attributes.get("direction_seed"), attributes.get("network", "")
    kind = path.stem.partition("_")[0] if drawn is None else f"plane{drawn}"
    spelled_alike = _canonical(named) == _canonical(of_run)
    if not spelled_alike or path.stem != f"{kind}{ending_of(of_network)}":
        whose = f"{named}, {of_network}" if of_network else str(named)
        found.find("landscapes", "edited", path, f"the landscape of {whose}, directions {drawn}")
    elif record and attributes["checkpoint_sha256"] != record["sha256"]["final_weights"]:
        found.find("landscapes", "stale", path, "of other weights than its run's last")
    elif attributes["code_sha256"] != _code_of_landscapes(network):
        found.find("landscapes", "stale", path, "code changed")


def check_store(found: Verification, folder: Path | None) -> None:
    """Check every file that the store keeps, and note what was set aside as damaged."""
    store = Store(folder) if folder else None
    for path in store.paths() if store else ():
        found.checked["store"] += 1
        try:
            entry = Entry.read(path)
            entry.check()
        except DamagedEntry as damage:
            found.find("store", "edited", path, damage)
            continue
        known = {ENTRY, *entry.values["files"]}
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.relative_to(path).as_posix() not in known:
                found.find("store", "unknown", file, "the entry does not speak of it")
    for path in sorted(folder.glob(f"{DAMAGED}/*")) if folder else ():
        found.find("store", "edited", path, "found damaged before and set aside")


@cache
def _code_of_landscapes(network: str) -> str:
    return code.digest(code.of("perturb.landscape.run") | code.of_model(network))
