"""Which files an artefact holds: nothing forgotten, nothing of others, what is left out listed."""

import hashlib
import re

import pytest

from perturb.artefact import contents
from perturb.artefact.settings import ArtefactSettings
from perturb.config import Config
from perturb.errors import PerturbError

CLONE = "runs/digits/mlp/clone_start-true_trace-20_3_of_repel_8/seed0"
PARENT = "runs/digits/mlp/repel_8/seed0/last.safetensors"
OTHER = "runs/digits/cnn/pugd_30/seed0/last.safetensors"
NAMES = (
    "artefact.zip",
    "audit/mine.html",
    "data/.digits.npz.12.tmp",
    "data/digits.manifest.json",
    "data/digits.npz",
    "figures/audit_mine/claims.png",
    "figures/digits/accuracy.png",
    "init/digits/cnn/seed0.safetensors",
    "landscapes/digits/cnn/directions/seed0.safetensors",
    "logs/report.log",
    "minima/digits/paths/0/paths.csv",
    "report.html",
    f"{CLONE}/record.json",
    PARENT,
    OTHER,
    "runs/digits/cnn/pugd_30/seed0/timing.csv",
    "smoke/report.html",
    "smoke/runs/digits/cnn/pugd_30/seed0/record.json",
    "tables/digits.csv",
)
ALWAYS = {
    "data/digits.manifest.json",
    "figures/digits/accuracy.png",
    "init/digits/cnn/seed0.safetensors",
    "minima/digits/paths/0/paths.csv",
    "report.html",
    f"{CLONE}/record.json",
    PARENT,
    "tables/digits.csv",
}


@pytest.fixture
def results(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def choose(results, raw_config, root):
    config = Config(raw_config, root / "config" / "schema.yaml")
    return lambda **settings: contents.of_results(results, config, ArtefactSettings(**settings))


def test_a_parents_weights_go_in_and_those_left_out_are_listed_with_their_hash(choose):
    chosen = choose()
    assert set(chosen.files) == ALWAYS | {"data/digits.npz"}
    directions = "landscapes/digits/cnn/directions/seed0.safetensors"
    assert chosen.left_out == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in (directions, OTHER)
    }


def test_weights_that_are_asked_for_go_in_and_images_can_stay_behind(choose):
    chosen = choose(checkpoints=("digits/cnn/*/seed0/last.safetensors",), data=False)
    assert set(chosen.files) == ALWAYS | {OTHER}
    assert "data/digits.npz" in chosen.left_out and OTHER not in chosen.left_out


def test_a_pattern_that_no_weights_match_is_refused(choose):
    with pytest.raises(PerturbError, match=r"no weights are called 'cifar10/\*'"):
        choose(checkpoints=("cifar10/*",))


def test_what_any_rule_writes_is_packed_or_is_named_as_not(root):
    written = {
        name
        for file in (root / "workflow" / "rules").rglob("*.smk")
        for name in re.findall(r"<results>/([\w.]+)", file.read_text(encoding="utf-8"))
    }
    assert len(written) > 12
    assert written - contents.RESULTS - contents.NOT_PACKED == set()


def test_a_configuration_file_outside_the_checkout_is_refused(root, tmp_path):
    (tmp_path / "mine.yaml").write_text("{}")
    with pytest.raises(PerturbError, match=r"mine\.yaml, outside"):
        contents.of_project(root, [str(tmp_path / "mine.yaml")])


def test_the_checkouts_own_files_are_those_that_set_it_up_and_run_it(root):
    names = set(contents.of_project(root, []))
    assert {"Makefile", "Snakefile", "envs/install.sh", "src/perturb/report/style.css.j2"} <= names
    assert not [name for name in names if "__pycache__" in name or ".egg-info" in name]
    assert not [name for name in names if name.startswith(("tests/", "results/", ".git", "site/"))]


@pytest.mark.parametrize(("given", "said"), [("soon", "'soon' is no day"), ("", "no commit")])
def test_without_a_day_of_publication_nothing_is_packed(tmp_path, given, said):
    with pytest.raises(PerturbError, match=said):
        ArtefactSettings(published=given).date(tmp_path)
    assert ArtefactSettings(published="2026-01-31").date(tmp_path) == "2026-01-31"
