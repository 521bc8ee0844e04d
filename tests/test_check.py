"""`python -m perturb check`: what is valid and still refused here, is said."""

import pytest

from perturb import __main__ as command
from perturb.planning import here


@pytest.fixture
def check(root, tmp_path):
    def run(text):
        (tmp_path / "own.yaml").write_text(f"chapters: [digits]\nseeds: [0]\n{text}\n")
        return command.check(root, [tmp_path / "own.yaml"])

    return run


def test_a_machine_without_a_gpu_is_a_note_and_no_error(check, monkeypatch):
    monkeypatch.setattr(here, "why_no_gpu", lambda: "this machine has no GPU")
    lines = check("train: {device: cuda}").splitlines()
    assert lines[-1] == "The configuration is valid."
    noted = [line for line in lines if "this machine has no GPU" in line]
    assert len(noted) == 1 and noted[0].startswith("On this machine snakemake will refuse it: ")


def test_nothing_is_noted_where_it_can_run(check, monkeypatch):
    monkeypatch.setattr(here, "why_no_gpu", lambda: "")
    assert "On this machine" not in check("train: {device: cuda}")
    monkeypatch.setattr(here, "why_no_gpu", lambda: "this machine has no GPU")
    assert "On this machine" not in check("train: {device: auto}")
