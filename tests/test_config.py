"""The configuration: what it resolves to, and one clear message for each mistake."""

import pytest

from perturb.config import Config, RunSpecification
from perturb.errors import PerturbError
from perturb.names import parse


@pytest.fixture
def make(root):
    return lambda raw: Config(raw, root / "config" / "schema.yaml")


def test_a_run_resolves_to_global_settings_then_its_data_sets_own(make, raw_config):
    raw_config["train"]["momentum"] = 0.8
    raw_config["rts"]["datasets"]["digits"]["train"] = {"batch_size": 64, "lr": 0.05}
    run = make(raw_config).run("digits", "cnn", "org_30", 2)
    assert (run.momentum, run.batch_size, run.learning_rate) == (0.8, 64, 0.05)
    assert (run.method, run.seed) == ("sgd_30", 2)
    assert RunSpecification.from_json(run.to_json()) == run


def test_a_run_of_any_name_needs_no_edit(make, raw_config):
    run = make(raw_config).run("cifar100", "upanet16", "pugdr_isin_2_0.01_400", 0)
    assert run.weight_decay == 5e-4
    assert run.batch_size == 500


def test_numbers_that_yaml_reads_as_text_are_numbers(make, raw_config):
    assert raw_config["train"]["weight_decay"] == "5e-4", "YAML 1.1 reads it as text"
    raw_config["train"]["lr"] = "5e-4"
    run = make(raw_config).run("digits", "cnn", "sgd_30", 0)
    assert (run.learning_rate, run.weight_decay) == (5e-4, 5e-4)


@pytest.mark.parametrize("lr", [{"lr": 0.2}, {"learning_rate": 0.2}])
@pytest.mark.parametrize("own", [{"lr": 0.3}, {"learning_rate": 0.3}])
def test_lr_is_short_for_learning_rate_wherever_it_stands(make, raw_config, lr, own):
    del raw_config["train"]["learning_rate"]
    raw_config["train"] |= lr
    raw_config["rts"]["datasets"]["digits"]["train"] = own
    assert make(raw_config).run("digits", "cnn", "sgd_30", 0).learning_rate == 0.3


def test_the_margin_of_equivalence_reaches_the_plan_and_must_be_positive(make, raw_config):
    raw_config["equivalence_margin"] = 0.3
    assert make(raw_config).plan("rts", "digits")["equivalence_margin"] == 0.3
    del raw_config["equivalence_margin"]
    assert make(raw_config).plan("rts", "digits")["equivalence_margin"] == 0.5
    raw_config["equivalence_margin"] = 0
    with pytest.raises(PerturbError, match="config, equivalence_margin"):
        make(raw_config)


def test_a_data_set_of_ones_own_takes_over_another_ones_methods(make, raw_config):
    raw_config["rts"]["datasets"]["mine"] = {"like": "digits", "seeds": [5]}
    config = make(raw_config)
    assert {run[3] for run in config.runs("rts", "mine")} == {5}
    methods = [row["method"] for row in config.plan("rts", "mine")["rows"]]
    assert methods == [row["method"] for row in config.plan("rts", "digits")["rows"]]


def test_the_study_lists_what_the_issue_names(make, raw_config):
    config = make(raw_config)
    for dataset, epochs in (("cifar10", 400), ("cifar100", 400), ("digits", 30)):
        rows = {row["method"]: row for row in config.plan("rts", dataset)["rows"]}
        rules = {parse(name).rule for name in rows}
        assert rules == {"sgd", "ugd", "pugd", "samx", "sam", "asam", "gsam", "looksam", "aesam"}
        assert f"sgd_{2 * epochs}" in rows
        assert f"pugdr_const_0.5_{epochs}" in rows
        assert {row["section"] for row in rows.values()} == {
            "Baselines",
            "Radius",
            "Scale",
            "Radius and scale",
            "Timing",
        }


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sedes", [1], "unknown key 'sedes'. Did you mean 'seeds'?"),
        ("train.momentun", 0.9, "unknown key 'momentun'. Did you mean 'momentum'?"),
        ("train.learning_rate", "fast", "train.learning_rate: 'fast' must be of type number"),
        ("train.protocol", "hold_out", "Did you mean 'holdout'?"),
        ("train.batch_size", 0, "train.batch_size: 0 is less than the minimum of 1"),
        ("datasets", ["digts"], "data set 'digts' is not in study rts"),
        ("datasets", "digits", "datasets: 'digits' must be of type array"),
        ("rts.datasets.digits.reference", "pugd_31", "Did you mean 'pugd_30'?"),
        ("rts.datasets.mine", {"like": "digitz"}, "Did you mean 'digits'?"),
        ("landscape.points", 50, "50 does not fit. Points a side of a plane; odd"),
        ("landscape.images", "ful", "'ful' does not fit. Images of the train split"),
        ("rts.datasets.digits.landscape", {"methods": ["pugd_31"]}, "Did you mean 'pugd_30'?"),
        ("rts.datasets.mine", {"model": "cnn"}, "missing key 'methods'"),
        (
            "rts.datasets.digits.methods",
            [{"method": "pugdr_isn_2_0.01_30"}],
            "Closest valid name: 'pugdr_isin_2_0.01_30'",
        ),
        (
            "rts.datasets.digits.methods",
            [
                {"method": "pugd_30"},
                {"method": "pugdr_isin_2_1_30"},
                {"method": "pugdr_isin2_1_30"},
            ],
            "listed twice: pugdr_isin_2_1_30",
        ),
    ],
)
def test_a_mistake_gets_one_message_that_says_where(make, raw_config, path, value, message):
    *parents, key = path.split(".")
    place = raw_config
    for parent in parents:
        place = place[parent]
    place[key] = value
    with pytest.raises(PerturbError) as error:
        make(raw_config)
    assert message in str(error.value)


def test_a_method_that_names_another_model_is_refused(make, raw_config):
    with pytest.raises(PerturbError, match="names the model vit"):
        make(raw_config).run("cifar10", "upanet16", "vit_pugd_200", 0)
