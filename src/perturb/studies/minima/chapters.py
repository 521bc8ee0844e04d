"""The chapters of the study: sections as tables and figures, and what they are made from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perturb import studies
from perturb.analysis.plan import Plan, Row
from perturb.config import Config
from perturb.data import registry
from perturb.runs import LAST, Run
from perturb.studies.minima import catalogue
from perturb.studies.minima.names import Name, parse
from perturb.studies.minima.settings import (
    COMPARED,
    NAME,
    Ensemble,
    Entry,
    Section,
    entries,
    folder_of_checkpoints,
    members_of,
    resolve,
)
from perturb.study import Chapter, Measure, Page, Part

HERE = "perturb.studies.minima"
MEASURE = Measure()
INDEPENDENT = "independent initialisation"
# Sections whose runs store several checkpoints: their cycles are told.
IN_CYCLES = ("several", "restarts")


def chapters(config: Config) -> list[Chapter]:
    """Return a chapter for each entry of the study's section, asked for or not."""
    return [chapter_of(config, entry) for entry in entries(config)]


def chapter_of(config: Config, entry: Entry) -> Chapter:
    """Return the chapter that an entry describes."""
    sections = _parts_of_sections(config, entry)
    measured = _parts_measured(entry)
    tables = [part for part in (*sections, *measured) if part.kind == "table"]
    figures = [part for part in (*sections, *measured) if part.kind == "figure"]
    runs = tuple(dict.fromkeys(_all_runs(entry)))
    common = _common(entry)
    main = Part(
        name="",
        kind="table",
        make=f"{HERE}.claims:make",
        inputs={
            "records": [run.record for run in runs],
            "tables": [f"tables/{entry.chapter}_{part.name}.csv" for part in tables],
        },
        settings=common
        | {"tables": [part.name for part in tables], "claims": entry.claims}
        | {"seeds": len(entry.seeds)},
    )
    return Chapter(
        study=NAME,
        name=entry.chapter,
        title=entry.title,
        asked=entry.chapter in config.asked,
        measure=MEASURE,
        runs=runs,
        parts=(main, *tables, *figures),
        words=f"{HERE}.words:words",
        settings=common | _ensembles(config, entry) | _paths(config, entry),
        pages=tuple(_page(entry, part) for part in figures),
        scale=entry.scale,
    )


def _page(entry: Entry, part: Part) -> Page:
    path = f"minima/{entry.chapter}/figures/{part.name}.tex"
    return Page(f"{part.title}, as pgfplots", path)


def _common(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.chapter,
        "title": entry.title,
        "scale": entry.scale,
        "chance": chance(entry.dataset),
    }


def chance(dataset: str) -> float:
    """Return the accuracy of a guess, which a run that diverged counts with; 0 where unknown."""
    shape = registry.shape(dataset)
    return 1 / shape.num_classes if shape else 0.0


def _all_runs(entry: Entry) -> Iterable[Run]:
    for section in entry.sections.values():
        yield from _with_parents(entry.runs(section.rows()))
    for ensemble in entry.ensembles:
        for seed in entry.seeds:
            yield from _with_parents(members_of(entry, ensemble, seed)[0])
    if entry.valley:
        yield from entry.runs([entry.valley.parent, *entry.valley.methods().values()])
        yield from [_independent(entry, seed) for seed in entry.seeds]


def _with_parents(runs: Iterable[Run]) -> Iterable[Run]:
    for run in runs:
        parent = parse(run.method).parent
        if parent:
            yield from _with_parents([Run(run.dataset, run.model, parent, run.seed)])
        yield run


def _independent(entry: Entry, seed: int) -> Run:
    return entry.run(entry.valley.parent if entry.valley else "", seed + 100)


def plan_of(config: Config, entry: Entry, name: str, section: Section) -> Plan:
    """Return the comparison that a section is."""
    rows = section.rows()
    reference = next(iter(rows.values()))
    train = config.values["train"] | entry.train
    return Plan(
        study=NAME,
        title=entry.title,
        chapter=f"{entry.chapter}_{name}",
        dataset=entry.dataset,
        model=entry.model,
        rows=tuple(
            Row(
                method=method,
                section=COMPARED[name],
                label=describe(parse(method)),
                reference="" if of == reference else of,
                seeds=entry.seeds,
            )
            for method, of in rows.items()
        ),
        sections=(COMPARED[name],),
        reference=reference,
        epochs=parse(reference).epochs,
        measure=MEASURE,
        scale=entry.scale,
        partial_data=config.values.get("partial_data", False),
        protocol=train.get("protocol", "from400"),
        equivalence_margin=config.values.get("equivalence_margin", 0.5),
    )


def describe(name: Name) -> str:
    """Return in a few words what a run is."""
    values, words = name.values, []
    if values["strength"]:
        words.append(f"s {values['strength']:g}, w {values['width']:g}")
        words += [values["kernel"]] if values["kernel"] != "rbf" else []
        words += [values["keep"]] if values["keep"] != "all" else []
        words += ["one"] if values["most"] == 1 else []
        words += [f"strength {values['anneal']}"] if values["anneal"] != "fixed" else []
        words += ["matched boost"] if values["boost"] else []
        words += [f"off after {values['off']}"] if values["off"] else []
    else:
        words.append("plain")
    words += [f"lr {values['lr']:g}"] if values["lr"] != 0.01 else []
    words += [f"decay {values['decay']:g}"] if values["decay"] != 1e-3 else []
    words += [f"lr {values['schedule']}"] if values["schedule"] != "fixed" else []
    words += ["normalised"] if values["normalised"] else []
    words += [f"displaced by {values['displace']:g}"] if values["displace"] else []
    return ", ".join(words)


def _parts_of_sections(config: Config, entry: Entry) -> list[Part]:
    found: list[Part] = []
    for name, section in entry.sections.items():
        plan = plan_of(config, entry, name, section)
        inputs = {"records": [run.record for run in plan.runs()]}
        settings = _common(entry) | {"plan": plan.values()}
        found.append(_table(name, "compared", inputs, settings, entry))
        if name == "parameters":
            found.append(_table("law", "law_table", inputs, settings, entry))
        if name in IN_CYCLES:
            found.append(_table(f"{name}_cycles", "cycles", inputs, settings, entry))
        for figure in catalogue.OF_SECTION[name]:
            found.append(_figure(figure, inputs, settings, entry))
    return found


def _parts_measured(entry: Entry) -> list[Part]:
    found: list[Part] = []
    if entry.ensembles:
        runs = [
            run
            for ensemble in entry.ensembles
            for seed in entry.seeds
            for run in members_of(entry, ensemble, seed)[0]
        ]
        inputs = _measured(entry, "ensembles", runs)
        found.append(_table("ensembles", "ensembles", inputs, _common(entry), entry))
        found.append(_figure("ensemble_scores", inputs, _common(entry), entry))
    if entry.valley:
        methods = entry.valley.methods()
        others = [_independent(entry, seed) for seed in entry.seeds]
        inputs = _measured(
            entry, "paths", [*entry.runs([entry.valley.parent, *methods.values()]), *others]
        )
        settings = _common(entry) | {
            # Pairs, for the order counts, and settings travel as JSON with sorted keys.
            "clones": list(methods.items()),
            "parent": entry.valley.parent,
            "threshold": entry.valley.threshold,
        }
        found.append(_table("valley", "valley", inputs, settings, entry))
        found += [_figure(name, inputs, settings, entry) for name in catalogue.OF_VALLEY]
    return found


def _measured(entry: Entry, kind: str, runs: Iterable[Run]) -> dict[str, list[str]]:
    """Return the inputs of a part that is made from measured weights: frames, and the runs'."""
    return {
        "measured": [f"minima/{entry.chapter}/{kind}/{seed}/{kind}.csv" for seed in entry.seeds],
        "records": [run.record for run in dict.fromkeys(runs)],
    }


def _table(
    name: str, make: str, inputs: Mapping[str, list[str]], settings: Mapping[str, Any], entry: Entry
) -> Part:
    named = {**settings, "table": f"{entry.chapter}_{name}"}
    return Part(name, "table", f"{HERE}.tables:{make}", inputs, named)


def _figure(
    name: str, inputs: Mapping[str, list[str]], settings: Mapping[str, Any], entry: Entry
) -> Part:
    return Part(
        name=name,
        kind="figure",
        make=f"{HERE}.figures:make",
        inputs=inputs,
        settings={**settings, "figure": name, "smoothing": entry.smoothing},
        title=catalogue.FIGURES[name][0],
        caption=catalogue.caption(name, entry.scale, entry.smoothing),
    )


def total_epochs(method: str) -> int:
    """Return the epochs behind a run's last weights, its parents' too; of one network."""
    if studies.of_method(method).name != NAME:
        return studies.of_method(method).epochs(method)
    name = parse(method)
    if not name.parent:
        return name.epochs
    before = total_epochs(name.parent)
    own = studies.of_method(name.parent).epochs(name.parent)
    branched = int(name.values["at"]) or own
    return name.epochs + before - own + branched


def _ensembles(config: Config, entry: Entry) -> dict[str, Any]:
    """Return the settings of the jobs that measure ensembles: `ensembles_<seed>`."""
    if not entry.ensembles:
        return {}
    found: dict[str, Any] = {}
    for seed in entry.seeds:
        asked = [_asked(entry, one, seed) for one in entry.ensembles]
        files = [file for one in asked for file in one["members"]]
        job = _job(config, entry, "ensembles", seed, files)
        found[f"ensembles_{seed}"] = job | {"ensembles": asked}
    return found


def _asked(entry: Entry, one: Ensemble, seed: int) -> dict[str, Any]:
    runs, files = members_of(entry, one, seed)
    networks = int(parse(one.method).values.get("members") or 1)
    return {
        "label": one.label,
        "method": one.method,
        "average": one.average,
        "members": files,
        "epochs": sum(total_epochs(run.method) for run in runs) * networks,
    }


def _paths(config: Config, entry: Entry) -> dict[str, Any]:
    """Return the settings of the jobs that measure paths: `paths_<seed>`."""
    valley, found = entry.valley, {}
    if not valley:
        return {}
    for seed in entry.seeds:
        parent = entry.run(valley.parent, seed).file(LAST)
        runs = [(label, entry.run(method, seed)) for label, method in valley.methods().items()]
        runs.append((INDEPENDENT, _independent(entry, seed)))
        ends = [(label, run.file(LAST)) for label, run in runs]
        files = [parent, *(file for _, file in ends)]
        found[f"paths_{seed}"] = _job(config, entry, "paths", seed, files) | {
            "parent": parent,
            "ends": ends,
            "independent": INDEPENDENT,
            "points": valley.points,
            "bend_steps": valley.bend_steps,
            "bend_lr": valley.bend_lr,
        }
    return found


def _job(
    config: Config, entry: Entry, kind: str, seed: int, files: Iterable[str]
) -> dict[str, Any]:
    """Return what every job of measuring has: its images, its files, what a rule makes them as."""
    method = entry.valley.parent if kind == "paths" and entry.valley else entry.ensembles[0].method
    settings = resolve(config, entry.run(method, seed))
    one = list(dict.fromkeys(files))
    data = f"data/{entry.dataset}"
    return {
        "kind": kind,
        "specification": settings.to_json(),
        "files": one,
        "made": list(dict.fromkeys(folder_of_checkpoints(file) for file in one)),
        "data": [f"{data}.npz", f"{data}.manifest.json"],
    }
