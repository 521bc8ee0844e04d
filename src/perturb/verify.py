"""Whether results are what their runs left, and what they would leave again: `snakemake verify`.

Hashes are recomputed, tables, figures and report made again in memory and compared to the byte,
a sample of runs retrained in a temporary folder. Nothing under results/ is changed.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from perturb import code
from perturb.analysis import formats, provenance, ranking, tables
from perturb.analysis.runs import check_file, collect, read_record
from perturb.config import Config, RunSpecification
from perturb.data import load
from perturb.errors import PerturbError
from perturb.figures import gradients as gradients_figures
from perturb.figures import landscape, landscape_page, registry, style
from perturb.figures import ranking as ranking_figure
from perturb.figures.material import gather
from perturb.gradients import table as gradients_table
from perturb.gradients.settings import Stochastic
from perturb.gradients.units import compare
from perturb.landscape import directions, vtk
from perturb.landscape import provenance as landscape_provenance
from perturb.landscape import table as landscape_table
from perturb.landscape.files import read_plane
from perturb.models.weights import load_weights, sha256_weights
from perturb.report import html, section
from perturb.report.gradients import sections
from perturb.report.material import chapters
from perturb.report.material import ranking as ranking_of
from perturb.train.determinism import describe_device, find_device, versions
from perturb.train.run import RunFiles, run

KINDS = {
    "edited": "not what was written: edited by hand, or damaged",
    "stale": "made by other code, configuration or data than today's",
    "differs": "not what comes out when it is made again",
    "missing": "asked for by the configuration, or by a record, and not there",
    "unknown": "nothing of this configuration makes it",
    "uncompared": "what it is made from is among the above",
}
NOT_RECORDED = {"record.json", "timing.csv"}


@dataclass(frozen=True)
class Finding:
    """Something wrong with a file: one of `KINDS`, and what it is."""

    part: str
    kind: str
    file: Path
    says: str = ""


@dataclass(frozen=True)
class Study:
    """A data set's results section: its plan and the files that it has, as the rules name them.

    `asked` says that the configuration wants all of them; `landscapes` has `planes`,
    `trajectories`, `curvatures` and `records`, or is empty.
    """

    plan: dict[str, Any]
    asked: bool
    records: list[str]
    figures: list[str]
    pages: list[str]
    landscapes: dict[str, list[str]]
    flat_margin: float

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.plan["dataset"]


@dataclass(frozen=True)
class Gradients:
    """A study of gradients (`Study.words`) with its runs, layers, tables and figures.

    `stochastic` are the settings of its stochastic units, as JSON.
    """

    words: dict[str, Any]
    asked: bool
    records: list[str]
    layers: list[str]
    stochastic: str
    tables: list[str]
    figures: list[str]


@dataclass
class Verification:
    """What was checked so far (a part of the results at a time), and what was found wrong."""

    results: Path
    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def find(self, part: str, kind: str, file: str | Path, says: object = "") -> None:
        """Note that something is wrong with a file."""
        text = str(says).removeprefix(f"{file}: ")
        self.findings.append(Finding(part, kind, Path(file), text))

    def wrong(self, *parts: str) -> bool:
        """Whether something is wrong in any of these parts."""
        return any(finding.part in parts for finding in self.findings)

    def attempt(self, part: str, file: str | Path, read: Callable[[], Any]) -> Any:
        """Return what `read` reads of `file`, or None where it is damaged, which is noted."""
        self.checked[part] += 1
        try:
            return read()
        except PerturbError as error:
            self.find(part, "edited" if Path(file).exists() else "missing", file, error)
            return None

    def compare(self, part: str, file: str | Path, made: str | bytes) -> None:
        """Compare a file with what it would be if it were made again."""
        self.checked[part] += 1
        expected = made.encode() if isinstance(made, str) else made
        if not Path(file).exists():
            self.find(part, "missing", file)
        elif Path(file).read_bytes() != expected:
            self.find(part, "differs", file, "edited by hand, or made by other code")

    def table(self) -> str:
        """Return what was checked and found, as lines of text."""
        lines = [f"{f.kind:10}  {f.file}{': ' if f.says else ''}{f.says}" for f in self.findings]
        lines += [*self.notes, ""]
        kinds = [kind for kind in KINDS if any(f.kind == kind for f in self.findings)]
        lines.append("  ".join([f"{'part':16}", "checked", *(f"{kind:>10}" for kind in kinds)]))
        counts = Counter((f.part, f.kind) for f in self.findings)
        for part in dict.fromkeys([*self.checked, *(f.part for f in self.findings)]):
            numbers = [f"{counts[part, kind] or '':>10}" for kind in kinds]
            lines.append("  ".join([f"{part:16}", f"{self.checked[part]:7}", *numbers]).rstrip())
        lines += ["", *(f"{kind}: {KINDS[kind]}" for kind in kinds)]
        return "\n".join(lines).rstrip()


def verify(
    config: Config,
    results: str | Path,
    studies: Sequence[Study],
    gradients: Sequence[Gradients] = (),
    *,
    retrain: int = 1,
    seed: int = 0,
) -> Verification:
    """Check everything under `results` against itself, and against this checkout's code and config.

    `retrain` runs, chosen by `seed` among those made on a device and with versions like today's,
    are trained again and compared bit for bit. Unfinished state, logs and times are not looked at.
    """
    found = Verification(Path(results))
    manifests = _data(found)
    initial = _initial_weights(found)
    records = _runs(found, config, studies, manifests, initial)
    _landscapes(found, records)
    for study in studies:
        _tables(found, study)
        _figures(found, study)
    for of_gradients in gradients:
        _gradients(found, of_gradients)
    ranked = _ranking(found, [study for study in studies if study.asked])
    _others(found, studies, ranked, gradients)
    _report(found, [study for study in studies if study.asked], ranked, gradients)
    _retrain(found, config, records, retrain, seed)
    return found


def _data(found: Verification) -> dict[str, dict[str, Any]]:
    """Check the prepared data; return the manifests by data set."""
    manifests = {}
    for manifest in sorted((found.results / "data").glob("*.manifest.json")):
        name = manifest.name.removesuffix(".manifest.json")
        images = manifest.with_name(f"{name}.npz")
        data = found.attempt("data", images, lambda npz=images, m=manifest: load(npz, m))
        if data is not None:
            manifests[name] = data.manifest
    return manifests


def _initial_weights(found: Verification) -> dict[tuple[str, ...], str]:
    """Check the initial weights; return their hashes by (data set, model, seed)."""
    hashes = {}
    for path in sorted((found.results / "init").glob("*/*/seed*.safetensors")):
        weights = found.attempt("initial weights", path, lambda path=path: load_weights(path))
        if weights is not None:
            hashes[*path.parts[-3:-1], path.stem] = sha256_weights(weights)
    return hashes


def _runs(
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


@cache
def _code_of_landscapes(model: str) -> str:
    return code.digest(code.of("perturb.landscape.run") | code.of_model(model))


def _landscapes(found: Verification, records: Mapping[str, Mapping[str, Any]]) -> None:
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
            attributes = found.attempt(
                "landscapes", path, lambda path=path: landscape_table.read_curvature(path)
            )
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


def _tables(found: Verification, study: Study) -> None:
    """Make a data set's tables again and compare them."""
    folder = found.results / "tables"

    def rts() -> dict[str, str]:
        runs = collect(study.records)
        table = tables.build(study.plan, runs)
        return {
            "csv": formats.csv_text(table.frame),
            "md": formats.markdown(table),
            "tex": formats.latex(table),
            "provenance.csv": formats.csv_text(
                provenance.of_table(study.plan, runs, found.results)
            ),
        }

    def landscapes() -> dict[str, str]:
        files = [study.landscapes[kind] for kind in ("planes", "curvatures")]
        frame = landscape_table.build(landscape_table.read_checkpoints(*files), study.flat_margin)
        traced = landscape_provenance.of_table(*files, study.landscapes["records"], found.results)
        return {
            "csv": formats.csv_text(frame),
            "md": landscape_table.markdown(frame, study.dataset),
            "tex": landscape_table.latex(frame, study.dataset),
            "provenance.csv": formats.csv_text(traced),
        }

    made = {study.dataset: rts}
    if study.landscapes:
        made[f"landscape_{study.dataset}"] = landscapes
    for name, make in made.items():
        if not study.asked and not (folder / f"{name}.csv").exists():
            continue
        try:
            texts = make()
        except PerturbError as error:
            found.find("tables", "uncompared", folder / f"{name}.csv", error)
            continue
        for kind, text in texts.items():
            found.compare("tables", folder / f"{name}.{kind}", text)


def _figures(found: Verification, study: Study) -> None:
    """Draw a data set's figures again and compare them."""

    @cache
    def of_runs() -> Any:
        return gather(study.plan, study.records)

    @cache
    def of_landscapes() -> Any:
        kinds = ("planes", "trajectories")
        files = ([read_plane(path) for path in study.landscapes[kind]] for kind in kinds)
        return landscape.material(*files, study.plan["reference"])

    @cache
    def drawn(name: str) -> Any:
        if name.startswith("landscape_"):
            return landscape.draw(name, of_landscapes())
        return registry.draw(name, of_runs())

    for path in map(Path, study.figures):
        if study.asked or path.exists():
            try:
                made = style.render(drawn(path.stem), path.suffix[1:])
            except PerturbError as error:
                found.find("figures", "uncompared", path, error)
                continue
            found.compare("figures", path, made)


def _gradients(found: Verification, study: Gradients) -> None:
    """Make the tables and figures of a study of gradients again and compare them."""
    name = study.words["name"]

    @cache
    def material() -> Any:
        return gradients_table.gather(name, study.words["scale"], study.records)

    @cache
    def layers() -> Any:
        return gradients_table.gather_layers(study.layers)

    @cache
    def texts() -> dict[str, str]:
        made = gradients_table.texts(material(), study.words, found.results)
        endings = {"claims": "_claims.csv", "provenance": ".provenance.csv"}
        return {f"{name}{endings.get(kind, '.' + kind)}": text for kind, text in made.items()}

    def table(path: Path) -> str:
        if path.name == f"{name}_stochastic.csv":
            return formats.csv_text(compare(Stochastic.from_json(study.stochastic)))
        return formats.csv_text(layers()) if path.stem.endswith("_layers") else texts()[path.name]

    def figure(path: Path) -> bytes:
        if path.stem == "layers":
            drawn = gradients_figures.draw_layers(layers(), study.words["scale"])
        else:
            drawn = gradients_figures.draw(path.stem, material())
        return style.render(drawn, path.suffix[1:])

    for part, paths, make in (("tables", study.tables, table), ("figures", study.figures, figure)):
        for path in map(Path, paths):
            if study.asked or path.exists():
                try:
                    made = make(path)
                except PerturbError as error:
                    found.find(part, "uncompared", path, error)
                    continue
                found.compare(part, path, made)


def _ranking(found: Verification, studies: Sequence[Study]) -> list[Path]:
    """Make the ranking over data sets again and compare it; return its files, if it has any."""
    if len(studies) < 2:
        return []
    name = f"{studies[0].plan['study']}_ranking"
    table = found.results / "tables" / name
    picture = found.results / "figures" / studies[0].plan["study"] / "ranking"
    try:
        read = [
            tables.read(found.results / "tables" / f"{study.dataset}.csv", study.plan)
            for study in studies
        ]
        frame = ranking.build(read)
    except (PerturbError, FileNotFoundError) as error:
        found.find("tables", "uncompared", table.with_suffix(".csv"), error)
    else:
        for kind, text in ranking.texts(frame, studies[0].plan["study"]).items():
            found.compare("tables", table.with_suffix(f".{kind}"), text)
        drawn = ranking_figure.draw(frame, read)
        for kind in ("pdf", "png"):
            found.compare("figures", picture.with_suffix(f".{kind}"), style.render(drawn, kind))
    return [
        *(table.with_suffix(f".{kind}") for kind in ("csv", "md", "tex")),
        *(picture.with_suffix(f".{kind}") for kind in ("pdf", "png")),
    ]


def _others(
    found: Verification,
    studies: Sequence[Study],
    ranked: Sequence[Path],
    gradients: Sequence[Gradients],
) -> None:
    """Find tables and figures that no study makes."""
    names = {name for s in studies for name in (s.dataset, f"landscape_{s.dataset}")}
    made = {*ranked, *(Path(path) for study in gradients for path in study.tables)}
    for path in sorted(set((found.results / "tables").glob("[!.]*")) - made):
        if path.name.partition(".")[0] not in names and not any(
            path.name.startswith(f"{name}.") for name in names
        ):
            found.find("tables", "unknown", path)
    known = {*ranked, *(Path(path) for s in [*studies, *gradients] for path in s.figures)}
    for path in sorted((found.results / "figures").rglob("[!.]*")):
        if path.is_file() and path not in known:
            found.find("figures", "unknown", path)


def _report(
    found: Verification,
    studies: Sequence[Study],
    ranked: Sequence[Path],
    gradients: Sequence[Gradients],
) -> None:
    """Make the report and the section again from tables and figures, and compare them."""
    files = {"report.html": html.render, "section.tex": section.render}
    if found.wrong("tables", "figures"):
        for name in files:
            found.find("report", "uncompared", found.results / name, "its tables or figures differ")
        return
    names = [s.dataset for s in studies]
    names += [f"landscape_{s.dataset}" for s in studies if s.landscapes]
    parts = chapters(
        json.dumps([study.plan for study in studies], sort_keys=True),
        [found.results / "tables" / f"{name}.csv" for name in names],
        [path for study in studies for path in study.figures],
        [page for study in studies for page in study.pages],
    )
    asked = [study for study in gradients if study.asked]
    more = sections(
        [study.words for study in asked],
        [path for study in asked for path in study.tables],
        [path for study in asked for path in study.figures],
    )
    for name, render in files.items():
        made = render(parts, found.results, ranking_of(ranked), more)
        found.compare("report", found.results / name, made)


def _retrain(
    found: Verification,
    config: Config,
    records: Mapping[str, Mapping[str, Any]],
    count: int,
    seed: int,
) -> None:
    """Train a sample of runs again in a temporary folder and compare every file bit for bit."""
    spoilt = {finding.file.parent for finding in found.findings if finding.part == "runs"}
    runs = found.results / "runs"
    able: dict[str, RunSpecification] = {}
    for name, record in records.items():
        if runs / name in spoilt:
            continue
        today = config.run(*(record[key] for key in ("dataset", "model", "method", "seed")))
        device = find_device(today.device)
        if (record["device"], record["versions"]) == (describe_device(device), versions(device)):
            able[name] = today
    chosen = random.Random(seed).sample(sorted(able), min(count, len(able)))
    if len(chosen) < count:
        found.notes.append(
            f"{len(chosen)} of {count} runs retrained: there are no others that are whole, of "
            "today's code, and of this device and these versions"
        )
    for name in chosen:
        differing = _differing(able[name], records[name], found.results)
        found.checked["retrained runs"] += 1
        found.notes.append(f"retrained   {runs / name}: {differing or 'the same bits'}")
        if differing:
            found.find("retrained runs", "differs", runs / name, differing)


def _differing(today: RunSpecification, record: Mapping[str, Any], results: Path) -> str:
    """Train a run again; return what of it differs from its record, or nothing."""
    data, model, seed = today.dataset, today.model, today.seed
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = RunFiles(
            images=results / "data" / f"{data}.npz",
            manifest=results / "data" / f"{data}.manifest.json",
            initial=results / "init" / data / model / f"seed{seed}.safetensors",
            record=folder / "record.json",
            epochs=folder / "epochs.csv",
            batches=folder / "batches.npz",
            last=folder / "last.safetensors",
            best=folder / "best.safetensors",
            timing=folder / "timing.csv",
            checkpoints=folder / "checkpoints",
        )
        try:
            run(today, files)
        except PerturbError as error:
            return str(error)
        again = read_record(files.record)
    keys = sorted(key for key in again.keys() | record if again.get(key) != record.get(key))
    names = again["sha256"]["files"]
    changed = sorted(name for name in names if names[name] != record["sha256"]["files"].get(name))
    return f"other {', '.join(changed + keys)} than recorded" if keys else ""
