"""Which comparisons a table makes, by what measure, and of whose code."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.power import TTestPower

from perturb.analysis import display, runs, tables
from perturb.code import hash_text
from perturb.errors import PerturbError
from perturb.study import Measure

from .study import (
    printed,
    row_of,
    small_plan,
    small_table,
    table_runs,
    with_row,
    write_run,
)


def test_seeds_that_are_not_shared_are_compared_unpaired_and_said_so(tmp_path):
    plan = small_plan(("sgd_30", "pugd_30"))
    plan = with_row(plan, 0, seeds=(5, 6, 7))
    for seed, accuracy in enumerate((0.90, 0.91, 0.93)):
        write_run(tmp_path, "pugd_30", seed, accuracy=accuracy)
        write_run(tmp_path, "sgd_30", seed + 5, accuracy=accuracy + 0.1 * (1 + seed))
    table = tables.build(plan, table_runs(tmp_path))
    row = row_of(table, "sgd_30")
    assert row["comparison"] == "unpaired (Welch), 3 and 3 seeds"
    assert row["difference_to_pugd_30_mean"] == pytest.approx(0.2)
    assert "compared unpaired" in " ".join(table.warnings)
    assert "Welch" in display.caption(table)
    assert pd.isna(row["pooled_difference_to_pugd_30_ci95_low"])


def test_detectable_differences_come_from_the_pooled_sd_below_ten_seeds(tmp_path):
    noise = iter(np.random.default_rng(0).normal(0.9, 0.01, 64))
    methods = ("sgd_30", "pugd_30", "ugd_30", "samx1_30")
    for seeds, said in ((4, "pooled"), (12, "own")):
        folder = tmp_path / said
        values = {m: tuple(itertools.islice(noise, seeds)) for m in methods}
        table = small_table(folder, values, small_plan(tuple(values), seeds=range(seeds)))
        row = row_of(table, "sgd_30")
        assert row["minimum_detectable_difference_sd"] == said
        sd = row["pooled_sd"] * 2**0.5 if said == "pooled" else row["difference_to_pugd_30_sd"]
        power = TTestPower().power(row["minimum_detectable_difference"] / sd, seeds, 0.05)
        assert power == pytest.approx(0.8, abs=1e-6)
        assert row["pooled_difference_to_pugd_30_ci95_low"] < row["difference_to_pugd_30_mean"]


def test_spreads_that_differ_are_a_warning(tmp_path):
    even = ("pugd_30", "ugd_30", "samx1_30", *(f"sam_0.0{n}_30" for n in range(1, 8)))
    noise = np.random.default_rng(0).normal(0.9, 0.001, (len(even), 4))
    values = {method: tuple(row) for method, row in zip(even, noise, strict=True)}
    values["sgd_30"] = (0.2, 0.9, 0.4, 0.6)
    table = small_table(tmp_path, values, small_plan(tuple(values), seeds=range(4)))
    assert "The spread between seeds differs" in " ".join(table.warnings)
    assert table.frame["pooled_difference_to_pugd_30_ci95_low"].isna().all()
    assert set(table.frame["minimum_detectable_difference_sd"]) == {"", "own"}


ERROR = Measure(
    name="made_up_error",
    words="made-up error",
    unit="mm",
    difference_unit="mm",
    factor=1000.0,
    digits=1,
    larger_is_better=False,
)


@pytest.fixture(scope="module")
def of_error(tmp_path_factory):
    """The table of a measure of which less is better; ugd has clearly less of it than pugd."""
    folder = tmp_path_factory.mktemp("error")
    random = np.random.default_rng(0)
    plan = small_plan(
        ("pugd_30", "ugd_30", "samx1_30", "sam_0.05_30"),
        range(5),
        measure=ERROR,
        sgd="",
        published="",
        equivalence_margin=2.0,
    )
    level = {"pugd_30": 0.5, "ugd_30": 0.3, "samx1_30": 0.9, "sam_0.05_30": 0.5}
    paths = [
        write_run(
            folder,
            method,
            seed,
            series={"made_up_error": value + 0.01 * seed + 1e-4 * random.normal()},
        )
        for method, value in level.items()
        for seed in range(5)
    ]
    return tables.build(plan, runs.collect(paths)), paths


def test_where_less_is_better_a_smaller_number_is_better(of_error):
    table, _ = of_error
    verdicts = table.frame.set_index("method")["verdict"].to_dict()
    assert verdicts == {
        "pugd_30": "reference",
        "ugd_30": "better",
        "samx1_30": "worse",
        "sam_0.05_30": "equivalent",
    }
    assert row_of(table, "ugd_30")["difference_to_pugd_30_mean"] < 0
    assert row_of(table, "ugd_30")["equivalence_margin"] == 2.0 / 1000


def test_another_measure_has_its_own_columns_and_units(of_error):
    table, _ = of_error
    assert not any("accuracy" in name or "relative_to_sgd" in name for name in table.frame)
    row = row_of(table, "pugd_30")
    assert row["last_epoch_made_up_error_mean"] == pytest.approx(0.52, abs=1e-3)
    shown = {row.method: row for row in display.rows(table)}
    assert shown["pugd_30"].last == f"{1000 * row['last_epoch_made_up_error_mean']:.1f}"
    assert shown["ugd_30"].difference.startswith("−20") or shown["ugd_30"].difference[1:4] == "199"
    said = display.caption(table)
    assert said.startswith("Made-up error (mm) of cnn") and "Smaller is better." in said
    assert "accuracy" not in said and "margin of 2 mm" in said
    assert "made-up error against the reference" in row_of(table, "ugd_30")["family"]


def test_a_run_without_the_measure_is_one_message(of_error, tmp_path):
    table, _ = of_error
    path = write_run(tmp_path, "pugd_30", 0)
    with pytest.raises(PerturbError, match="has no last made_up_error") as error:
        tables.build(table.plan, runs.collect([path]))
    assert str(path) in str(error.value)


def test_columns_stand_where_the_plan_has_something_for_them(tmp_path):
    values = {"sgd_30": (0.9, 0.91), "pugd_30": (0.9, 0.9)}
    plan = small_plan(tuple(values), sgd="", published="", protocol="", also=())
    table = small_table(tmp_path, values, plan)
    for name in ("trigger_epoch", "published_accuracy", "final_train_loss_mean"):
        assert name not in table.frame
    assert not any(name.startswith("best_epoch") for name in table.frame)
    heads = [column.head for column in display.table_of(table).columns]
    assert heads == [
        *("Method", "Seeds", "Accuracy, last epoch", "Difference to pugd_30"),
        *("Verdict, p after Holm", "Detectable"),
    ]


def test_a_plan_reads_back_from_its_values(plan):
    assert type(plan).of(json.loads(json.dumps(plan.values()))) == plan


def coded_table(folder, codes):
    """Return a table of two rows whose SAM runs were made by the given codes, by seed."""
    plan = small_plan(("pugd_30", "sam_0.05_30"), seeds=tuple(range(len(codes))), sgd="")
    paths = []
    for seed, own in enumerate(codes):
        for method, changed in (("pugd_30", {}), ("sam_0.05_30", own)):
            code = {"perturb.train.driver": "a" * 64, "method": method, **changed}
            code = {name: value for name, value in code.items() if value}
            digest = {"code": hash_text(json.dumps(code))}
            paths.append(write_run(folder, method, seed, code=code, sha256=SHA256 | digest))
    return tables.build(plan, runs.collect(paths))


SHA256 = {"data": "d" * 64, "split": "5" * 64, "final_weights": "f" * 64}
RULE = "perturb.optim.rules.sam"


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([{RULE: "1" * 64}] * 2 + [{RULE: "2" * 64}], f"{RULE} (1 and 2 runs)"),
        ([{RULE: "1" * 64}, {RULE: "2" * 64}], f"{RULE} (1 and 1 runs)"),
        ([{RULE: "1" * 64}, {RULE: None}], f"{RULE} (1 and 1 runs, 1 of them without it)"),
        ([{"method": "x"}, {}, {}], "method (1 and 2 runs)"),
        ([{"perturb.train.driver": "b" * 64}, {}], "perturb.train.driver (1 and 1 runs)"),
    ],
)
def test_a_row_of_runs_that_different_code_made_says_so(tmp_path, codes, said):
    table = coded_table(tmp_path, codes)
    sam, pugd = row_of(table, "sam_0.05_30"), row_of(table, "pugd_30")
    assert f"its runs were made by different code: {said}" in sam["remarks"]
    assert sam["code_sha256"].count(" | ") == 1 and " | " not in pugd["code_sha256"]
    assert any("made by different code" in text for text in table.warnings)
    assert said in printed(table, "markdown")


def test_rows_of_one_code_each_that_share_no_rule_are_comparable(tmp_path):
    table = coded_table(tmp_path, [{RULE: "1" * 64}] * 3)
    assert row_of(table, "sam_0.05_30")["mixed"] == row_of(table, "pugd_30")["mixed"] == ""
    assert not any("code" in text for text in table.warnings)


def test_what_differs_in_every_run_of_a_row_is_said_once(tmp_path):
    """Initial weights have a hash for each seed, which would tell the rows' runs apart."""
    plan = small_plan(("sgd_30", "pugd_30"), seeds=(0, 1, 2))
    paths = []
    for seed in plan.rows[0].seeds:
        own = {name: {"data": "d" * 64, "initial_weights": f"{name}{seed}" * 32} for name in "ab"}
        paths.append(write_run(tmp_path, "pugd_30", seed, sha256=own["a"]))
        changed = {"specification": {"batch_size": 7}, "sha256": own["b"]}
        paths.append(write_run(tmp_path, "sgd_30", seed, **changed))
    mixed = row_of(tables.build(plan, runs.collect(paths)), "sgd_30")["mixed"]
    weights = "initial weights other than at the same seed of the reference"
    assert mixed.startswith(f"3 of 3 runs: {weights}; batch_size 7 (reference: ")
    assert "runs: " not in mixed.removeprefix("3 of 3 runs: ")


def test_a_module_that_differs_from_the_references_is_named(tmp_path):
    table = coded_table(tmp_path, [{"perturb.train.driver": "b" * 64}] * 3)
    mixed = row_of(table, "sam_0.05_30")["mixed"]
    assert mixed == (
        "3 of 3 runs: code of perturb.train.driver bbbbbbbbbbbb (reference: aaaaaaaaaaaa)"
    )
