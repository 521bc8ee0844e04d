"""Tables, figures, ranking, section and report made again in memory and compared to the byte."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from perturb.analysis import formats, provenance, ranking, tables
from perturb.analysis.runs import collect
from perturb.errors import PerturbError
from perturb.figures import gradients as gradients_figures
from perturb.figures import landscape, registry, style
from perturb.figures import ranking as ranking_figure
from perturb.figures.material import gather
from perturb.gradients import table as gradients_table
from perturb.gradients.settings import Stochastic
from perturb.gradients.units import compare
from perturb.landscape import provenance as landscape_provenance
from perturb.landscape import table as landscape_table
from perturb.landscape.files import read_plane
from perturb.report import html, section
from perturb.report.results import Results
from perturb.verify.found import Gradients, Study, Verification


def compare_tables(found: Verification, study: Study) -> None:
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


def compare_figures(found: Verification, study: Study) -> None:
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

    def figure(path: Path) -> bytes:
        return style.render(drawn(path.stem), path.suffix[1:])

    found.make_again("figures", study.figures, study.asked, figure)


def compare_gradients(found: Verification, study: Gradients) -> None:
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

    found.make_again("tables", study.tables, study.asked, table)
    found.make_again("figures", study.figures, study.asked, figure)


def compare_ranking(found: Verification, studies: Sequence[Study]) -> list[Path]:
    """Make the ranking over data sets again and compare it; return its files, if it has any."""
    if len(studies) < 2:
        return []
    name = studies[0].plan["study"]
    table = found.results / "tables" / f"{name}_ranking"
    picture = found.results / "figures" / name / "ranking"
    try:
        read = [
            tables.read(found.results / "tables" / f"{study.dataset}.csv", study.plan)
            for study in studies
        ]
        frame = ranking.build(read)
    except (PerturbError, FileNotFoundError) as error:
        found.find("tables", "uncompared", table.with_suffix(".csv"), error)
    else:
        for kind, text in ranking.texts(frame, name).items():
            found.compare("tables", table.with_suffix(f".{kind}"), text)
        drawn = ranking_figure.draw(frame, read)
        for kind in ("pdf", "png"):
            found.compare("figures", picture.with_suffix(f".{kind}"), style.render(drawn, kind))
    return [
        *(table.with_suffix(f".{kind}") for kind in ("csv", "md", "tex")),
        *(picture.with_suffix(f".{kind}") for kind in ("pdf", "png")),
    ]


def find_unknown(
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


def compare_report(
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
    asked = [study for study in gradients if study.asked]
    results = Results.read(
        {
            "tables": [str(found.results / "tables" / f"{name}.csv") for name in names],
            "figures": [str(path) for study in studies for path in study.figures],
            "pages": [str(page) for study in studies for page in study.pages],
            "ranking": [str(path) for path in ranked],
            "gradients": [str(path) for s in asked for path in (*s.tables, *s.figures)],
        },
        json.dumps([study.plan for study in studies], sort_keys=True),
        json.dumps([study.words for study in asked]),
    )
    for name, render in files.items():
        found.compare("report", found.results / name, render(results, found.results))
