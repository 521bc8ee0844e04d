"""The configuration: what it resolves to, and one clear message for each mistake."""

import pytest

from perturb import studies
from perturb.analysis.plan import Plan
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.machine import may_have_gpu
from perturb.names import parse
from perturb.planning.here import check_here
from perturb.runs import Run


@pytest.fixture
def make(root):
    def make(raw):
        """Return the checked configuration, its chapters too."""
        config = Config(raw, root / "config" / "schema.yaml")
        studies.asked(config)
        return config

    return make


def resolved(config, dataset, model, method, seed):
    return studies.specification(config, Run(dataset, model, method, seed))


def plan_of(config, chapter):
    return Plan.of(studies.chapter(config, chapter).settings["plan"])


def test_a_run_resolves_to_global_settings_then_its_data_sets_own(make, raw_config):
    raw_config["train"]["momentum"] = 0.8
    raw_config["rts"]["datasets"]["digits"]["train"] = {"batch_size": 64, "lr": 0.05}
    run = resolved(make(raw_config), "digits", "cnn", "org_30", 2)
    assert (run.momentum, run.batch_size, run.learning_rate) == (0.8, 64, 0.05)
    assert (run.method, run.seed) == ("sgd_30", 2)
    assert studies.specification_of_json(run.to_json()) == run


def test_a_run_of_any_name_needs_no_edit(make, raw_config):
    run = resolved(make(raw_config), "cifar100", "upanet16", "pugdr_isin_2_0.01_400", 0)
    assert run.weight_decay == 5e-4
    assert run.batch_size == 500


def test_numbers_that_yaml_reads_as_text_are_numbers(make, raw_config):
    assert raw_config["train"]["weight_decay"] == "5e-4", "YAML 1.1 reads it as text"
    raw_config["train"]["lr"] = "5e-4"
    run = resolved(make(raw_config), "digits", "cnn", "sgd_30", 0)
    assert (run.learning_rate, run.weight_decay) == (5e-4, 5e-4)


@pytest.mark.parametrize("lr", [{"lr": 0.2}, {"learning_rate": 0.2}])
@pytest.mark.parametrize("own", [{"lr": 0.3}, {"learning_rate": 0.3}])
def test_lr_is_short_for_learning_rate_wherever_it_stands(make, raw_config, lr, own):
    del raw_config["train"]["learning_rate"]
    raw_config["train"] |= lr
    raw_config["rts"]["datasets"]["digits"]["train"] = own
    assert resolved(make(raw_config), "digits", "cnn", "sgd_30", 0).learning_rate == 0.3


def test_the_margin_of_equivalence_reaches_the_plan_and_must_be_positive(make, raw_config):
    raw_config["equivalence_margin"] = 0.3
    assert plan_of(make(raw_config), "digits").equivalence_margin == 0.3
    del raw_config["equivalence_margin"]
    assert plan_of(make(raw_config), "digits").equivalence_margin == 0.5
    raw_config["equivalence_margin"] = 0
    with pytest.raises(PerturbError, match="config, equivalence_margin"):
        make(raw_config)


def test_a_data_set_of_ones_own_takes_over_another_ones_methods(make, raw_config):
    raw_config["rts"]["datasets"]["mine"] = {"like": "digits", "seeds": [5]}
    config = make(raw_config)
    assert {run.seed for run in studies.chapter(config, "mine").runs} == {5}
    methods = [row.method for row in plan_of(config, "mine").rows]
    assert methods == [row.method for row in plan_of(config, "digits").rows]


def test_the_study_lists_what_the_issue_names(make, raw_config):
    config = make(raw_config)
    for dataset, epochs in (("cifar10", 400), ("cifar100", 400)):
        rows = {row.method: row for row in plan_of(config, dataset).rows}
        rules = {parse(name).rule for name in rows}
        assert rules == {"sgd", "ugd", "pugd", "samx", "sam", "asam", "gsam", "looksam", "aesam"}
        assert f"sgd_{2 * epochs}" in rows
        assert f"pugdr_const_0.5_{epochs}" in rows
        assert {row.section for row in rows.values()} == {
            "Baselines",
            "Radius",
            "Scale",
            "Radius and scale",
            "Timing",
        }


def test_the_main_job_compares_the_same_methods_with_true_and_wrong_labels(make, raw_config):
    clean, noisy = (
        plan_of(make(raw_config), dataset) for dataset in ("digits", "digits_noise-0.4")
    )
    assert {clean.chapter, noisy.chapter} < set(raw_config["chapters"])
    assert [row.method for row in clean.rows] == [row.method for row in noisy.rows]
    assert clean.reference == noisy.reference == noisy.sgd == "sgd_30"
    assert {row.seeds for row in (*clean.rows, *noisy.rows)} == {(0, 1, 2, 3, 4)}


def test_seeds_that_somebody_sets_are_for_every_method(make, raw_config):
    """Before what config/studies says of a chapter, but not before an entry of one's own."""

    def seeds(chapter, **own):
        return {row.seeds for row in plan_of(make({**raw_config, **own}), chapter).rows}

    assert seeds("digits_noise-0.4", seeds=[7]) == seeds("digits", seeds=[7]) == {(7,)}
    assert seeds("digits_noise-0.2", seeds=[0, 1, 2]) == {(0, 1, 2)}
    assert seeds("cifar100") == {(0, 1, 2)}
    raw_config["rts"]["datasets"]["digits"]["seeds"] = [3, 4]
    assert seeds("digits", seeds=[7]) == {(3, 4)}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sedes", [1], "unknown key 'sedes'. Did you mean 'seeds'?"),
        ("seed", [1], "unknown key 'seed'. Did you mean 'seeds'?"),
        ("seeds", 3, "write `seeds: [3]` for that one, `seeds: [0, 1, 2]` for several."),
        ("learning_rat", 0.1, "Write `train: {learning_rate: ...}`: it stands in train."),
        ("learning_rate", 0.1, "Write `train: {learning_rate: ...}`: it stands in train."),
        ("train.seeds", [1], "Write `seeds: ...` at the top level."),
        ("zzzzzz", 1, "unknown key 'zzzzzz'. Choose from: "),
        ("train.momentun", 0.9, "unknown key 'momentun'. Did you mean 'momentum'?"),
        ("train.learning_rate", "fast", "train.learning_rate: 'fast' must be of type number"),
        ("train.protocol", "hold_out", "Did you mean 'holdout'?"),
        ("train.batch_size", 0, "train.batch_size: 0 is less than the minimum of 1"),
        ("train.lr", float("nan"), "config, train.lr: nan does not fit. Give a finite"),
        ("train.learning_rate", "nan", "config, train.learning_rate: nan does not fit."),
        ("train.learning_rate", "1e400", "config, train.learning_rate: inf does not fit."),
        ("train.weight_decay", 1e300, "config, train.weight_decay: 1e+300 does not fit."),
        ("train.eps", float("inf"), "config, train.eps: inf does not fit."),
        ("train.betas", [0.9, float("nan")], "config, train.betas.1: nan does not fit."),
        ("train.threads", 100000, "train.threads: 100000 is greater than the maximum of 1024"),
        ("seeds", [2**63], "config, seeds.0: 9223372036854775808 does not fit."),
        (
            "rts.datasets.digits.train",
            {"threads": 100000},
            "rts.datasets.digits.train.threads: 10",
        ),
        ("rts.datasets.digits.train", {"lr": "nan"}, "rts.datasets.digits.train.lr: nan does not"),
        ("gradients.gradients.toy.windows", [float("inf")], "toy.windows.0: inf does not fit."),
        ("landscape.span", float("-inf"), "config, landscape.span: -inf does not fit."),
        ("chapters", ["digts"], "no chapter 'digts' in the configuration (config/studies)."),
        ("chapters", "digits", "chapters: 'digits' must be of type array"),
        ("chapters", ["digits", "digits"], "chapters"),
        ("datasets", ["digits"], "'datasets' is called 'chapters' now"),
        ("studies", ["gradients_smoke"], "Write `chapters: ['gradients_smoke']`"),
        ("rts.datasets.digits.train", {"learning_rat": 0.1}, "Did you mean 'learning_rate'?"),
        (
            "rts.datasets.digits.methods",
            [{"method": "pugd_30", "section": "Base"}],
            "'Base' is no section of study rts. Did you mean 'Baselines'?",
        ),
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
        resolved(make(raw_config), "cifar10", "upanet16", "vit_pugd_200", 0)


def test_a_variant_takes_its_base_data_sets_entry_and_no_published_number(make, raw_config):
    digits = raw_config["rts"]["datasets"]["digits"]
    digits["methods"][0] |= {"published": 0.9, "note": "of the digits"}
    digits["train"] = {"batch_size": 64}
    config = make({**raw_config, "chapters": ["digits", "digits_noise-0.4_kind-patterned"]})
    base, noisy = (plan_of(config, name) for name in config.asked)
    assert [row.method for row in noisy.rows] == [row.method for row in base.rows]
    assert base.rows[0].published == 0.9 and base.rows[0].note
    assert noisy.rows[0].published is None and noisy.rows[0].note == ""
    run = resolved(config, "digits_noise-0.2", "cnn", "pugd_30", 0)
    assert (run.dataset, run.batch_size) == ("digits_noise-0.2", 64)
    assert studies.chapter(config, "digits_noise-0.2").runs[0].dataset == "digits_noise-0.2"


def test_a_value_that_every_earlier_run_had_is_no_part_of_the_text(make, raw_config):
    plain = resolved(make(raw_config), "digits", "cnn", "pugd_30", 0)
    assert plain.base == "sgd" and "base" not in plain.to_json()
    raw_config["train"] |= {"base": "adamw", "learning_rate": 1e-3}
    other = resolved(make(raw_config), "digits", "cnn", "pugd_30", 0)
    assert '"base": "adamw"' in other.to_json()
    assert studies.specification_of_json(other.to_json()) == other
    record = {"specification": plain.settings(), "scale": "full"}
    del record["specification"]["base"]
    assert plain.differences(record) == []
    assert "base sgd then, adamw now" in other.differences(record)


def test_no_two_studies_share_a_first_word_or_a_chapter(make, raw_config):
    heads = [head for study in studies.every() for head in study.heads]
    assert len(heads) == len(set(heads))
    raw_config["rts"]["datasets"]["gradients_smoke"] = {"like": "digits"}
    with pytest.raises(PerturbError, match="has a chapter 'gradients_smoke', and so has"):
        make(raw_config)


@pytest.mark.parametrize("method", ["sam_1e300_30", "pugdr_const_1e999_30", "pugdr_isin_1e39_1_30"])
def test_a_name_with_a_number_that_no_weight_can_be_moved_by_is_refused(make, raw_config, method):
    with pytest.raises(PerturbError, match=r"does not fit: (at most 3\.4e\+38|it is beyond)"):
        resolved(make(raw_config), "digits", "cnn", method, 0)


def test_the_device_that_is_asked_for_is_not_what_snakemake_compares(make, raw_config):
    texts = set()
    for device in ("auto", "cpu", "cuda"):
        raw_config["train"]["device"] = device
        run = resolved(make(raw_config), "digits", "cnn", "sgd_30", 0)
        texts.add(run.to_json())
        assert studies.specification_of_json(run.to_json(), device) == run
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("run", "train", "message"),
    [
        (("digits", "cnn", "sgd_30"), {"device": "cuda"}, "train.device is 'cuda' for digits/cnn"),
        (
            ("gradients", "sign_units", "toy_dimension-8_pretraining-0"),
            {"device": "cuda"},
            "'cuda'",
        ),
        (("digits", "cnn", "sgd_30"), {"precision": "tf32"}, "in which the CPU does not compute"),
        (("digits", "cnn", "sgd_30"), {"precision": "tf32", "device": "cpu"}, "the CPU does not"),
        (("digits", "cnn", "sgd_30"), {"precision": "bfloat16", "device": "cpu"}, ""),
        (("digits", "cnn", "sgd_30"), {"device": "auto"}, ""),
    ],
)
@pytest.mark.parametrize("hidden", ["", "-1", None])
def test_what_a_machine_lacks_is_refused_without_torch(
    make, raw_config, monkeypatch, run, train, message, hidden
):
    if hidden is None:
        if may_have_gpu():
            pytest.skip("this machine has a GPU")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    raw_config["train"] |= train
    specification = resolved(make(raw_config), *run, 0)
    if not message:
        check_here(specification)
        return
    with pytest.raises(PerturbError, match=message):
        check_here(specification)
