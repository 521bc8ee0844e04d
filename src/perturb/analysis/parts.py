"""The parts of a chapter that compares methods: its table and its figures; and of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturb.analysis.plan import Plan
from perturb.figures import catalogue
from perturb.figures.catalogue import Entry
from perturb.predictions.files import file_of
from perturb.study import Part

if TYPE_CHECKING:
    from perturb.analysis.table import Table


def comparison_parts(
    plan: Plan, records: Sequence[str], figures: Mapping[str, Entry] | None = None
) -> list[Part]:
    """Return the table and the figures of a chapter that compares methods.

    `records` are relative to the results; `figures` by name, in the report's order, by default
    those that every comparison has (`catalogue.comparison`).
    """
    asked = catalogue.comparison(plan) if figures is None else figures
    inputs = {"records": tuple(records)}
    table = Part(
        name="",
        kind="table",
        make="perturb.analysis.parts:comparison",
        inputs=inputs | _of_test_images(plan),
        settings={"plan": plan.values()},
        stem=plan.chapter,
    )
    return [
        table,
        *(
            Part(
                name=name,
                kind="figure",
                make="perturb.figures.parts:draw",
                inputs=inputs,
                settings={"plan": plan.values(), "figure": name, **entry.drawn()},
                title=entry.title,
                caption=entry.caption(plan),
                uses=(entry.draw.partition(":")[0],),
            )
            for name, entry in asked.items()
        ),
    ]


def comparison(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Table:
    """Make the table of `settings["plan"]` from the runs of `inputs["records"]`."""
    from perturb.analysis import display, provenance, runs, tables
    from perturb.analysis.images import TestImages
    from perturb.files import read_json

    plan = Plan.of(settings["plan"])
    found = runs.collect(inputs["records"])
    traced = provenance.of_table(plan, found, results)
    leakage = [
        read_json(path, "Delete it and make it again.") for path in inputs.get("leakage", ())
    ]
    images = None
    if plan.predicted and leakage and inputs["predictions"]:  # partial results may have none
        images = TestImages.read(inputs["predictions"], leakage[0]["seen_test_images"])
    remarks = leakage[0]["remarks"] if leakage else []
    return display.table_of(tables.build(plan, found, images, remarks), traced)


def _of_test_images(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return what a table is made from beside its records, relative to the results."""
    found = {"leakage": (f"data/{plan.dataset}.duplicates.json",)} if plan.leakage else {}
    if not plan.predicted:
        return found
    return found | {"predictions": tuple(file_of(run) for run in plan.runs())}


def ranking_parts(
    plans: Sequence[Plan], stem: str, tables: Sequence[str], names: str = ""
) -> list[Part]:
    """Return the figures and the table of a ranking over data sets.

    Args:
        plans: of the tables, in their order.
        stem: of the table's files below `tables/`.
        tables: the plans' tables as CSV, relative to the results.
        names: says how methods are named over data sets, a sentence.
    """
    inputs = {"tables": tuple(tables)}
    settings = {"plans": [plan.values() for plan in plans], "name": stem, "names": names}
    figure = Part(
        name="ranking",
        kind="figure",
        make="perturb.figures.parts:ranking",
        inputs=inputs,
        settings=settings,
        title="Ranking over data sets",
        caption=" ".join(filter(None, (catalogue.RANKING, names))),
    )
    profiles = replace(
        figure,
        name="profiles",
        make="perturb.figures.parts:profiles",
        title="Single runs over data sets",
        caption=" ".join(filter(None, (catalogue.PROFILES, names))),
    )
    make = "perturb.analysis.parts:ranking"
    table = Part(name="", kind="table", make=make, inputs=inputs, settings=settings, stem=stem)
    return [figure, profiles, table]


def ranking(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Table:
    """Make the ranking of the tables of `inputs["tables"]`, which are those of the plans.

    Its provenance names these, whose own lead to the runs.
    """
    import pandas as pd

    from perturb.analysis import ranking, tables
    from perturb.analysis.provenance import relative
    from perturb.files import sha256_file

    plans = [Plan.of(plan) for plan in settings["plans"]]
    found = [tables.read(*pair) for pair in zip(inputs["tables"], plans, strict=True)]
    table = ranking.table_of(ranking.build(found), found, settings["name"], settings["names"])
    traced = [
        {"columns": "*", "table": relative(path, results), "table_sha256": sha256_file(path)}
        for path in inputs["tables"]
    ]
    return replace(table, provenance=pd.DataFrame(traced))
