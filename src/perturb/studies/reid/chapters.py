"""The chapters of the study: methods compared on the variants of a data set. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perturb.analysis.plan import Plan, Row
from perturb.comparison_entries import check_published
from perturb.config import Config, with_base
from perturb.data import registry, variants
from perturb.errors import PerturbError, did_you_mean
from perturb.landscape import parts as landscapes
from perturb.landscape.settings import LandscapeSettings
from perturb.models import described
from perturb.runs import Run
from perturb.studies.reid import catalogue, methods
from perturb.studies.reid.settings import ReidSpecification
from perturb.study import Chapter, Measure, Part

NAME = "reid"
HERE = "perturb.studies.reid"
MEASURE = Measure(name="test_mAP", words="test mean average precision")
# Further numbers of the last epoch that the table tells.
ALSO = ("test_mINP", "test_rank1", "train_loss")


def resolve(config: Config, run: Run) -> ReidSpecification:
    """Return what a run computes: its data set's settings, and those of its name.

    Raises PerturbError where the method does not parse or the study does not list the data set.
    """
    parsed = methods.parse(run.method)
    machine = {key: config.values["train"][key] for key in ("threads", "device")}
    settings = machine | entry(config, run.dataset)["train"]
    every = _drawn_by(config, run).get("checkpoint_every", 0)
    named = {
        "study": NAME,
        "dataset": run.dataset,
        "model": run.model,
        "method": methods.format(parsed),
        "seed": run.seed,
        "split_seed": config.values.get("split_seed", 0),
        "scale": config.scale,
    }
    found = ReidSpecification.of(settings | named | ({"checkpoint_every": every} if every else {}))
    described.check_module(config.models, run.model, "reidentification", f"study {NAME}")
    if list(found.decay) != sorted(found.decay):
        raise PerturbError(
            f"config, {NAME}.datasets: decay {list(found.decay)} must ascend: shares of the epochs "
            "after which learning rates fall."
        )
    if found.batch_size % found.images_of_identity or found.batch_size < 2:
        raise PerturbError(
            f"config, {NAME}.datasets: batch_size {found.batch_size} must be a multiple of "
            f"images_of_identity, {found.images_of_identity}."
        )
    return found


def entry_of(config: Config, run: Run) -> Mapping[str, Any]:
    """Return how runs on a run's data set are trained, empty where the study does not say.

    With the settings of its landscapes, where a chapter draws it.
    """
    known: Mapping[str, Any] = config.section(NAME).get("datasets", {})
    drawn = _drawn_by(config, run)
    return known.get(variants.base_name(run.dataset), {}) | ({"landscape": drawn} if drawn else {})


def entry(config: Config, dataset: str) -> Mapping[str, Any]:
    """Return how runs on a data set, or a variant of it, are trained; PerturbError for another."""
    known = config.section(NAME).get("datasets", {})
    base = variants.base_name(dataset)
    if base not in known:
        raise PerturbError(
            f"data set '{base}' is not in study {NAME}. Add it under {NAME}.datasets "
            f"(config/studies/{NAME}.yaml).{did_you_mean(base, known)}"
        )
    return {"train": {}} | known[base]


def _entries(config: Config) -> dict[str, dict[str, Any]]:
    """Return each chapter's entry, with what it is `like` filled in."""
    known = config.section(NAME).get("chapters", {})
    found = {}
    for name in known:
        own, base = with_base(known, name, f"{NAME}.chapters")
        found[name] = {**base, **own}
        missing = {"title", "datasets", "model", "reference", "methods"} - set(found[name])
        if missing:
            raise PerturbError(
                f"config, {NAME}.chapters.{name}: missing key '{sorted(missing)[0]}'."
            )
    return found


def _drawn_by(config: Config, run: Run) -> dict[str, Any]:
    """Return the settings of a run's landscapes of the first chapter that draws it; {} of none."""
    for found in _entries(config).values():
        drawn = _landscape(config, found)
        same = run.dataset == found["datasets"][0] and run.model == found["model"]
        names = [methods.parse(name) for name in drawn["methods"]]
        if same and run.seed in drawn["seeds"] and methods.parse(run.method) in names:
            return drawn
    return {}


def _landscape(config: Config, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a chapter's landscapes over the global ones, its `methods` listed."""
    own = {"methods": [], **config.values["landscape"], **found.get("landscape", {})}
    if own["methods"] == "all":
        own["methods"] = [row["method"] for row in found["methods"]]
    return own


def plans(config: Config, name: str, found: Mapping[str, Any]) -> list[Plan]:
    """Return the comparison on each data set of a chapter: all with the same rows.

    Raises PerturbError for a method that does not parse or is listed twice, and for a reference
    that is not listed.
    """
    where = f"config, {NAME}.chapters.{name}"
    listed = [row["method"] for row in found["methods"]]
    try:
        spelled = [methods.format(methods.parse(method)) for method in listed]
        for row in found["methods"]:
            check_published(row, MEASURE)
    except PerturbError as error:
        raise PerturbError(f"{where}: {error}") from None
    twice = sorted({method for method in spelled if spelled.count(method) > 1})
    if twice:
        raise PerturbError(f"{where}: listed twice: {', '.join(twice)}. Remove one.")
    drawn = _landscape(config, found)["methods"]
    for asked in (found["reference"], *drawn):
        if asked not in listed:
            raise PerturbError(
                f"{where}: '{asked}' is the reference, or has a landscape, and is not among its "
                f"methods.{did_you_mean(asked, listed)}"
            )
    for dataset in found["datasets"]:
        entry(config, dataset)
        registry.check_name(dataset, config.values.get("image_folders", {}))
    seeds = tuple(found.get("seeds", config.values["seeds"]))
    rows = [_row(row, method, seeds) for row, method in zip(found["methods"], spelled, strict=True)]
    return [
        Plan(
            study=NAME,
            title=found["title"],
            chapter=name,
            dataset=dataset,
            model=found["model"],
            rows=tuple(rows),
            sections=("Methods",),
            reference=found["reference"],
            measure=MEASURE,
            scale=_scale(config, found),
            equivalence_margin=config.values.get("equivalence_margin", 0.5),
            epochs=methods.method(found["reference"]).epochs,
            published="diary",
            also=ALSO,
            normalisation=_landscape(config, found)["normalisation"] if drawn else "",
        )
        for dataset in found["datasets"]
    ]


def _scale(config: Config, found: Mapping[str, Any]) -> str:
    return "smoke" if config.scale == "smoke" else found.get("scale", "full")


def _row(row: Mapping[str, Any], spelled: str, seeds: Sequence[int]) -> Row:
    definition = methods.method(spelled).definition
    approximation = definition.approximation
    notes = [row.get("note", ""), f"an approximation: {approximation}" if approximation else ""]
    return Row(
        method=row["method"],
        spellings=tuple(dict.fromkeys((row["method"], spelled))),
        section="Methods",
        label=row.get("label", definition.title),
        seeds=tuple(row.get("seeds", seeds)),
        published=row.get("published"),
        note="; ".join(filter(None, notes)),
    )


def chapters(config: Config) -> list[Chapter]:
    """Return a chapter for each entry of the study's section, asked for or not."""
    return [_chapter(config, name, found) for name, found in _entries(config).items()]


def _chapter(config: Config, name: str, found: Mapping[str, Any]) -> Chapter:
    of_datasets = plans(config, name, found)
    runs = tuple(run for plan in of_datasets for run in plan.runs())
    drawn = _landscape(config, found)
    shown = [
        Run(found["datasets"][0], found["model"], method, seed)
        for method in drawn["methods"]
        for seed in drawn["seeds"]
    ]
    settings = LandscapeSettings.of(drawn)
    networks = {method: methods.method(method).definition.networks for method in drawn["methods"]}
    common = {
        "name": name,
        "title": found["title"],
        "scale": _scale(config, found),
        "plans": [plan.values() for plan in of_datasets],
    }
    return Chapter(
        study=NAME,
        name=name,
        title=found["title"],
        asked=name in config.asked,
        measure=MEASURE,
        runs=runs,
        parts=(
            *_parts(of_datasets, runs, common),
            *(landscapes.of_runs(of_datasets[0], shown, settings, networks) if shown else ()),
        ),
        words=f"{HERE}.words:words",
        settings=common,
        pages=landscapes.pages(name) if shown else (),
        scale=_scale(config, found),
        landscape_runs=tuple(shown),
    )


def _parts(
    of_datasets: Sequence[Plan], runs: Sequence[Run], common: Mapping[str, Any]
) -> list[Part]:
    """Return the tables and figures of a chapter, but for those of its landscapes."""
    inputs = {"records": tuple(run.record for run in runs)}
    tables = [
        Part(part, "table", f"{HERE}.parts:{make}", inputs, common)
        for part, make in (("", "main"), ("claims", "claims"), ("runs", "runs"))
    ]
    figures = [
        Part(
            figure,
            "figure",
            f"{HERE}.figures:make",
            # A diagram is made from definitions: no run can change it.
            {} if figure == "diagrams" else inputs,
            {**common, "figure": figure},
            title=title,
            caption=catalogue.caption(figure, of_datasets),
        )
        for figure, title in catalogue.titles(of_datasets).items()
    ]
    return [*tables, *figures]


def published(config: Config) -> list[tuple[str, str, float]]:
    """Return the diary's numbers of methods: (data set, method, mAP)."""
    return [
        (dataset, row["method"], row["published"])
        for found in _entries(config).values()
        for dataset in found["datasets"]
        for row in found["methods"]
        if row.get("published") is not None
    ]
