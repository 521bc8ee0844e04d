"""What is said before training that takes long, and nothing before training that does not."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from perturb import studies
from perturb.config import Config
from perturb.files import write_json
from perturb.jobs.store import Store
from perturb.planning import forecast
from perturb.runs import Run, without_neutral
from perturb.studies.rts.settings import RtsSpecification


@pytest.fixture
def said(root, raw_config, tmp_path, capsys):
    def say(*methods, cores=2, where=("digits", "cnn")):
        schema = root / "config" / "schema.yaml"
        runs = [Run(*where, method, 0) for method in methods]
        config = Config(raw_config, schema)
        forecast.say(config, schema, tmp_path, str(tmp_path / "benchmarks"), runs, cores)
        return capsys.readouterr().err

    return say


def test_weeks_of_training_are_told_in_one_line_before(said):
    line = said("sgd_3000000", "pugd_3000000")
    assert line.startswith("perturb notes: 2 runs to train, about ") and line.count("\n") == 1
    assert " d on this machine." in line
    for way_out in ("docs/slurm.md", "`snakemake plan`", "config/smoke.yaml"):
        assert way_out in line


def test_minutes_of_training_need_no_word_and_no_measurement(said, monkeypatch):
    monkeypatch.setattr(forecast.subprocess, "run", lambda *a, **k: pytest.fail("it measured"))
    assert said("sgd_2", "pugd_2") == said() == ""


def test_what_cannot_be_told_stops_nothing(said, monkeypatch, tmp_path):
    monkeypatch.setattr(forecast, "asdict", lambda asked: asdict(asked) | {"schema": "nowhere"})
    assert said("sgd_3000000").startswith("perturb notes: how long: ")


def test_a_data_set_that_is_not_prepared_yet_stops_nothing(said):
    """Only its files tell its size: the first command on it must begin all the same."""
    line = said("adamw_lr-0.001_20", where=("ckplus48", "small_vit"))
    assert line.startswith("perturb notes: 1 run to train; how long: the size of data set 'ckplus")
    assert line.count("\n") == 1


def test_what_comes_back_from_the_store_is_not_told_as_training(tmp_path):
    asked = RtsSpecification(dataset="digits", model="cnn", method="sgd_2", seed=0, device="cpu")
    params = {"specification": asked.to_json()}
    job = SimpleNamespace(params=params, output=[f"{tmp_path}/record.json"])
    other = SimpleNamespace(params={}, output=[f"{tmp_path}/table.csv"])
    store = Store(tmp_path / "store", tmp_path)
    assert forecast.runs_of([job, other], store) == [asked.run]
    folder = tmp_path / asked.run.folder
    write_json(folder / "record.json", {})
    held = {"kind": "run", "specification": asked.settings(), "scale": "full", "device": "cpu (X)"}
    held["specification"] = without_neutral(held["specification"], RtsSpecification.NEUTRAL)
    store.keep(held | {"code": studies.code_of(asked)}, folder, ["record.json"])
    assert forecast.runs_of([job, other], store) == []
    assert forecast.runs_of([job, other], None) == [asked.run]
