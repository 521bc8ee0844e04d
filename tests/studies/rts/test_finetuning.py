"""Fine-tuning chapters: what a model's name means, where its weights come from, its settings."""

import copy
from pathlib import Path

import pytest
import yaml

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.models import described
from perturb.models.described import Source
from perturb.names import parse
from perturb.runs import Run
from perturb.workflow import Workflow

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "config" / "schema.yaml"


@pytest.fixture(scope="module")
def raw():
    files = (ROOT / "config" / "studies" / "rts.yaml", ROOT / "config" / "config.yaml")
    study, rest = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    return study | rest | {"chapters": ["digits"]}


def changed(raw, models=(), **datasets):
    values = copy.deepcopy(raw)
    values["models"] |= dict(models)
    for name, entry in datasets.items():
        values["rts"]["datasets"].setdefault(name, {}).update(entry)
    return Config(values, SCHEMA)


def settings(config, dataset, model, method, seed=0):
    return studies.specification(config, Run(dataset, model, method, seed))


def test_runs_find_their_settings_by_data_set_and_model(raw):
    config = changed(raw)
    vit = settings(config, "cifar10", "vit", "vit_pugdr_icos2.0_0.01_200")
    assert (vit.learning_rate, vit.batch_size, vit.weight_decay) == (0.001, 500, 5e-4)
    assert (vit.network, vit.weights, vit.architecture) == ("", "", "vit")
    resnet = settings(config, "cifar100", "resnet18_imagenet", "resnet18_pugd_200")
    assert (resnet.learning_rate, resnet.checkpoint_every) == (0.01, 50)
    assert settings(config, "cifar10", "deit", "deit_pugd_200").learning_rate == 0.0005
    # Those that were there before are trained as before.
    assert settings(config, "cifar10", "upanet16", "pugd_400").learning_rate == 0.1
    assert settings(config, "cifar10", "resnet18", "pugd_400").learning_rate == 0.1
    probe = settings(config, "digits_noise-0.4", "cnn-probe", "cnn-probe_pugd_30")
    assert (probe.freeze, probe.network, probe.batch_size) == ("backbone", "cnn", 100)
    assert probe.weights == "run digits/cnn/sgd_30"
    plain = settings(config, "digits_noise-0.4", "cnn", "pugd_30")
    assert (plain.freeze, plain.weights) == (0, "")


def test_the_chapters_have_true_schedules_beside_the_constants_that_were_run(raw):
    config = changed(raw)
    for name, counts in (("finetune_cifar10", 8), ("finetune_cifar100", 3)):
        chapter = studies.chapter(config, name)
        assert {run.dataset for run in chapter.runs} == {name.removeprefix("finetune_")}
        assert {run.model for run in chapter.runs} == {"resnet18_imagenet", "vit", "deit"}
        rows = chapter.settings["plan"]["rows"]
        assert sum(row["published"] is not None for row in rows) == counts
        shapes = {(row["model"], parse(row["method"]).radius) for row in rows}
        for model in ("resnet18_imagenet", "vit", "deit"):
            found = {radius.shape for of, radius in shapes if of == model and radius}
            assert found == {"cos", "sin", "icos", "isin", "const"}
        for row in rows:
            radius = parse(row["method"]).radius
            if radius and radius.shape != "const":
                constant = f"const {radius.value(0, 200):g}"
                assert f"the notebook ran {constant} under this name" in row["note"]


def test_the_notebooks_resnet18_is_the_one_with_the_imagenet_stem(raw):
    config = changed(raw)
    with pytest.raises(PerturbError, match="names the model resnet18_imagenet, its folder"):
        settings(config, "cifar10", "resnet18", "resnet18_pugd_200")


def test_weights_of_a_run_are_inputs_of_the_workflow(raw, tmp_path):
    ask = Workflow(changed(raw), tmp_path, ROOT)
    assert ask.source("cnn-tuned", 3) == [
        f"{tmp_path}/runs/digits/cnn/sgd_30/seed3/{name}"
        for name in ("record.json", "last.safetensors")
    ]
    assert "fashion_mnist/cnn/sgd_2/seed0/record.json" in ask.source("cnn-fashion", 3)[0]
    assert ask.source("cnn", 3) == ask.source("vit", 3) == []


def test_a_file_counts_by_its_content(raw, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"one")
    models = {"vit-own": {"network": "vit", "weights": {"file": str(file)}}}
    ask = Workflow(changed(raw, models), tmp_path / "results", ROOT)
    first = ask.network("vit-own")
    assert str(file) not in first and ask.path_of_weights("vit-own") == str(file)
    file.write_bytes(b"another")
    assert ask.network("vit-own") != first
    assert described.Described.from_json(first).network == "vit"


def test_a_librarys_model_is_asked_for_by_one_name(raw, tmp_path):
    entry = {"model": "timm:resnet26", "reference": "pugd_2", "methods": [{"method": "pugd_2"}]}
    config = changed(raw, cifar10_small=entry | {"dataset": "cifar10"})
    (run,) = {run.model for run in studies.chapter(config, "cifar10_small").runs}
    assert run == "timm-resnet26"
    ask = Workflow(config, tmp_path, ROOT)
    assert ask.model("timm-resnet26") == "timm-resnet26"
    with pytest.raises(PerturbError, match="'timm:resnet26' is called 'timm-resnet26'"):
        ask.model("timm:resnet26")


def test_timms_recipe_for_a_vit_in_the_configuration(raw):
    models = {
        "vit-tiny": {
            "network": "timm:vit_tiny_patch16_224",
            "options": {"patch_size": 8, "drop_path_rate": 0.1},
            "weights": "published",
        }
    }
    recipe = {
        "base": "adamw", "learning_rate": 0.001, "weight_decay": 0.05, "warmup_epochs": 5,
        "warmup_learning_rate": 1e-6, "minimum_learning_rate": 1e-6, "label_smoothing": 0.1,
        "layer_decay": 0.75, "decay_biases": False,
    }  # fmt: skip
    entry = {"dataset": "cifar10", "model": "vit-tiny", "reference": "sgd_50"}
    entry |= {"train": recipe, "methods": [{"method": "sgd_50"}]}
    found = settings(changed(raw, models, cifar10_vit=entry), "cifar10", "vit-tiny", "sgd_50")
    assert {name: getattr(found, name) for name in recipe} == recipe
    assert dict(found.network_options) == {"patch_size": 8, "drop_path_rate": 0.1}
    assert (found.network, found.weights) == ("timm-vit_tiny_patch16_224", "published")
    assert type(found).from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"cnn-x": {"network": "cnnn"}}, r"models\.cnn-x: Unknown model 'cnnn'.*'cnn'"),
        ({"cnn_x": {"network": "cnn"}}, r"models\.cnn_x: a described model is called by"),
        ({"timm-x": {"network": "cnn"}}, r"models\.timm-x: a described model is called by"),
        ({"cnn": {"options": {"width": 3}}}, "takes no options, but width"),
        ({"vit": {"options": {"patch_size": 4}}}, "means that network as it is"),
        ({"cnn-x": {"network": "cnn", "weights": "published"}}, "nobody published weights"),
        ({"cnn-x": {"network": "cnn", "weights": {"run": "digits"}}}, "run 'digits' is no run"),
    ],
)  # fmt: skip
def test_descriptions_that_cannot_be(raw, models, message):
    with pytest.raises(PerturbError, match=message):  # the name itself by the configuration
        described.get(changed(raw, models).models, next(iter(models)))


def test_a_model_that_is_nowhere_described(raw):
    with pytest.raises(PerturbError, match=r"'cnn-tuend': it is not described.*'cnn-tuned'"):
        settings(changed(raw), "digits", "cnn-tuend", "pugd_30")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("digits/cnn-x/sgd_30", "name another model's run there"),
        ("digits/cnn/org_30", "name 'sgd_30' there"),
        ("digits/cnnn/sgd_30", "Unknown model 'cnnn'"),
    ],
)
def test_runs_that_a_model_cannot_start_from(raw, tmp_path, run, message):
    models = {"cnn-x": {"network": "cnn", "weights": {"run": run}}}
    with pytest.raises(PerturbError, match=message):
        Workflow(changed(raw, models), tmp_path, ROOT).source("cnn-x", 0)


def test_two_chapters_cannot_train_one_model_on_one_data_set(raw):
    entry = {"dataset": "digits", "model": "cnn", "reference": "pugd_2"}
    config = changed(raw, again=entry | {"methods": [{"method": "pugd_2"}]})
    with pytest.raises(
        PerturbError, match=r"'digits' and 'again' both train the model cnn on digits"
    ):
        studies.chapters(config)


def test_a_chapter_with_a_name_of_its_own_has_no_variants(raw):
    with pytest.raises(PerturbError, match=r"no chapter 'finetune_digits_noise-0\.2'"):
        studies.chapter(changed(raw), "finetune_digits_noise-0.2")


def test_a_warm_up_as_long_as_the_run_is_refused(raw):
    config = changed(raw, digits={"train": {"warmup_epochs": 30}})
    with pytest.raises(PerturbError, match="warmup_epochs is 30, and the run has 30 epochs"):
        settings(config, "digits", "cnn", "pugd_30")


def test_sources_say_which_run():
    assert Source("run", "digits/cnn/sgd_2").run(4) == "digits/cnn/sgd_2/seed4"
    assert Source("run", "digits/cnn/sgd_2/seed0").run(4) == "digits/cnn/sgd_2/seed0"
    assert str(Source("published", "fb_in1k")) == "published fb_in1k" and str(Source()) == "random"
