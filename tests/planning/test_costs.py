"""What runs cost: gradient evaluations, bytes, time, spread; and what targets are made of."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from perturb import names, optim
from perturb.config import Config
from perturb.data import DATASETS
from perturb.data.dataset import Shape
from perturb.errors import PerturbError
from perturb.planning import targets
from perturb.planning.calibration import Calibration
from perturb.planning.costs import from_calibration, from_runs, watts, work_of
from perturb.planning.evaluations import evaluations
from perturb.planning.precision import Design
from perturb.planning.recorded import FinishedRun, spread
from perturb.planning.settings import Settings, byte_size, duration, seconds
from perturb.planning.sizes import shape_of, size_of
from perturb.runs import Run
from perturb.studies.rts.settings import RtsSpecification
from perturb.study import Measure
from perturb.train.settings import Limit

ACCURACY = Measure()
METHODS = [f"{rule}_4" for rule in sorted(names.rules())] + [
    "samx0.5_4",
    "looksam_0.05k3_7",
    "pugdr_isin_2_0.01_4",
    "pugdrs_isin2_0.01_isin2_0.1_4",
    "pugdt_1_4",
    "samt_0.05_3_4",
    "looksamt_0.05_2_5",
    "pugdt_delta_4xi1mu3_t1",
    "pugdt_accdrop_4",
]


@pytest.mark.parametrize("name", METHODS)
def test_gradient_evaluations_are_what_the_optimiser_counts(name):
    """Every update rule there is, a new one too, is driven through its epochs."""
    weights = torch.nn.Parameter(torch.randn(5, generator=torch.Generator().manual_seed(0)))
    optimizer = optim.build(name, [weights], lr=0.01)
    steps = 7
    method = names.parse(name)

    def closure():
        optimizer.zero_grad()
        loss = (weights**4).sum()
        loss.backward()
        return loss

    for epoch in range(method.epochs):
        optimizer.set_epoch(epoch)
        for _ in range(steps):
            optimizer.step(closure)
        accuracy = 0.5 - 0.1 * epoch  # falls, so that accdrop switches
        optimizer.end_epoch(train_loss=1.0, validation_loss=1.0, validation_accuracy=accuracy)
    predicted = evaluations(method, steps)
    if predicted.exact:
        assert predicted.count == optimizer.gradient_evaluations
    else:
        assert steps * method.epochs <= optimizer.gradient_evaluations <= predicted.count


def test_a_rule_says_how_often_it_computes_a_second_gradient():
    assert set(names.rules()) - set(names.second_passes()) == {"aesam"}


def test_an_unknown_word_in_a_rule_is_one_message(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text('SECOND_PASS = "every stp"\n', encoding="utf-8")
    monkeypatch.setattr(names, "RULES_FOLDER", tmp_path)
    names.second_passes.cache_clear()
    try:
        with pytest.raises(PerturbError, match=r"mine\.py: .*Did you mean 'every step'"):
            names.second_passes()
    finally:
        names.second_passes.cache_clear()


def test_which_counts_are_bounds():
    exact = {name: evaluations(names.parse(name), 10).exact for name in METHODS}
    assert not exact["aesam_4"] and not exact["pugdt_accdrop_4"]
    assert exact["looksam_4"] and exact["pugdt_1_4"] and exact["sgd_4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("24h", 86400), ("90m", 5400), ("2d", 172800), ("1d12h", 129600), (45, 45), ("1.5h", 5400)],
)
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "24 hours", "-3h", "0", "nan", "inf", "3x", "1h2"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(PerturbError, match="no length of time above 0"):
        seconds(text, "budget")


def test_durations_and_sizes_for_a_reader():
    assert [duration(v) for v in (45, 600, 3 * 3600, 9 * 86400)] == [
        "45 s",
        "10 min",
        "3 h",
        "9.0 d",
    ]
    assert [byte_size(v) for v in (5e3, 2.5e6, 3.29e9)] == ["5 kB", "2.5 MB", "3.29 GB"]


def specified(model="cnn", dataset="digits", method="sgd_30", **settings):
    return RtsSpecification(dataset=dataset, model=model, method=method, seed=0, **settings)


def test_sizes_of_runs(tmp_path, config):
    cifar = specified("upanet16", "cifar100", "sgd_400")
    shape = DATASETS["cifar100"].shape
    size = size_of(cifar, shape)
    assert (size.steps, size.test_batches, size.evaluation_batches) == (100, 20, 20)
    held_out = size_of(msgspec.structs.replace(cifar, protocol="holdout"), shape)
    assert (held_out.steps, held_out.validation_batches, held_out.evaluation_batches) == (
        80,
        20,
        40,
    )
    limited = msgspec.structs.replace(cifar, batch_size=50, limit=Limit(220, 100))
    thin = size_of(limited, shape)
    assert (thin.steps, thin.test_batches) == (5, 2)
    with pytest.raises(PerturbError, match=r"mine\.manifest\.json"):
        shape_of("mine", tmp_path, config)


def test_official_sizes_are_those_of_the_data(tmp_path, config):
    from perturb.data import prepare

    prepare(
        "digits",
        tmp_path,
        npz=tmp_path / "data/digits.npz",
        manifest=tmp_path / "data/digits.manifest.json",
    )
    assert shape_of("digits", tmp_path, config) == DATASETS["digits"].shape
    assert shape_of("digits_noise-0.3", tmp_path / "none", config) == DATASETS["digits"].shape


def finished(method="sgd_30", seed=0, accuracy=90.0, seconds=60.0, gradients=450, **changes):
    run = FinishedRun(
        study="rts",
        run=Run("digits", "cnn", method, seed),
        device="cpu (made up)",
        settings={
            "batch_size": 500,
            "threads": 1,
            "augment": "standard",
            "limit": None,
            "protocol": "from400",
        },
        epochs=30,
        cost=gradients,
        counted=True,
        seconds=seconds,
        start_seconds=3.0,
        bytes=1000,
        last={"test_accuracy": accuracy / 100},
        same_settings=True,
        current=True,
    )
    return replace(run, **changes)


SPECIFICATION = specified()


def test_time_is_told_from_finished_runs():
    """Runs made with 0.5 s an epoch and 0.1 s a gradient give those back."""
    runs = [
        finished("sgd_30", seconds=15 + 45, gradients=450),
        finished("pugd_30", seconds=15 + 90, gradients=900),
        finished("sam_0.05_30", seconds=1000, gradients=900, settings={"batch_size": 1}),
        finished("asam_0.5_30", seconds=1000, gradients=900, device="cuda (made up)"),
        finished("gsam_0.05_0.01_30", seconds=None, gradients=900),
    ]
    assert not from_runs(runs, msgspec.structs.replace(SPECIFICATION, precision="bfloat16"))
    known = from_runs(runs, SPECIFICATION)
    assert set(known) == {"cpu (made up)", "cuda (made up)"}
    cost = known["cpu (made up)"]
    assert (cost.per_epoch, cost.per_unit) == pytest.approx((0.5, 0.1))
    assert cost.seconds("pugds_cos_3_1.5_30", 30, 900) == pytest.approx(3 + 105)
    assert cost.seconds("sgd_60", 60, 900) == pytest.approx(3 + 30 + 90)
    assert cost.seconds("org_30", 30, 450) == 3 + 60, "its own runs are the best guess"
    only_double = from_runs([runs[1]], SPECIFICATION)["cpu (made up)"]
    assert only_double.seconds("sgd_30", 30, 450) == pytest.approx(3 + 52.5)


def test_a_calibration_comes_to_the_time_of_its_steps():
    shape = Shape(5000, 1000, 10, 32, 3)
    measured = Calibration(
        "cpu", "cnn", shape, 500, 1, "standard", 3, 500, 2.0, 3.5, 0.5, 4.0, 1000
    )
    size = size_of(specified("cnn", "cifar10", "sgd_7"), shape)
    cost = from_calibration(measured, size)
    assert cost.seconds("sgd_7", 7, 70) == pytest.approx(4 + 7 * (10 * 2.0 + 2 * 0.5))
    assert cost.seconds("pugd_7", 7, 140) == pytest.approx(4 + 7 * (10 * 3.5 + 2 * 0.5))


def test_a_method_that_decides_as_it_trains_is_measured_where_it_ran():
    asked = specified(method="aesam_0.05_30")

    def known(runs):
        work = work_of(asked, 15, runs)
        return work.count, work.known

    assert known([]) == (900, "at most")
    runs = [finished("aesam_30", s, gradients=600 + 20 * s) for s in range(3)]
    assert known(runs) == (620, "measured")
    assert known([replace(run, current=False) for run in runs]) == (900, "at most")
    assert work_of(specified(method="looksam_0.05_30"), 15, runs).known == "exact"


def test_power_of_devices():
    table = {"cpu": 12, "cuda": 200, "A100": 400, "A10": 150}
    assert watts("cuda (NVIDIA A100-SXM4-80GB)", 4, table) == 400
    assert watts("cuda (NVIDIA A10)", 4, table) == 150
    assert watts("cuda (Unheard Of)", 4, table) == 200
    assert watts("cpu (Some CPU)", 4, table) == 48
    with pytest.raises(PerturbError, match="device_power_watts: no entry for 'mps'"):
        watts("mps", 1, table)


def test_the_spread_is_found_again_from_made_up_runs():
    """One method in thirty collapses; the others share sd .3 and a seed's part of .2^2."""
    random = np.random.default_rng(0)
    runs, references = [], {}
    shared = random.normal(0, 0.2, 4)
    for index in range(200):
        scale = 10.0 if index % 30 == 7 else np.sqrt(0.3**2 - 0.2**2)
        method = f"pugdr_const_{index + 1}_30"
        references[method] = "pugd_30"
        shared = random.normal(0, 0.2, 4) if index % 2 == 0 else shared
        name = method if index else "pugd_30"
        for seed in range(4):
            runs.append(finished(name, seed, 90 + shared[seed] + random.normal(0, scale)))
    found = spread(runs, {}, floor=0.23, measure=ACCURACY)
    assert found.sd == pytest.approx(0.3, rel=0.1)
    assert (found.correlation, found.methods) == (0.0, 200)
    assert spread([], {}, floor=0.23, measure=ACCURACY).sd == 0.23
    assert spread(runs[:1], {}, floor=0.23, measure=ACCURACY).methods == 0


def test_the_correlation_of_paired_runs():
    random = np.random.default_rng(1)
    runs, references = [], {}
    shared = random.normal(0, 0.2, 300)
    for method in ("pugd_30", *(f"pugdr_const_{i}_30" for i in range(1, 6))):
        references[method] = "pugd_30"
        runs += [finished(method, s, 90 + shared[s] + random.normal(0, 0.1)) for s in range(300)]
    references.pop("pugd_30")
    found = spread(runs, references, floor=0.23, measure=ACCURACY)
    assert found.correlation == pytest.approx(0.2**2 / (0.2**2 + 0.1**2), abs=0.05)


def test_power_agrees_with_statsmodels():
    from statsmodels.stats.power import TTestIndPower, TTestPower

    for n in range(3, 12):
        paired = TTestPower().power(0.4 / (0.23 * np.sqrt(2)), n, 0.05)
        assert Design().resolves(0.4, 0.23, n, 0.23, n) == (paired >= 0.8)
        unpaired = TTestIndPower().power(0.4 / 0.23, n, 0.05)
        assert Design(paired=False).resolves(0.4, 0.23, n, 0.23, n) == (unpaired >= 0.8)


def test_half_widths_agree_with_scipy():
    from scipy import stats

    random = np.random.default_rng(0)
    a, b = random.normal(size=6), random.normal(size=6)
    interval = stats.ttest_rel(a, b).confidence_interval()
    correlation = np.corrcoef(a, b)[0, 1]
    found = Design(True, correlation).half_width(a.std(ddof=1), 6, b.std(ddof=1), 6)
    assert found == pytest.approx((interval.high - interval.low) / 2)
    c = (a - a.mean()) * b.std() / a.std()  # as spread out as b
    interval = stats.ttest_ind(c, b).confidence_interval()
    found = Design(paired=False).half_width(b.std(ddof=1), 6, b.std(ddof=1), 6)
    assert found == pytest.approx((interval.high - interval.low) / 2)


@pytest.mark.parametrize(
    ("text", "runs", "chapters"),
    [
        ("", 94, ("digits", "gradients_smoke")),
        ("digits", 84, ("digits",)),
        ("results/report.html", 94, ("digits", "gradients_smoke")),
        ("results/landscapes/digits.html", 9, ()),
        ("results/tables/cifar100.csv", 75, ("cifar100",)),
        ("results/tables/cifar100.provenance.csv", 75, ("cifar100",)),
        ("results/tables/landscape_cifar100.csv", 8, ()),
        ("results/figures/cifar10/accuracy.pdf", 105, ("cifar10",)),
        ("results/figures/cifar10/landscape_contours_log.png", 8, ()),
        ("results/runs/cifar10/resnet18/org_9/seed4/record.json", 1, ()),
        ("results/runs/cifar10/resnet18/org_9/seed4/checkpoints/epoch3.safetensors", 1, ()),
        ("results/landscapes/digits/cnn/sgd_30/seed0/plane.npz", 1, ()),
        ("digits_noise-0.3", 84, ("digits_noise-0.3",)),
        ("results/tables/digits_noise-0.3.provenance.csv", 84, ("digits_noise-0.3",)),
        ("gradients", 28, ("gradients",)),
        ("results/tables/gradients.csv", 24, ("gradients",)),
        ("results/tables/gradients_layers.tex", 4, ()),
        ("results/figures/gradients/layers.pdf", 4, ()),
        ("results/figures/gradients/learning_rate_cdg.pdf", 24, ("gradients",)),
        (
            "results/gradients/gradients/layers/cifar10/xnor_resnet18_8/sgd_20/seed0/layers.csv",
            1,
            (),
        ),
        (
            "results/runs/gradients_smoke/sign_units/toy_dimension-8_pretraining-0/seed1/"
            "record.json",
            1,
            (),
        ),
    ],
)
def test_targets(workflow, text, runs, chapters):
    found = targets.resolve(text, workflow)
    assert (len(found.runs), tuple(one.name for one in found.chapters)) == (runs, chapters)
    assert len(set(found.runs)) == runs


def test_the_ranking_needs_the_runs_of_every_table(make_workflow, raw_config):
    raw_config["chapters"] = ["digits", "cifar100"]
    found = targets.resolve("results/tables/rts_ranking.csv", make_workflow())
    assert len(found.runs) == 84 + 75


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cifar1000", "Did you mean 'cifar10"),
        ("gradient", "nor a chapter of the configuration. Did you mean 'gradients'"),
        ("digits_noise-7", "nor a chapter"),
        ("results/figures/digits/acuracy.pdf", "Did you mean 'accuracy'"),
        ("results/runs/digits/cnn/pugdd_30/seed0/record.json", "Closest valid name: .pugd_30"),
        ("results/table/cifar100.csv", "Did you mean 'tables'"),
        ("results/tables/cifar1000.csv", "Did you mean 'cifar10"),
        ("elsewhere/tables/cifar100.csv", "neither a file under results"),
        ("results/data/cifar100.npz", "no run is known"),
    ],
)
def test_what_is_no_target_says_so(workflow, text, says):
    with pytest.raises(PerturbError, match=says):
        targets.resolve(text, workflow)


def test_settings_come_from_the_config_and_the_command_line(root, raw_config):
    raw_config |= {"budget": "24h", "gpus": "4", "target": "cifar100"}
    settings = Settings.of(Config(raw_config, root / "config" / "schema.yaml").values)
    assert (settings.budget, settings.gpus, settings.wall_time) == (86400, 4, 86400)
    assert settings.device_power_watts["H100"] == 700
    with pytest.raises(PerturbError, match="maximum_seeds 2 is below minimum_seeds 3"):
        Settings.of({"plan": {"maximum_seeds": 2}})


def test_a_misspelt_key_of_the_plan_is_an_error(root, raw_config):
    raw_config["plan"]["wall_tme"] = "1h"
    with pytest.raises(PerturbError, match=r"config, plan: unknown key 'wall_tme'.*'wall_time'"):
        Config(raw_config, root / "config" / "schema.yaml")
