"""What a study of gradients compares, and one message for each mistake."""

import pytest
import yaml

from perturb.config import Config
from perturb.errors import PerturbError
from perturb.gradients.settings import Layers, Stochastic, Toy, study


@pytest.fixture
def values(root, raw_config):
    text = (root / "config/studies/gradients.yaml").read_text(encoding="utf-8")
    return raw_config | yaml.safe_load(text)


@pytest.fixture
def read(root, values):
    return lambda name: study(Config(values, root / "config/schema.yaml").values, name)


def test_the_full_scale_is_the_issues(read):
    found = read("gradients")
    assert found.dimensions == (8, 16, 32, 64) and found.seeds == (0, 1, 2)
    assert len(found.toys) == 8 and {toy.pretraining for toy in found.toys} == {0, 2000}
    toy = found.toys[0]
    assert toy.batches == 10 and toy.windows == (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    assert [nes.evaluations for nes in toy.nes] == [500, 5000]
    assert found.layers.models["xnor_resnet18_8"] == (1, 8, 15)
    assert read("gradients_50k").toys[0].nes[-1].evaluations == 50000
    assert read("gradients_50k").toys[0].windows == toy.windows


def test_a_smoke_study_takes_what_it_leaves_out_from_the_full_one(read):
    found = read("gradients_smoke")
    assert found.scale == "smoke" and found.title == read("gradients").title
    assert found.published == read("gradients").published
    assert found.layers.dataset == "digits"


def test_settings_read_back(read):
    found = read("gradients")
    assert Toy.from_json(found.toys[3].to_json()) == found.toys[3]
    assert Layers.from_json(found.layers.to_json()) == found.layers
    assert Stochastic.from_json(found.stochastic.to_json()) == found.stochastic


def test_a_toy_of_any_name_needs_no_edit(read):
    toy = read("gradients").toy("toy_dimension-12_pretraining-7")
    assert (toy.dimension, toy.pretraining, toy.batches) == (12, 7, 10)
    assert toy.slug == "toy_dimension-12_pretraining-7"


@pytest.mark.parametrize(
    "slug", ["toy_dimension-0_pretraining-1", "toy_dimension-8.5_pretraining-0", "toy_dim-8"]
)
def test_a_toy_that_cannot_be_is_refused(read, slug):
    with pytest.raises(PerturbError, match=slug):
        read("gradients").toy(slug)


@pytest.mark.parametrize(
    ("name", "part", "key", "value", "message"),
    [
        ("gradients_smoke", None, "like", "gradiens", "Did you mean 'gradients'"),
        ("gradients", "toy", "windws", [1], "unknown key 'windws'. Did you mean 'windows'?"),
        ("gradients", "toy", "straight_through", ["clipp"], "'clipp' is not a choice"),
        ("gradients", "toy", "windows", [0], "0 is less than or equal to the minimum"),
        ("gradients", "layers", "models", {"xnor_resnet18_8": [5]}, "'5' is not a choice"),
    ],
)
def test_a_mistake_gets_one_message(read, values, name, part, key, value, message):
    place = values["gradients"][name]
    (place[part] if part else place)[key] = value
    with pytest.raises(PerturbError) as error:
        read(name)
    assert message in str(error.value)


def test_an_unknown_study_gets_the_closest_name(read):
    with pytest.raises(PerturbError, match="Did you mean 'gradients_smoke'"):
        read("gradients_smok")
