"""Configurations with a mistake: one message each, before anything is written."""

import copy

import pytest
import yaml

from perturb.__main__ import main
from tests.bad_configurations import VALID, bad_configuration
from tests.workflow.test_your_own_study import make_photographs


@pytest.fixture(scope="module")
def checkout(root, tmp_path_factory):
    """A folder with the photographs, where the checkout's own configuration is read."""
    folder = tmp_path_factory.mktemp("bad")
    make_photographs(folder / "photographs", 16)
    (folder / "config").symlink_to(root / "config")
    return folder


def said_of(checkout, monkeypatch, text, capsys):
    """Return what `python -m perturb check` says, and whether it refuses."""
    monkeypatch.chdir(checkout)
    (checkout / "own.yaml").write_text(text, encoding="utf-8")
    try:
        main(["check", "own.yaml"])
    except SystemExit as refused:
        return str(refused.code), True
    return capsys.readouterr().out, False


def test_without_a_mistake_it_is_taken(checkout, monkeypatch, capsys):
    said, refused = said_of(checkout, monkeypatch, yaml.safe_dump(VALID), capsys)
    assert not refused and "faces: 9 runs, 1 landscape\n" in said


@pytest.mark.parametrize("seed", range(132))
def test_a_mistake_is_one_message_and_nothing_is_written(checkout, monkeypatch, capsys, seed):
    kind, text = bad_configuration(seed)
    before = sorted(path.name for path in checkout.iterdir() if path.name != "own.yaml")
    said, refused = said_of(checkout, monkeypatch, text, capsys)
    assert refused, f"{kind} is taken"
    assert said.startswith("perturb: ") and "\n" not in said.rstrip(), (kind, said)
    assert 20 < len(said) < 700, (kind, said)
    assert sorted(p.name for p in checkout.iterdir() if p.name != "own.yaml") == before


FACES = {"model": "own-cnn", "epochs": 2, "methods": ["sgd"]}


# What others wrote, kind by kind: merged into the valid one, key by key.
@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"epochs": 9}, "It stands in a data set's entry: `rts: {datasets: {<name>: {epochs:"),
        ({"train": {"methods": ["sgd"]}}, "`rts: {datasets: {<name>: {methods: ...}}}`"),
        ({"landscape": {"points": 100001}}, "greater than the maximum of 1001"),
        ({"audits": {"mine": {"folder": "x", "pattern": "(?P<method>[a"}}}, "no regular expres"),
        ({"audits": {"mine": {"folder": "x", "pattern": "(.*)"}}}, "needs a group (?P<method>"),
        ({"artefact": {"published": "2026-02-30"}}, "'2026-02-30' is not a 'date'"),
        ({"artefact": {"published": "yesterday"}}, "'yesterday' is not a 'date'"),
        ({"efficiency": {"models": {"cnnn": {}}}}, "efficiency.models: Unknown model 'cnnn'."),
        ({"efficiency": {"models": {"cnn": {"batchsizes": [1]}}}}, "Did you mean 'batch_sizes'?"),
        ({"efficiency": {"models": {"cnn": {"batch_sizes": [0]}}}}, "less than the minimum of 1"),
        ({"pathvars": {"results": ""}}, "'' is no folder"),
        ({"pathvars": {"results": "out/{x}"}}, "is no folder. Write its path"),
        ({"pathvars": {"results": "<results>"}}, "is no folder. Write its path"),
        ({"pathvars": {"logs": "<results>/<logs>"}}, "pathvars.logs: '<results>/<logs>' is no"),
        ({"pathvars": {"results": "-n"}}, "'-n' is no folder"),
        ({"pathvars": {"results": "photographs/out"}}, "is inside the images of faces"),
        ({"store": "own.yaml"}, "own.yaml is a file"),
        ({"image_folders": {"efficiency_cnn": "photographs"}}, "as perturb's own files do"),
        ({"image_folders": {"tune_x": "photographs"}}, "chapters of study tune"),
        ({"image_folders": {"gradients_x": "photographs"}}, "chapters of study gradients"),
        ({"class_maps": {"six": {"dataset": "faces", "classes": {"a": "x", "b": "x"}}}}, "fewer"),
        ({"class_maps": {"faces": {"dataset": "digits", "classes": {}}}}, "called so"),
        ({"rts": {"datasets": {"faces": {"sgd": "pugd"}}}}, "pugd_5 is another rule"),
        ({"rts": {"datasets": {"faces": {"methods": [{"method": "sgd", "published": -0.1}]}}}},
         "Write a number from 0 to 1, or leave it out"),
        ({"models": {"own-cnn": {"network": "cnn", "weights": {"file": "/nope.pt"}}},
          "rts": {"datasets": {"faces": FACES}}}, "no file /nope.pt"),
        ({"models": {"own-cnn": {"network": "cnn", "weights": {"run": "faces/cnn/nothing_2"}}},
          "rts": {"datasets": {"faces": FACES}}}, "nothing_2"),
        ({"models": {"own-cnn": {"network": "cnn", "weights": {"run": "faces/own-cnn/sgd_2"}}},
          "rts": {"datasets": {"faces": FACES}}}, "own-cnn"),
        ({"chapters": ["reid_patches"], "reid": {"chapters": {"reid_patches": {"model": "cnn"}}}},
         "study reid cannot train model 'cnn'. Choose from: embedding_small"),
        ({"chapters": ["reid_patches"], "reid": {"chapters": {"reid_patches": {
            "reference": "ce_8", "methods": [{"method": "ce_8", "published": 93}]}}}},
         "Write 0.93 for 93 %"),
        ({"chapters": ["reid_patches"],
          "reid": {"datasets": {"photo_patches": {"train": {"decay": [0.9, 0.1]}}}}},
         "must ascend"),
        ({"chapters": ["fer_digits"], "fer": {"searches": {"digits": {"model": "cnn"}}}},
         "tudy fer cannot train model 'cnn'"),
        ({"chapters": ["fer_digits"],
          "fer": {"searches": {"digits": {"settings": {"balanced": "no"}}}}}, "Expected `bool`"),
        ({"chapters": ["fer_digits"],
          "fer": {"searches": {"digits": {"settings": {"erasing": 2}}}}}, "erasing is 2, not from"),
        ({"chapters": ["gradients_smoke"],
          "gradients": {"gradients_smoke": {"published": {8: {"cdg": "high"}}}}}, "type number"),
        ({"chapters": ["gradients_smoke"],
          "gradients": {"gradients_smoke": {"toy": {"dimensions": [10**6]}}}}, "maximum of 4096"),
        ({"chapters": ["gradients_smoke"], "gradients": {"gradients_smoke": {
            "toy": {"nes": [{"evaluations": 3, "kinds": ["antithetic"]}]}}}}, "an even number"),
        ({"chapters": ["gradients_smoke"],
          "gradients": {"gradients_smoke": {"layers": {"models": {"cnn": [1]}}}}},
         "cannot train model 'cnn'"),
    ],
)  # fmt: skip
def test_what_would_fail_in_a_job_is_one_message(checkout, monkeypatch, capsys, own, says):
    values = copy.deepcopy(VALID)
    _update(values, own)
    said, refused = said_of(checkout, monkeypatch, yaml.safe_dump(values), capsys)
    assert refused, said
    assert said.startswith("perturb: ") and "\n" not in said.rstrip() and says in said, said


def test_a_model_whose_settings_no_row_uses_is_said(checkout, monkeypatch, capsys):
    values = copy.deepcopy(VALID)
    _update(values, {"rts": {"datasets": {"faces": {"models": {"mlp": {"lr": 1}}}}}})
    said, refused = said_of(checkout, monkeypatch, yaml.safe_dump(values), capsys)
    assert not refused and "faces: settings of mlp under its models, which no row" in said


def _update(into, values):
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _update(into[key], value)
        else:
            into[key] = value
