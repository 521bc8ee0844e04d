"""What a chapter compares, and one message for each mistake."""

import json

import msgspec
import pytest
import yaml

from perturb.config import Config
from perturb.errors import PerturbError
from perturb.runs import Run
from perturb.studies.gradients import STUDY
from perturb.studies.gradients.settings import Layers, entry


@pytest.fixture
def values(root, raw_config):
    text = (root / "config/studies/gradients.yaml").read_text(encoding="utf-8")
    return raw_config | yaml.safe_load(text)


@pytest.fixture
def read(root, values):
    return lambda name: entry(Config(values, root / "config/schema.yaml"), name)


def toy(config, method, chapter="gradients", model="sign_units", seed=0):
    return STUDY.resolve(config, Run(chapter, model, method, seed))


def test_the_full_scale_is_the_issues(read, config):
    found = read("gradients")
    assert found.dimensions == (8, 16, 32, 64) and found.seeds == (0, 1, 2)
    assert len(found.toys) == 24
    assert found.layers.models["xnor_resnet18_8"] == (1, 8, 15)
    full = toy(config, "toy_dimension-8_pretraining-0")
    assert full.batches == 10 and full.windows == (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    assert [nes.evaluations for nes in full.nes] == [500, 5000]
    more = toy(config, "toy_dimension-8_pretraining-0", "gradients_50k")
    assert more.nes[-1].evaluations == 50000 and more.windows == full.windows


def test_a_smoke_chapter_takes_what_it_leaves_out_from_the_full_one(read):
    found = read("gradients_smoke")
    assert found.scale == "smoke" and found.title == read("gradients").title
    assert found.published == read("gradients").published
    assert found.layers.dataset == "digits"


def test_settings_read_back(read, config):
    full = toy(config, "toy_dimension-32_pretraining-2000", seed=2)
    assert STUDY.specification.from_json(full.to_json()) == full
    layers = read("gradients").layers
    assert Layers.of(json.loads(json.dumps(layers.values()))) == layers


def test_a_chapter_asks_for_its_toys_and_for_the_networks_whose_layers_it_measures(config, chapter):
    toys = [run for run in chapter.runs if run.dataset == "gradients_smoke"]
    assert len(set(toys)) == len(toys) == 8
    assert all(STUDY.resolve(config, run).run == run for run in toys)
    trained = [str(run) for run in chapter.runs if run not in toys]
    assert trained == [
        "digits/xnor_resnet18_8/sgd_3/seed0",
        "digits/real_xnor_resnet18_8/sgd_3/seed0",
    ]
    assert chapter.asked and chapter.scale == "smoke"
    stems = [chapter.stem(part) for part in chapter.tables]
    smoke = "gradients_smoke"
    assert stems == [smoke, f"{smoke}_claims", f"{smoke}_stochastic", f"{smoke}_layers"]
    assert all(part.title and part.caption.startswith("Smoke run") for part in chapter.figures)


def test_a_chapter_without_layers_has_neither_their_table_nor_their_figure(root, values):
    del values["gradients"]["gradients"]["layers"]
    del values["gradients"]["gradients_smoke"]["layers"]
    config = Config(values, root / "config/schema.yaml")
    for chapter in STUDY.chapters(config):
        assert "layers" not in [part.name for part in chapter.parts]
        assert {run.dataset for run in chapter.runs} == {chapter.name}


def test_a_toy_of_any_name_needs_no_edit(config):
    found = toy(config, "toy_dimension-12_pretraining-7", seed=5)
    assert (found.dimension, found.pretraining, found.batches, found.seed) == (12, 7, 10, 5)
    assert found.method == "toy_dimension-12_pretraining-7"
    assert toy(config, "toy_dimension-1.2e1_pretraining-07").method == found.method


@pytest.mark.parametrize(
    "method",
    [
        "toy_dimension-0_pretraining-1",
        "toy_dimension-8.5_pretraining-0",
        "toy_dimension-8_pretraining--1",
        "toy_dim-8_pretraining-0",
        "toy_dimension-8",
        "toy_dimension-8_pretraining-0_30",
    ],
)
def test_a_toy_that_cannot_be_is_refused(config, method):
    with pytest.raises(PerturbError, match=method):
        toy(config, method)


def test_a_toy_of_another_model_or_chapter_is_refused(config):
    with pytest.raises(PerturbError, match=r"Ask for \.\.\./gradients/sign_units/toy_"):
        toy(config, "toy_dimension-8_pretraining-0", model="cnn")
    with pytest.raises(PerturbError, match="Did you mean 'gradients_smoke'"):
        toy(config, "toy_dimension-8_pretraining-0", "gradients_smok")


@pytest.mark.parametrize(
    ("name", "part", "key", "value", "message"),
    [
        ("gradients_smoke", None, "like", "gradiens", "Did you mean 'gradients'"),
        ("gradients", "toy", "windws", [1], "unknown key 'windws'. Did you mean 'windows'?"),
        ("gradients", "toy", "straight_through", ["clipp"], "'clipp' is not a choice"),
        ("gradients", "toy", "windows", [0], "0 is less than or equal to the minimum"),
        ("gradients", "layers", "models", {"xnor_resnet18_8": [5]}, "5 is not a choice"),
    ],
)
def test_a_mistake_gets_one_message(read, values, name, part, key, value, message):
    place = values["gradients"][name]
    (place[part] if part else place)[key] = value
    with pytest.raises(PerturbError) as error:
        read(name)
    assert message in str(error.value)


def test_the_cost_grows_with_what_a_toy_does(config):
    base = toy(config, "toy_dimension-16_pretraining-10")
    changed = {
        "dimension": 32,
        "pretraining": 20,
        "batches": 20,
        "samples": 3000,
        "held_out_samples": 16000,
        "pooled_samples": 320000,
        "windows": (*base.windows, 0.0001),
        "learning_rates": 16,
        "nes": base.nes[:1] + base.nes,
        "straight_through": base.straight_through * 2,
        "pretraining_samples": 32000,
    }
    for name, value in changed.items():
        more = msgspec.structs.replace(base, **{name: value})
        assert STUDY.cost(more).count > STUDY.cost(base).count, name
