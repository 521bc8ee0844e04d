"""The curves in the report are the runs' own epochs."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from perturb.report import curves


def test_curves_are_those_of_epochs_csv(chapter, plan, results):
    made = curves.of_chapter(chapter, results)
    assert made["reference"] == "pugd_30" and made["chosen"][0] == "pugd_30"
    assert made["series"][0] == {"name": "test_accuracy", "words": "test accuracy", "unit": "%"}
    assert not any(one["name"].endswith(("_min", "_variance")) for one in made["series"])
    method = next(one for one in made["methods"] if one["name"] == "sgd_60")
    assert [run["seed"] for run in method["runs"]] == [0, 1, 2]
    for run in method["runs"]:
        folder = results / f"runs/digits/cnn/sgd_60/seed{run['seed']}"
        epochs = pd.read_csv(folder / "epochs.csv")
        assert run["epochs"] == list(range(1, len(epochs) + 1))
        assert run["gradients"] == list(epochs["gradient_evaluations"])
        shown = run["values"]["test_accuracy"]
        assert shown == pytest.approx(100 * epochs["test_accuracy"], rel=1e-4)
    listed = [one["name"] for one in made["methods"]]
    assert "gsam_0.05_0.01_30" not in listed, "it was not run"
    statuses = {run["status"] for one in made["methods"] for run in one["runs"]}
    assert statuses == {"ok", "diverged"}


def test_a_chapter_of_many_numbers_has_fewer_epochs_and_its_last(chapter, results, monkeypatch):
    monkeypatch.setattr(curves, "MOST_NUMBERS", 500)
    made = curves.of_chapter(chapter, results)
    assert made["every"] > 1
    run = next(one for one in made["methods"] if one["name"] == "sgd_60")["runs"][0]
    assert run["epochs"][1] - run["epochs"][0] == made["every"]
    epochs = pd.read_csv(results / "runs/digits/cnn/sgd_60/seed0/epochs.csv")
    assert run["epochs"][-1] == len(epochs)


def test_a_chapter_without_runs_has_none(chapter, results):
    assert curves.of_chapter(replace(chapter, parts=()), results) == {}


def test_data_cannot_end_the_script_that_holds_it():
    text = curves.as_json({"name": "</script><script>alert(1)"})
    assert "<" not in text and json.loads(text)["name"].startswith("</script>")


@pytest.fixture
def two_sets(chapter, results):
    """The chapter with its runs of sgd_60 called those of noisy labels: one seed of each set."""
    stem = results / "tables" / f"{chapter.stem(chapter.tables[0])}.provenance.csv"
    kept = stem.read_bytes()
    lines = pd.read_csv(stem, keep_default_na=False)
    lines = lines[(lines["method"] == "sgd_60") & (lines["seed"].astype(str).isin(["0", "1"]))]
    second = lines["run"].str.endswith("seed1")
    lines.loc[second, "run"] = lines.loc[second, "run"].str.replace("digits", "digits_noise-0.4")
    lines.to_csv(stem, index=False)
    noisy = results / "runs/digits_noise-0.4/cnn/sgd_60/seed1"
    shutil.copytree(results / "runs/digits/cnn/sgd_60/seed1", noisy)
    yield curves.of_chapter(chapter, results)
    shutil.rmtree(results / "runs/digits_noise-0.4")
    stem.write_bytes(kept)


def test_runs_on_several_data_sets_are_no_seeds_of_one(two_sets):
    assert two_sets["sets"] == ("digits", "digits_noise-0.4")
    (method,) = two_sets["methods"]
    assert [(run["set"], run["seed"]) for run in method["runs"]] == [(0, 0), (1, 1)]


def test_a_chapter_of_one_data_set_has_no_sets_to_choose_from(chapter, results):
    assert curves.of_chapter(chapter, results)["sets"] == ("",)


def test_a_chapter_may_draw_the_runs_of_another_table_by_another_series(chapter, results):
    path = results / "tables" / "digits_other.provenance.csv"
    lines = pd.read_csv(results / "tables/digits.provenance.csv", keep_default_na=False)
    lines[lines["method"] == "sgd_60"].to_csv(path, index=False)
    settings = {**chapter.settings, "curves": {"table": "other", "measure": "train_loss"}}
    other = replace(chapter.tables[0], name="other", stem="")
    made = curves.of_chapter(
        replace(chapter, settings=settings, parts=(*chapter.parts, other)), results
    )
    path.unlink()
    assert [method["name"] for method in made["methods"]] == ["sgd_60"]
    assert made["series"][0] == {"name": "train_loss", "words": "train loss", "unit": "nats"}
