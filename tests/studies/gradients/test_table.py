"""From runs to the tables: numbers that can be made again, the log beside them, provenance."""

import shutil
import subprocess
from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd
import pytest

from perturb.analysis import printers
from perturb.errors import PerturbError
from perturb.figures.style import render
from perturb.studies.gradients import catalogue, figures, table, toy
from perturb.study import Part, load

from .conftest import make
from .made_up import batch, record
from .made_up import material as made_up


@pytest.fixture(scope="module")
def material(records):
    return table.gather("gradients_smoke", "smoke", records)


@pytest.fixture(scope="module")
def published(chapter):
    return chapter.tables[0].settings["published"]


@pytest.fixture(scope="module")
def built(material, published):
    return table.build(material, published)


def made(part: Part, results, inputs=None):
    """What a part's maker returns, from the files that the workflow would give it."""
    paths = {kind: [results / path for path in paths] for kind, paths in part.inputs.items()}
    return load(part.make)(part.settings, paths | (inputs or {}), results)


def test_what_chooses_is_not_what_is_reported(toys):
    problem = toy.Problem.make(toys[0])
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


def test_the_logs_number_stands_beside_ours_where_it_has_one(built, published):
    keys = {("cdg", None): "cdg", ("nes_plain", 500): "nes_500"}
    keys |= {(f"ste_{kind}", 1): f"ste_{kind}" for kind in ("clip", "steep", "swish_sign")}
    keys[("ste_polynomial", 1)] = "ste_polynomial"
    for row in built.to_dict("records"):
        arm = (row["estimator"], row["evaluations"] if row["estimator"] != "cdg" else None)
        if row["pretraining"] == 0 and arm in keys:
            assert row["log_decrease_at_0.1"] == published[str(row["dimension"])][keys[arm]]
            assert row["log_verdict"] in ("comes out", "does not come out")
        else:
            assert pd.isna(row["log_decrease_at_0.1"]) and row["log_verdict"] == ""
    assert built["log_decrease_at_0.1"].notna().sum() == 2 * len(keys)


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        # Four batches of mean 0.04: standard deviation 0.02582, two standard errors 0.02582.
        (0.0655, "comes out"),
        (0.0665, "does not come out"),
        (0.0145, "comes out"),
        (0.0135, "does not come out"),
    ],
)
def test_the_logs_number_comes_out_within_two_standard_errors(log, verdict):
    decreases = (0.01, 0.03, 0.05, 0.07)
    rows = [batch("cdg", at, 0.04) for at in range(4)]
    rows += [batch("ste_clip", at, 9.0) | {"decrease_hidden_at_0.1": decreases[at]}
             for at in range(4)]  # fmt: skip
    few = made_up(batches=rows, records=[record(8, 10)])
    found = table.build(few, {"8": {"ste_clip": log}, "16": {"ste_clip": 5.0}})
    (row,) = found[found["estimator"] == "ste_clip"].to_dict("records")
    assert row["decrease_hidden_at_0.1_mean"] == pytest.approx(0.04)
    assert row["log_decrease_at_0.1"] == log and row["log_verdict"] == verdict


def test_what_a_study_has_nothing_for_is_not_claimed(material, published):
    kept = {name: getattr(material, name) for name in ("curves", "windows", "batches", "pooled")}
    for name, frame in kept.items():
        raw = frame["pretraining"] == 0
        kept[name] = frame[raw & frame["estimator"].isin(["cdg", "ste_steep"])]
    less = replace(material, **kept)
    assert table.claims(table.build(less, published), less) == []


def test_a_file_that_was_changed_is_refused(toys, tmp_path):
    record = make(toys[0], tmp_path / "run")
    path = record.with_name("batches.csv")
    path.write_text(path.read_text().replace("cdg", "CDG"))
    with pytest.raises(PerturbError, match=r"batches.csv: damaged or edited"):
        table.gather("gradients_smoke", "smoke", [record])


def test_a_figure_is_made_from_its_part(chapter, records, results, material):
    assert [part.name for part in chapter.figures] == [*catalogue.TOY, "layers"]
    (part,) = (figure for figure in chapter.figures if figure.name == "dimension")
    drawn = figures.draw("dimension", material)
    assert render(made(part, results), "png") == render(drawn, "png")


def test_the_figure_of_seconds_has_every_reported_estimate(records, chapter, results, material):
    timings = pd.concat(figures.read_timing(path.with_name("timing.csv")) for path in records)
    keys = ["dimension", "pretraining", "seed", "batch", "estimator", "evaluations"]
    assert len(material.batches.merge(timings, on=keys)) == len(material.batches)
    inputs = {"records": records, "timings": [path.with_name("timing.csv") for path in records]}
    figure = figures.make_seconds(chapter.settings, inputs, results)
    assert len(render(figure, "png")) > 10_000


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_table_shows_every_row_of_its_frame(chapter, records, results, place):
    part = chapter.tables[place]
    found = made(part, results)
    assert found.name == chapter.stem(part) and found.caption.startswith("Smoke run")
    rows = [row for group in found.groups for row in group.rows]
    assert len(rows) == len(found.frame) > 0
    assert all(len(row) == len(found.columns) for row in rows)
    assert found.frame.equals(made(part, results).frame)


def test_a_row_says_what_its_frame_says(chapter, records, results):
    found = made(chapter.tables[0], results)
    assert [group.heading for group in found.groups] == [
        "d = 8, raw",
        "d = 8, pre-trained on 50 batches",
        "d = 16, raw",
        "d = 16, pre-trained on 50 batches",
    ]
    rows = [row for group in found.groups for row in group.rows]
    for row, values in zip(rows, found.frame.to_dict("records"), strict=True):
        texts = {column.head: cell.text for column, cell in zip(found.columns, row, strict=True)}
        assert texts["Estimator"] == values["estimator"]
        mean = float(texts["Decrease"].partition(" ")[0].replace("−", "-"))
        assert mean == pytest.approx(values["decrease_hidden_mean"], abs=5.1e-5)
        differs = values["log_verdict"] == table.DIFFERS
        assert texts["Log at 0.1"].endswith("≠") == differs
        assert (texts["To CDG"] == "") == (values["estimator"] == "cdg")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_table_fits_a_page(chapter, records, results, tmp_path, place):
    (tmp_path / "table.tex").write_text(printers.latex(made(chapter.tables[place], results)))
    (tmp_path / "paper.tex").write_text(
        r"\documentclass[a4paper,10pt]{article}\usepackage[margin=18mm]{geometry}"
        r"\usepackage{booktabs,longtable,array}\begin{document}\input{table}\end{document}"
    )
    for _ in range(3):  # longtable finds its widths
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0 and b"Overfull" not in done.stdout, done.stdout.decode()[-3000:]


def test_a_verdict_is_marked_as_what_it_says(chapter, records, results):
    found = made(chapter.tables[1], results)
    (group,) = found.groups
    for row, verdict in zip(group.rows, found.frame["verdict"], strict=True):
        assert row[1].text == verdict
        assert row[1].tone == ("better" if verdict == table.AGREES else "worse")


def test_provenance_leads_from_every_cell_to_its_runs(chapter, toys, records, results):
    for part in chapter.tables[:2]:
        traced = made(part, results).provenance
        assert set(traced["run"]) == {toy.run.folder for toy in toys}
        assert all((results / run / "record.json").exists() for run in traced["run"])
    traced = made(chapter.tables[0], results).provenance
    cell = traced[(traced["dimension"] == 8) & (traced["pretraining"] == 50)]
    assert [run.split("/")[-2:] for run in cell["run"]] == [
        ["toy_dimension-8_pretraining-50", "seed0"],
        ["toy_dimension-8_pretraining-50", "seed1"],
    ]
    whole = traced[traced["dimension"] == "*"]
    assert len(whole) == len(records) and set(whole["columns"]) == {table.WHOLE}


def test_what_the_runs_differ_in_is_a_warning(chapter, toys, records, results, tmp_path):
    other = msgspec.structs.replace(toys[1], samples=220)
    changed = [records[0], make(other, tmp_path / other.run.folder)]
    found = made(chapter.tables[0], tmp_path, {"records": changed})
    assert found.warnings == ["The runs differ in: settings_sha256."]
    assert set(found.frame["mixed"]) == {"settings_sha256"}
    assert made(chapter.tables[0], results).warnings == []


def test_a_toy_that_diverged_is_left_out_and_said(chapter, toys, records, results, tmp_path):
    wild = msgspec.structs.replace(toys[3], pretraining_learning_rate=1e30)
    assert wild.pretraining == 50
    diverged = make(wild, tmp_path / wild.run.folder)
    kept = [path for path in records if path.parent != results / wild.run.folder]
    found = made(chapter.tables[0], tmp_path, {"records": [*kept, diverged]})
    assert found.warnings[0] == (
        "Left out, for they diverged: toy_dimension-8_pretraining-50, seed 1."
    )
    part = found.frame[(found.frame["dimension"] == 8) & (found.frame["pretraining"] == 50)]
    assert set(part["batches"]) == {2} and part["decrease_hidden_mean"].notna().all()
    with pytest.raises(PerturbError, match="every toy diverged"):
        table.gather("gradients_smoke", "smoke", [diverged])


def test_words_tell_what_came_out(chapter, records, results):
    frames = {part.name: made(part, results).frame for part in chapter.tables[:3]}
    found = load(chapter.words)(chapter.settings, frames)
    assert found.heading.endswith("(smoke run)") and "dimensions 8, 16" in found.what
    verdicts = list(frames["claims"]["verdict"])
    out, of = verdicts.count(table.AGREES), len(verdicts)
    said = f"Of {of} claims of the lab log: {out} come out, {of - out} do not come out."
    assert found.findings[0] == said
    assert len(found.findings) == 1 + of - out
