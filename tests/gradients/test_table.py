"""From runs to the table: the same bytes, numbers that can be made again, the log beside them."""

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from perturb.errors import PerturbError
from perturb.figures import gradients as figures
from perturb.figures import gradients_catalogue
from perturb.figures.style import render
from perturb.gradients import table, toy
from perturb.report import gradients as report
from perturb.report import html, section
from perturb.report.results import Results

from .conftest import NAMES, run


@pytest.fixture(scope="module")
def material(records):
    return table.gather("gradients_smoke", "smoke", records)


@pytest.fixture(scope="module")
def words(smoke):
    return json.loads(smoke.words())


@pytest.fixture(scope="module")
def built(material, words):
    return table.build(material, words["published"])


def test_a_run_is_the_same_to_the_byte_but_for_its_times(smoke, records, tmp_path):
    again = run(smoke.toys[0], smoke.seeds[0], tmp_path / "again")
    for name in set(NAMES) - {"timing.csv"}:
        assert again.with_name(name).read_bytes() == records[0].with_name(name).read_bytes()


def test_what_chooses_is_not_what_is_reported(smoke):
    problem = toy.Problem.make(smoke.toys[0], 0)
    given = [problem.batch(n, p, 50)[0] for n in (0, 1) for p in ("choosing", "held out")]
    given += [problem.batch(n, "gradient", 50)[0] for n in (0, 1, 2)]
    for i, first in enumerate(given):
        assert not any(np.isin(first.numpy(), other.numpy()).any() for other in given[:i])


def test_a_row_is_the_mean_of_its_batches(material, built):
    frame = material.batches
    for row in built.sample(6, random_state=0).to_dict("records"):
        part = frame
        for key in table.ARM:
            part = part[part[key] == row[key]]
        assert row["batches"] == len(part) == 4
        assert row["decrease_hidden_mean"] == pytest.approx(part["decrease_hidden"].mean())
        assert row["decrease_hidden_sd"] == pytest.approx(part["decrease_hidden"].std())
    cdg = built[built["estimator"] == "cdg"]
    assert (cdg["to_cdg_mean"] == 0).all() and (cdg["cosine_to_cdg_layer_1"] > 0.999).all()


def test_the_logs_number_stands_beside_ours_where_it_has_one(built, words):
    logged = built.dropna(subset=["log_decrease_at_0.1"])
    assert set(logged["pretraining"]) == {0}
    found = {(r.dimension, r.estimator, r.evaluations) for r in logged.itertuples()}
    assert (8, "nes_plain", 500) in found and (16, "ste_clip", 1) in found
    for row in logged.to_dict("records"):
        gap = abs(row["decrease_hidden_at_0.1_mean"] - row["log_decrease_at_0.1"])
        near = gap <= 2 * row["decrease_hidden_at_0.1_sd"] / row["batches"] ** 0.5
        assert row["log_verdict"] == (table.AGREES if near else table.DIFFERS)


def frame_of(decreases, cosine=1.0):
    """Return a table's rows for NES arms and CDG with these decreases by dimension."""
    rows = []
    for (estimator, evaluations), by_dimension in decreases.items():
        for dimension, decrease in by_dimension.items():
            rows.append(
                {
                    "dimension": dimension,
                    "pretraining": 0,
                    "estimator": estimator,
                    "evaluations": evaluations,
                    "decrease_hidden_mean": decrease,
                    **{f"cosine_to_cdg_layer_{layer}": cosine for layer in table.LAYERS},
                }
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("plain", "verdict"),
    [
        ({8: 0.03, 16: 0.01, 32: 0.0}, table.AGREES),
        ({8: 0.03, 16: 0.03, 32: 0.03}, table.DIFFERS),
        ({8: 0.03, 16: 0.0, 32: 0.02}, table.DIFFERS),
    ],
)
def test_falling_apart_is_told_from_holding(plain, verdict):
    cdg = {("cdg", 400): dict.fromkeys(plain, 0.04)}
    (claim,) = table._few_evaluations(frame_of(cdg | {("nes_plain", 500): plain}))
    assert claim.verdict == verdict


def test_what_a_study_has_nothing_for_is_not_claimed(material, words):
    kept = {name: getattr(material, name) for name in ("curves", "windows", "batches", "pooled")}
    for name, frame in kept.items():
        raw = frame["pretraining"] == 0
        kept[name] = frame[raw & frame["estimator"].isin(["cdg", "ste_steep"])]
    less = replace(material, **kept)
    assert table.claims(table.build(less, words["published"]), less) == []


def test_a_file_that_was_changed_is_refused(smoke, tmp_path):
    record = run(smoke.toys[0], 0, tmp_path / "run")
    path = record.with_name("batches.csv")
    path.write_text(path.read_text().replace("cdg", "CDG"))
    with pytest.raises(PerturbError, match=r"batches.csv.*Delete it and run again"):
        table.gather("gradients_smoke", "smoke", [record])


@pytest.mark.parametrize("name", gradients_catalogue.TOY)
def test_a_figure_is_drawn_the_same_to_the_byte(material, name):
    first = render(figures.draw(name, material), "png")
    assert first == render(figures.draw(name, material), "png") and len(first) > 10_000


def test_an_unknown_figure_gets_the_closest_name(material):
    with pytest.raises(PerturbError, match="Did you mean 'window'"):
        figures.draw("windo", material)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_the_table_fits_a_page(built, tmp_path):
    (tmp_path / "table.tex").write_text(table.latex(built, "A title", "gradients_smoke"))
    (tmp_path / "paper.tex").write_text(
        r"\documentclass[a4paper,10pt]{article}\usepackage[margin=18mm]{geometry}"
        r"\usepackage{booktabs,longtable}\begin{document}\input{table}\end{document}"
    )
    for _ in range(3):  # longtable finds its widths
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0 and b"Overfull" not in done.stdout


def test_report_and_section_have_every_row_and_claim(material, words, records, tmp_path):
    folder = tmp_path / "results/tables"
    folder.mkdir(parents=True)
    results = records[0].parents[3]
    endings = {"claims": "_claims.csv", "provenance": ".provenance.csv"}
    for kind, text in table.texts(material, words, results).items():
        (folder / f"gradients_smoke{endings.get(kind, '.' + kind)}").write_text(text)
    keys = ("estimator", "evaluations", "bias", "bias_expected", "relative_error")
    stochastic = pd.DataFrame([dict(zip(keys, ("arm", 6, 0.1, 0.1, 1.0), strict=True))])
    stochastic.to_csv(folder / "gradients_smoke_stochastic.csv", index=False)
    (found,) = report.sections([words], sorted(folder.iterdir()), [])
    everything = Results([], studies=[found])
    page = html.render(everything, tmp_path / "results")
    tex = section.render(everything, tmp_path / "results")
    assert "Smoke run" in page and page.count("<tr>") > len(found.rows) + len(found.claims)
    for claim in found.claims:
        assert claim[1] in (table.AGREES, table.DIFFERS)
        assert claim[0].split(",")[0] in page
    assert r"\input{\perturbresults/tables/gradients_smoke.tex}" in tex
    traced = pd.read_csv(folder / "gradients_smoke.provenance.csv")
    assert len(traced) == len(records) and not traced["record"].str.startswith("/").any()
    with pytest.raises(PerturbError, match="no table gradients_smoke"):
        report.sections([words], [], [])
