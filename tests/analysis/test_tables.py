import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from statsmodels.stats.power import TTestPower

from perturb.analysis import display, printers, runs, tables
from perturb.code import hash_text
from perturb.errors import PerturbError
from perturb.report import words
from perturb.study import Measure

from . import forms
from .study import SECTIONS, make_plan, make_row, write_run, write_study


@pytest.fixture(scope="module")
def table(plan, records):
    return tables.build(plan, runs.collect(records))


def small_plan(methods=("sgd_30", "pugd_30", "sam_0.05_30"), seeds=(0, 1, 2), **changes):
    rows = tuple(make_row(method, seeds=seeds) for method in methods)
    return make_plan(rows=rows, sgd_double="", **changes)


def with_row(plan, number, **changes):
    """Return the plan with one of its rows changed."""
    rows = list(plan.rows)
    rows[number] = replace(rows[number], **changes)
    return replace(plan, rows=tuple(rows))


def printed(table, form):
    return getattr(printers, form)(display.table_of(table))


def small_table(folder, values, plan=None, **changes):
    """Return the table of a few methods with given last-epoch accuracies by seed."""
    plan = plan or small_plan(tuple(values))
    paths = [
        write_run(folder, method, seed, accuracy=accuracy, **changes)
        for method, accuracies in values.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    return tables.build(plan, runs.collect(paths))


def row_of(table, method):
    return table.frame.set_index("method").loc[method]


def test_every_row_of_the_plan_stands_in_order(table, plan):
    assert list(table.frame["method"]) == [row.method for row in plan.rows]
    assert list(dict.fromkeys(table.frame["section"])) == list(SECTIONS)


def test_known_numbers(tmp_path):
    values = {
        "sgd_30": (0.90, 0.92, 0.97),
        "pugd_30": (0.91, 0.95, 0.96),
        "sam_0.05_30": (0.99, 0.99, 0.99),
    }
    table = small_table(tmp_path, values)
    sgd = row_of(table, "sgd_30")
    assert sgd["last_epoch_test_accuracy_mean"] == pytest.approx(0.93)
    assert sgd["last_epoch_test_accuracy_sd"] == pytest.approx(0.0360555)
    assert sgd["difference_to_pugd_30_mean"] == pytest.approx(-0.01)
    # Two-sided p with 2 degrees of freedom: 1 - t / sqrt(2 + t^2), t = mean / (sd / sqrt 3).
    # Differences -.01, -.03, .01: mean -.01, sd .02, t^2 = 0.75.
    assert sgd["p_value"] == pytest.approx(1 - (0.75 / 2.75) ** 0.5)
    assert sgd["gradient_evaluations_relative_to_sgd"] == 1
    assert row_of(table, "pugd_30")["gradient_evaluations_relative_to_sgd"] == 2
    assert pd.isna(row_of(table, "pugd_30")["p_value"])
    sam = row_of(table, "sam_0.05_30")
    assert pd.isna(sam["last_epoch_test_accuracy_ci95_low"])
    # Differences .08, .04, .03: mean .05, variance .0007, t^2 = .0025 / (.0007 / 3) = 75 / 7.
    assert sam["p_value"] == pytest.approx(1 - (75 / 7 / (2 + 75 / 7)) ** 0.5)
    assert sam["p_value_holm"] == pytest.approx(2 * sam["p_value"])
    assert sgd["p_value_holm"] == pytest.approx(sgd["p_value"])


def test_diverged_missing_and_unasked_are_rows_that_say_so(table):
    assert row_of(table, "pugdr_icos_2_0.01_30")["status"] == (
        "diverged 1 of 3 (seed 2 at step 143)"
    )
    assert row_of(table, "pugdr_icos_2_0.01_30")["diverged_runs"] == 1
    assert row_of(table, "pugdr_icos_2_0.01_30")["seeds_finished"] == 2
    assert row_of(table, "asam_0.5_30")["status"] == "missing 1 of 3 (seed 1)"
    assert row_of(table, "gsam_0.05_0.01_30")["status"] == "not run (0 of 3)"
    assert row_of(table, "pugds_sin_2_0_30")["status"] == "not asked for"
    assert row_of(table, "pugd_30")["status"] == "finished"
    text = " ".join(table.warnings)
    for name in ("pugdr_icos_2_0.01_30 (1 of 3)", "gsam_0.05_0.01_30", "Fewer than 3 seeds"):
        assert name in text


def test_a_table_without_any_run_has_all_rows(plan):
    table = tables.build(plan, runs.collect([]))
    assert len(table.frame) == len(plan.rows)
    assert set(table.frame["status"]) == {"not run (0 of 3)", "not asked for"}
    assert "no finished run" in " ".join(table.warnings)
    assert printed(table, "latex")


def test_trigger_epochs_by_seed(table, tmp_path):
    assert row_of(table, "pugdt_6_30")["trigger_epoch"] == "5(6), 6(7), 7(8)"
    assert row_of(table, "pugd_30")["trigger_epoch"] == ""
    plan = small_plan(("sgd_30", "pugd_30", "pugdt_6_30"))
    values = {"pugdt_6_30": (0.9, 0.9)}
    never = small_table(tmp_path, values, plan, trigger_epoch=None, perturbing_from=None)
    assert row_of(never, "pugdt_6_30")["trigger_epoch"] == "never"


def test_the_best_epoch_column_says_what_it_was_selected_on(tmp_path):
    by_test = small_table(tmp_path / "a", {"sgd_30": (0.9,), "pugd_30": (0.9,)})
    assert "best_epoch_test_accuracy_selected_on_test_mean" in by_test.frame
    plan = small_plan(("sgd_30", "pugd_30"), protocol="holdout")
    held_out = small_table(
        tmp_path / "b", {"pugd_30": (0.9,)}, plan, specification={"protocol": "holdout"}
    )
    assert "best_epoch_test_accuracy_selected_on_validation_mean" in held_out.frame
    assert not any("selected_on_test" in name for name in held_out.frame)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"device": "cuda (Another)"}, "device cuda (Another)"),
        ({"versions": {"torch": "9"}}, "versions torch 9"),
        ({"specification": {"protocol": "holdout"}}, "protocol holdout"),
        ({"specification": {"batch_size": 7}}, "batch_size 7"),
        ({"threads": 2}, "threads 2"),
        ({"scale": "smoke"}, "scale smoke"),
        ({"sha256": {"data": "e" * 64}}, "data hash eeeeeeeeeeee"),
        ({"sha256": {"data": "d" * 64, "initial_weights": "a" * 64}}, "initial weights of seed 0"),
    ],
)
def test_what_is_mixed_is_named_in_the_row_and_a_warning(tmp_path, change, named):
    plan = small_plan(seeds=(0,))
    paths = [write_run(tmp_path, method, 0) for method in ("sgd_30", "pugd_30")]
    paths.append(write_run(tmp_path, "sam_0.05_30", 0, **change))
    table = tables.build(plan, runs.collect(paths))
    assert named in row_of(table, "sam_0.05_30")["mixed"]
    assert row_of(table, "sgd_30")["mixed"] == ""
    assert any("more than the method" in text and "sam_0.05_30" in text for text in table.warnings)


def test_smoke_and_partial_cannot_be_taken_for_the_study(tmp_path):
    plan = small_plan(dataset="cifar100", scale="smoke", partial_data=True, model="upanet16")
    change = {"model": "upanet16", "scale": "smoke", "partial_data": True}
    change["images"] = {"train": 1117, "test": 200}
    paths = write_study(tmp_path, plan, **change)
    table = tables.build(plan, runs.collect(paths))
    assert set(table.frame["scale"]) == {"smoke"}
    said = "partial (1,117 of 50,000 train images, 200 of 10,000 test images)"
    assert set(table.frame["data"]) == {said}
    assert table.warnings[0].startswith("SMOKE RUN")
    assert "1,117 of 50,000" in table.warnings[1]
    for text in (printed(table, form) for form in ("markdown", "latex", "html")):
        assert "smoke run, partial data" in text
        assert "SMOKE RUN" in text


def test_a_row_may_have_a_reference_of_its_own(tmp_path):
    plan = small_plan(("sgd_30", "pugd_30", "pugd_20", "pugdt_5_20"))
    plan = with_row(plan, 3, section="Timing", reference="pugd_20")
    values = {"pugd_30": (0.9, 0.9, 0.9), "pugd_20": (0.5, 0.6, 0.6), "pugdt_5_20": (0.6, 0.6, 0.7)}
    table = small_table(tmp_path, values, plan)
    row = row_of(table, "pugdt_5_20")
    assert row["difference_to_pugd_30_mean"] == pytest.approx(0.2 / 3)
    assert row["reference"] == "pugd_20"
    assert "difference to pugd_20" in row["remarks"]


def test_other_spellings_of_a_method_find_their_runs(tmp_path):
    plan = small_plan(("org_30", "pugd_30"), sgd="org_30")
    table = small_table(tmp_path, {"sgd_30": (0.9,), "pugd_30": (0.9,)}, plan)
    assert row_of(table, "org_30")["seeds_finished"] == 1


def test_runs_that_are_not_asked_for_are_left_out(tmp_path):
    values = {"sgd_30": (0.9, 0.9), "pugd_30": (0.9, 0.9)}
    table = small_table(tmp_path, values, small_plan(("sgd_30", "pugd_30"), seeds=(0,)))
    assert list(table.frame["seeds_finished"]) == [1, 1]


def test_a_reference_outside_the_rows_is_an_error(plan):
    with pytest.raises(PerturbError, match="pugd_99"):
        tables.build(replace(plan, reference="pugd_99"), runs.collect([]))


def test_the_csv_reads_back_and_the_files_are_the_same_bytes(table, plan, records, tmp_path):
    def write(folder, table):
        printers.write(display.table_of(table), folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = write(tmp_path / "a", table)
    assert write(tmp_path / "b", tables.build(plan, runs.collect(records[::-1]))) == first
    back = tables.read(tmp_path / "a" / "digits.csv", plan)
    pd.testing.assert_frame_equal(back.frame, table.frame, check_exact=True)
    assert back.warnings == table.warnings
    with pytest.raises(PerturbError, match="not the table of"):
        tables.read(tmp_path / "a" / "digits.csv", small_plan())


def test_the_four_forms_say_the_same_of_every_method(table, plan):
    made = display.table_of(table)
    by_form = {
        "md": forms.of_markdown(printers.markdown(made)),
        "html": forms.of_html(printers.html(made)),
        "tex": [row for row in forms.of_latex(printers.latex(made))[0] if len(row) > 1],
    }
    for found in by_form.values():
        assert len(found) == len(plan.rows)
    for number, row in enumerate(display.rows(table)):
        said = {form: " ".join(rows[number]) for form, rows in by_form.items()}
        for form, text in said.items():
            assert text.startswith(row.method), form
            assert row.label in text and row.seeds in text, form
            if not row.finished:
                assert row.status in text, form
                continue
            for number_of in ("last", "last_interval", "difference", "difference_interval"):
                assert getattr(row, number_of) in text, (form, number_of)
            for text_of in ("best", "detectable", "gradients", "trigger", "published", "p_holm"):
                assert getattr(row, text_of) in text, (form, text_of)
        assert (row.verdict in said["md"] and row.verdict in said["html"]) or not row.finished


def test_latex_prints_every_remark_below_and_explains_its_marks(table):
    text = printed(table, "latex")
    _, notes = forms.of_latex(text)
    frame = table.frame[table.frame["seeds_finished"] > 0]
    remarks = {remark for remark in frame["remarks"] if remark}
    unfinished = {status for status in frame["status"] if status != "finished"}
    assert remarks | unfinished <= set(notes.values())
    assert "93.53" in text


def test_texts_for_latex_are_escaped():
    assert printers.escape("50 % of a_b & {c} #1 <2") == (
        r"50 \% of a\_b \& \{c\} \#1 \textless{}2"
    )
    assert printers.prose("see pugd_30. And not_ this") == (
        r"see \texttt{pugd\_\allowbreak{}30}. And not\_ this"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "+1.23"), (-0.0123, "−1.23"), (-0.000001, "0.00"), (None, "")]
)
def test_points_carry_their_sign(value, text):
    assert display.points(value) == text


def test_verdicts_follow_the_corrected_p_values(tmp_path):
    seeds = range(5)
    reference = [0.90, 0.91, 0.905, 0.915, 0.9]

    def moved(by, noise):
        return tuple(r + by + n for r, n in zip(reference, noise, strict=True))

    small = (0.0001, -0.0002, 0.0, 0.0002, -0.0001)
    large = (0.01, -0.02, 0.015, 0.0, -0.01)
    values = {
        "sgd_30": moved(-0.4, small),
        "pugd_30": tuple(reference),
        "sam_0.05_30": moved(0.0, large),
        "ugd_30": moved(0.05, small),
        "samx1_30": moved(0.0, small),
        "asam_0.5_30": moved(-0.002, small),
        "gsam_0.05_0.01_30": moved(0.1, small)[:2],
        "sgd_60": moved(0.1, (0.0,) * 5),
        "aesam_0.05_30": tuple(reference),
    }
    expected = {
        "sgd_30": "worse",
        "pugd_30": "reference",
        "sam_0.05_30": "not distinguishable",
        "ugd_30": "better",
        "samx1_30": "equivalent",
        "asam_0.5_30": "worse within margin",
        "gsam_0.05_0.01_30": "too few seeds",
        "sgd_60": "not tested",
        "aesam_0.05_30": "not tested",
        "looksam_0.05_30": "not tested",
    }
    plan = small_plan(tuple(expected), seeds=seeds)
    table = small_table(tmp_path, values, plan)
    frame = table.frame.set_index("method")
    assert frame["verdict"].to_dict() == expected
    said = "5 t tests of a difference, 5 tests of equivalence"
    assert said in frame.loc["sgd_30", "family"] and said in display.caption(table)
    assert frame.loc["gsam_0.05_0.01_30", "family"] == ""
    assert frame.loc["sgd_30", "p_value_holm"] == pytest.approx(5 * frame["p_value"].min())
    assert not pd.isna(frame.loc["gsam_0.05_0.01_30", "p_value"])
    assert pd.isna(frame.loc["gsam_0.05_0.01_30", "p_value_holm"])
    assert "no verdict: gsam_0.05_0.01_30" in " ".join(table.warnings)
    assert r"$\uparrow$ better" in printed(table, "latex")
    assert "**better** p" in printed(table, "markdown")
    wide = tables.build(replace(plan, equivalence_margin=8.0), table_runs(tmp_path))
    verdicts = wide.frame.set_index("method")["verdict"]
    assert verdicts["sam_0.05_30"] == "equivalent"
    assert verdicts["ugd_30"] == "better within margin"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (2.3, "2.30"),
        (0.91, "0.910"),
        (0.75, "0.750"),
        (9.999, "10.0"),
        (-0.0012, "−0.00120"),
        (1234.5, "1234"),
        (1.2e9, "1.20e+09"),
        (0.0, "0"),
        (math.nan, ""),
    ],
)
def test_significant_digits_are_kept(number, said):
    assert display.significant(number) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "A test split of 1 image: it is 100 points of the accuracy."),
        (8, "A test split of 8 images: one of them is 12.5 points of the accuracy."),
        (50, "A test split of 50 images: one of them is 2 points of the accuracy."),
    ],
)
def test_a_small_test_split_is_told_in_points(tmp_path, number, said):
    images = {"train": 32, "validation": 0, "test": number}
    table = small_table(tmp_path, {"pugd_30": (0.9,), "sgd_30": (0.9,)}, images=images)
    assert said in table.warnings
    assert f", {number} test image{'s' * (number > 1)}. " in words.what_was_run(table)


def test_the_reference_is_not_said_to_lack_a_verdict(tmp_path):
    values = {"pugd_30": (0.9, 0.91), "sgd_30": (0.92, 0.9, 0.93), "sam_0.05_30": (0.9, 0.9, 0.95)}
    said = next(text for text in small_table(tmp_path, values).warnings if "no verdict" in text)
    assert said == "Fewer than 3 seeds to compare, so no verdict: sgd_30, sam_0.05_30."


def test_no_detectable_difference_of_accuracies_exceeds_100_points(tmp_path):
    values = {"pugd_30": (0.1, 0.95), "sgd_30": (0.9, 0.1), "sam_0.05_30": (0.5, 0.3)}
    table = small_table(tmp_path, values, small_plan(tuple(values), seeds=(0, 1)))
    assert table.frame["minimum_detectable_difference"].max() > 1
    assert {row.detectable for row in display.rows(table)} == {"", ">100"}
    assert not any("A true difference" in text for text in words.findings(table))


def test_a_caption_explains_no_column_that_is_not_there(tmp_path):
    """The CSV always has the columns; the table shows those that hold a number."""
    plan = small_plan(("sgd_30", "pugd_30"), seeds=(0,))
    table = small_table(tmp_path, {"sgd_30": (0.9,), "pugd_30": (0.91,)}, plan)
    stem = f"{table.plan.difference}_seeds_and_images_ci95"
    empty = {f"{stem}_{end}": math.nan for end in ("low", "high")}
    table = tables.ComparisonTable(table.plan, table.frame.assign(**empty))
    heads = {column.head for column in display.table_of(table).columns}
    for head in ("Over seeds and images", "Without duplicates", "Trigger", "Published"):
        assert (f"{head}:" in display.caption(table)) == (head in heads), head


def test_equal_at_every_seed_is_said_to_be_not_tested(tmp_path):
    same = (0.9, 0.91, 0.92)
    table = small_table(tmp_path, dict.fromkeys(("sgd_30", "pugd_30", "sam_0.05_30"), same))
    assert set(table.frame["verdict"]) == {"not tested", "reference"}
    said = " ".join(words.findings(table))
    assert "No method could be tested against the reference." in said and "(0.00 )" not in said
    assert "a difference that varies" in display.caption(table)


def table_runs(folder):
    return runs.collect(sorted(folder.rglob("record.json")))


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


def test_a_module_that_differs_from_the_references_is_named(tmp_path):
    table = coded_table(tmp_path, [{"perturb.train.driver": "b" * 64}] * 3)
    mixed = row_of(table, "sam_0.05_30")["mixed"]
    assert mixed == (
        "3 of 3 runs: code of perturb.train.driver bbbbbbbbbbbb (reference: aaaaaaaaaaaa)"
    )
