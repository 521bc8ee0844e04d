"""`python -m perturb check`: what is valid and still refused here, is said."""

import json

import pytest

from perturb import __main__ as command
from perturb.errors import PerturbError
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


@pytest.mark.parametrize(
    ("first", "second", "holds"),
    [
        ("train: {lr: 0.3}", "seeds: [1]", 0.3),  # the checkout's own `learning_rate` gives way
        ("train: {lr: 0.3}", "train: {lr: 0.4}", 0.4),
        ("train: {lr: 0.3}", "train: {learning_rate: 0.4}", None),
        ("train: {learning_rate: 0.4}", "train: {lr: 0.3}", None),
    ],
)
def test_a_setting_under_two_names_is_refused_over_several_files_too(
    root, tmp_path, first, second, holds
):
    files = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    for file, text in zip(files, (first, second), strict=True):
        file.write_text(f"{text}\n")
    if holds is None:
        with pytest.raises(PerturbError, match=r"config, train: .*0\.[34].* two names of one sett"):
            command.check(root, files)
        return
    config = command.configuration(root, files)
    assert list(config.values["train"].values())[-1] == holds


def test_weights_that_are_not_here_are_a_note(root, tmp_path, monkeypatch):
    for variable in ("HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "empty"))
    own = {
        "chapters": ["digits"],
        "seeds": [0],
        "data_root": str(tmp_path),
        "rts": {"datasets": {"digits": {"model": "vit", "epochs": 2, "methods": ["sgd"]}}},
    }
    (tmp_path / "own.yaml").write_text(json.dumps(own))
    lines = command.check(root, [tmp_path / "own.yaml"]).splitlines()
    assert lines[-1] == "The configuration is valid."
    noted = [line for line in lines if line.startswith("On this machine runs of vit will fail: ")]
    assert len(noted) == 1 and "No weights for model 'vit'" in noted[0]
    own["models"] = {"vit-random": {"network": "vit", "weights": "random"}}
    own["rts"]["datasets"]["digits"]["model"] = "vit-random"
    (tmp_path / "own.yaml").write_text(json.dumps(own))
    assert "will fail" not in command.check(root, [tmp_path / "own.yaml"])


def test_a_number_of_frozen_layers_is_taken_where_the_network_has_them(check):
    assert "valid" in check("train: {freeze: 1}")
    with pytest.raises(PerturbError, match="freeze is 9, but the network has 2 layers"):
        check("train: {freeze: 9}")


def test_a_ranking_is_called_so_and_what_nothing_asks_for_is_said(check, root):
    mine = check("rts: {datasets: {mine: {like: digits, dataset: digits, model: mlp}}}")
    assert "mine is described and not asked for" in mine
    assert "write `chapters: [digits, mine]`" in mine
    said = command.check(root, []).splitlines()
    assert "rts: the ranking over digits_noise-0.4, digits, from their runs" in said
    assert not any(": 0 runs" in line or "not asked for" in line for line in said)
