import math

import pandas as pd
import pytest
from msgspec.structs import replace

from perturb.analysis import display, printers, runs, tables
from perturb.errors import PerturbError
from perturb.report import words

from . import forms
from .study import (
    SECTIONS,
    printed,
    row_of,
    small_plan,
    small_table,
    table_runs,
    with_row,
    write_run,
    write_study,
)


@pytest.fixture(scope="module")
def table(plan, records):
    return tables.build(plan, runs.collect(records))


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
        ({"sha256": {"data": "d" * 64, "initial_weights": "a" * 64}}, "initial weights other"),
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
