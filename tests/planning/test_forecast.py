"""What is said before training that takes long, and nothing before training that does not."""

from dataclasses import asdict

import pytest

from perturb.config import Config
from perturb.planning import forecast
from perturb.runs import Run


@pytest.fixture
def said(root, raw_config, tmp_path, capsys):
    def say(*methods, cores=2):
        schema = root / "config" / "schema.yaml"
        runs = [Run("digits", "cnn", method, 0) for method in methods]
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
