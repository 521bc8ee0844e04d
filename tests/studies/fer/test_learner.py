"""What a run of fer trains: names, settings, exact resume with each option, the decay."""

import csv

import pytest

from perturb import models, studies
from perturb.config import Config
from perturb.data import prepare
from perturb.errors import PerturbError
from perturb.files import read_json
from perturb.models import expression
from perturb.models.weights import save_weights
from perturb.runs import Run, RunFiles, read_record
from perturb.studies.fer import STUDY, settings
from perturb.studies.fer.settings import FerSpecification
from perturb.train.run import Pause, run
from perturb.train.settings import Limit


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    files = {"images": folder / "digits.npz", "manifest": folder / "digits.manifest.json"}
    prepare("digits", "", npz=files["images"], manifest=files["manifest"])
    files["initial"] = folder / "seed0.safetensors"
    save_weights(files["initial"], models.initial_weights("small_vit", 10, 8, 1, 0))
    return files


def specified(method, **changes):
    slug = settings.parse(method)
    values = {"dataset": "digits", "model": "small_vit", "seed": 0, "protocol": "holdout"}
    values |= {"method": settings.format(slug), "batch_size": 32, "erasing": 0.0}
    values |= {"balanced": False, "limit": Limit(128, 64)}
    return FerSpecification(**(values | settings.set_by_name(slug) | changes))


def trained(specification, inputs, folder, pauses=()):
    files = RunFiles(folder / "run", *inputs.values(), state=folder / "state")
    for epochs in pauses:
        pause = Pause(epochs, folder / f"epoch{epochs}.json")
        run(specification, files, pause=pause)
        assert not files.record.exists()
    run(specification, files)
    kept = [path for path in (folder / "run").rglob("*") if path.is_file()]
    return {path.name: path.read_bytes() for path in kept if path.name != "timing.csv"}


OPTIONS = {
    "adamw_lr-1e-3_depth-1_4": {},
    "adam_lr-1e-3_depth-1_4": {},
    "adamw_lr-1e-3_depth-1_mixup-0.4_4": {},
    "adamw_lr-1e-3_depth-1_block-cls_dropout-0.3_droppath-0.2_4": {},
    "adamw_lr-1e-3_depth-1_gamma-0.9_4": {"balanced": True, "erasing": 0.7},
}


def test_the_models_that_a_run_may_name_are_those_that_can_be_built():
    """Planning has them without PyTorch, which the networks need."""
    assert settings.MODELS == expression.STEMS


@pytest.mark.parametrize("method", OPTIONS)
def test_a_paused_run_goes_on_to_the_same_bits(method, inputs, tmp_path):
    specification = specified(method, **OPTIONS[method])
    whole = trained(specification, inputs, tmp_path / "whole")
    paused = trained(specification, inputs, tmp_path / "paused", pauses=(1, 3))
    assert paused == whole
    rows = list(csv.DictReader((tmp_path / "whole/run/epochs.csv").open()))
    for epochs in (1, 3):
        rung = read_json(tmp_path / "paused" / f"epoch{epochs}.json")
        assert rung["status"] == "paused" and rung["epochs"] == epochs
        accuracy = float(rows[epochs - 1]["validation_accuracy"])
        assert rung["row"]["validation_accuracy"] == accuracy
    assert not (tmp_path / "paused" / "state").exists()
    # A run that is finished tells how good it was by then, and trains nothing.
    files = RunFiles(tmp_path / "whole/run", *inputs.values(), state=tmp_path / "whole/state")
    before = files.record.read_bytes()
    run(specification, files, pause=Pause(3, tmp_path / "late.json"))
    late = read_json(tmp_path / "late.json")
    assert late["row"]["validation_accuracy"] == float(rows[2]["validation_accuracy"])
    assert files.record.read_bytes() == before


def test_each_option_changes_what_is_trained(inputs, tmp_path):
    hashes = set()
    for number, (method, changes) in enumerate(OPTIONS.items()):
        trained(specified(method, **changes), inputs, tmp_path / str(number))
        record = read_record(tmp_path / str(number) / "run/record.json")
        hashes.add(record["sha256"]["final_weights"])
    assert len(hashes) == len(OPTIONS)


def test_the_learning_rate_decays_exponentially(inputs, tmp_path):
    trained(specified("adamw_lr-2e-3_depth-1_gamma-0.9_4"), inputs, tmp_path)
    rows = list(csv.DictReader((tmp_path / "run/epochs.csv").open()))
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == pytest.approx([2e-3 * 0.9**epoch for epoch in range(4)], rel=1e-12)
    # float: so 10 epochs of a run of 60 are those of any other number of epochs


def test_a_diverging_run_says_so_in_its_pause(inputs, tmp_path):
    specification = specified("adamw_lr-1e30_depth-1_4")
    files = RunFiles(tmp_path / "run", *inputs.values(), state=tmp_path / "state")
    run(specification, files, pause=Pause(2, tmp_path / "rung.json"))
    rung = read_json(tmp_path / "rung.json")
    assert rung["status"] == "diverged" and rung["row"] is None and rung["diverged_at_step"] >= 1


def test_a_batch_larger_than_the_data_is_one_message(inputs, tmp_path):
    files = RunFiles(tmp_path / "run", *inputs.values(), state=tmp_path / "state")
    with pytest.raises(PerturbError, match=r"batches of 500 images, but train has 128"):
        run(specified("adamw_lr-1e-3_4", batch_size=500), files)


@pytest.mark.parametrize(
    "name",
    [
        "adamw_lr-2e-4_depth-8_60",
        "adam_lr-1e-3_5",
        "adamw_lr-1e-3_block-cls.coded_eps-1e-6_beta1-0.7_decay-0_gamma-0.955_mixup-0.2_100",
    ],
)
def test_names_print_back(name):
    assert STUDY.format(STUDY.parse(name)) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("adamw_5", "lr is missing"),
        ("adamw_lr-1e-3_depth-9_5", "depth is 9; give 1 to 8"),
        ("adamw_lr-1e-3_block-clss_5", "no block 'clss'. Did you mean 'cls'"),
        ("adamw_lr-inf_5", "lr is a finite number"),
        ("adamw_lr-1e-3_dropout-1_5", "dropout is 1.0"),
        ("adamw_lr-1e-3_gamma-0_5", "gamma is 0"),
    ],
)
def test_a_name_that_cannot_be_trained_is_refused(name, says):
    with pytest.raises(PerturbError, match=says):
        STUDY.parse(name)


def test_beta_1_is_refused_when_it_is_resolved(raw_config, root):
    config = Config(raw_config, root / "config" / "schema.yaml")
    run = Run("digits", "small_vit", "adamw_lr-1e-3_beta2-1_5", 0)
    with pytest.raises(PerturbError, match=r"betas is \(0.9, 1.0\); it must be 2 numbers"):
        studies.specification(config, run)
    found = studies.specification(config, Run("digits", "small_vit", "adam_lr-1e-3_5", 0))
    assert found.protocol == "holdout" and found.base == "adam" and found.batch_size == 128
