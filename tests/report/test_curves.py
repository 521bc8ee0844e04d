"""The curves in the report are the runs' own epochs."""

import json
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
