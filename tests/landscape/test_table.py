import io
import math

import numpy as np
import pandas as pd
import pytest

from perturb.analysis import printers
from perturb.landscape import table
from perturb.landscape.area import flat_area
from perturb.landscape.files import write_plane
from perturb.landscape.table import Checkpoint
from tests.analysis import forms
from tests.landscape.planes import make_plane

CURVATURE = {
    "images": 300,
    "eigenvalues": {
        "largest": [
            {"mean": 12.3456789012, "standard_error": 0.0123},
            {"mean": 3.0, "standard_error": 0.1},
        ],
        "smallest": {"mean": -0.5, "standard_error": 0.01},
    },
    "trace": {"mean": -123.456, "standard_error": 4.56},
    "sharpness": [
        {"radius": 0.1, "one_step": 0.02, "several_steps": 0.025},
        {"radius": 0.05, "one_step": 0.01, "several_steps": None},
    ],
    "adaptive_sharpness": [{"radius": 0.5, "one_step": 0.03, "several_steps": 0.04}],
}


def bowl(width):
    return lambda x, y: 0.01 + (x * x + y * y) / width


def printed(frame, form="markdown", of=table.general):
    return getattr(printers, form)(of(frame, "landscape_digits", "digits, cnn"))


@pytest.fixture
def frame():
    planes = {seed: make_plane(bowl(width)) for seed, width in enumerate((0.5, 1.0, 2.0))}
    wide = make_plane(bowl(20.0))
    wide.loss[0, 0] = np.nan
    checkpoints = [
        Checkpoint("sgd_30", 1, planes, CURVATURE),
        Checkpoint("pugd_30", 0, {4: wide}, {}),
    ]
    return table.build(checkpoints, 0.1)


def test_every_number_stands_in_its_column(frame):
    row = frame.iloc[0]
    assert (row["method"], row["seed"]) == ("sgd_30", 1)
    assert row["loss"] == 0.01
    assert row["accuracy"] == pytest.approx(math.exp(-0.01))
    assert (row["top_eigenvalue"], row["top_eigenvalue_se"]) == (12.3456789012, 0.0123)
    assert (row["trace"], row["trace_se"]) == (-123.456, 4.56)
    assert row["smallest_eigenvalue"] == -0.5
    assert row["sam_sharpness_one_step_rho0.05"] == 0.01
    assert row["sam_sharpness_several_steps_rho0.1"] == 0.025
    assert math.isnan(row["sam_sharpness_several_steps_rho0.05"])
    assert row["adaptive_sharpness_several_steps_rho0.5"] == 0.04
    assert (row["device"], row["precision"], row["images"]) == ("cpu", "float32", 500)


def test_flat_area_is_summarised_over_direction_seeds(frame):
    areas = [flat_area(make_plane(bowl(width)), 0.1).area for width in (0.5, 1.0, 2.0)]
    row, single = frame.iloc[0], frame.iloc[1]
    assert row["flat_area_mean"] == pytest.approx(np.mean(areas))
    assert row["flat_area_sd"] == pytest.approx(np.std(areas, ddof=1))
    assert (row["flat_area_share_at_border"], row["direction_seeds"]) == (0.0, 3)
    assert math.isnan(single["flat_area_sd"])
    assert (single["flat_area_share_at_border"], single["masked_points"]) == (1.0, 1)


def test_sharpness_columns_are_ordered_by_kind_and_radius(frame):
    columns = [name for name in frame if "sharpness" in name]
    assert columns == [
        "sam_sharpness_one_step_rho0.05",
        "sam_sharpness_several_steps_rho0.05",
        "sam_sharpness_one_step_rho0.1",
        "sam_sharpness_several_steps_rho0.1",
        "adaptive_sharpness_one_step_rho0.5",
        "adaptive_sharpness_several_steps_rho0.5",
    ]


def test_a_checkpoint_without_curvature_or_planes_is_a_row_of_gaps():
    frame = table.build([Checkpoint("sgd_30", 0, {}, {})])
    assert frame.loc[0, ["loss", "top_eigenvalue", "trace", "flat_area_mean"]].isna().all()
    assert forms.of_markdown(printed(frame)) == [["sgd_30", "0", *[""] * 5, "0"]]


@pytest.mark.parametrize("curvature", [{"eigenvalues": []}, {"trace": None, "eigenvalues": None}])
def test_gaps_in_the_curvature_file_are_nan(curvature):
    frame = table.build([Checkpoint("sgd_30", 0, {}, curvature)])
    assert frame.loc[0, ["top_eigenvalue", "trace", "trace_se"]].isna().all()


def test_csv_keeps_every_digit(frame):
    text = io.StringIO(printed(frame, "csv"))
    back = pd.read_csv(text, dtype={"mark": str}, keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(
        back.fillna({"mark": ""}), frame, check_exact=True, check_dtype=False
    )


def test_a_number_is_rounded_to_its_error_and_stands_beside_it(frame):
    first, second = forms.of_markdown(printed(frame))
    assert first[:6] == ["sgd_30", "1", "0.0100", "99.00", "12.346 ± 0.012", "−123.5 ± 4.6"]
    assert second[6].startswith("≥ ") and second[7] == "1 of 1,681"


@pytest.mark.parametrize("of", [table.general, table.sharpness])
def test_the_forms_say_the_same(frame, of):
    rows = forms.of_markdown(printed(frame, of=of))
    assert forms.of_html(printed(frame, "html", of)) == rows
    latex, _ = forms.of_latex(printed(frame, "latex", of))
    assert [" ".join(" ".join(row).split()) for row in latex] == [
        " ".join(" ".join(row).split()) for row in rows
    ]


def test_sharpness_has_a_table_of_its_own(frame):
    text = printed(frame, of=table.sharpness)
    assert "SAM sharpness, ρ = 0.05, Several steps" in text
    assert forms.of_markdown(text)[0] == [
        *("sgd_30", "1", "0.0100", "", "0.0200", "0.0250", "0.0300", "0.0400")
    ]
    latex = printed(frame, "latex", table.sharpness)
    assert r"\multicolumn{4}{c}{SAM sharpness} & \multicolumn{2}{c}{Adaptive sharpness}" in latex
    assert all(ord(character) < 128 for character in latex)


def test_the_networks_of_a_run_are_rows_of_their_own(tmp_path):
    files = []
    runs = (("ce_8", "", 1.0), ("core_8", "net0", 0.5), ("core_8", "net1", 2.0))
    for method, network, width in runs:
        known = {"method": method, "checkpoint_sha256": method} | (
            {"network": network} if network else {}
        )
        for seed in (0, 1):
            files.append(tmp_path / f"{method}{network}{seed}.npz")
            write_plane(files[-1], make_plane(bowl(width), 9, direction_seed=seed, **known))
    frame = table.build(table.read_checkpoints(files, []))
    assert frame[["method", "network"]].values.tolist() == [
        ["ce_8", ""], ["core_8", "net0"], ["core_8", "net1"],
    ]  # fmt: skip
    assert frame["direction_seeds"].tolist() == [2, 2, 2]
    assert frame["flat_area_mean"][1] < frame["flat_area_mean"][0] < frame["flat_area_mean"][2]
    for of in (table.general, table.sharpness):
        rows = forms.of_markdown(printed(frame, of=of))
        assert [row[:3] for row in rows] == [
            ["ce_8", "0", ""], ["core_8", "0", "net0"], ["core_8", "0", "net1"],
        ]  # fmt: skip
        assert "network" in of(frame, "name", "title").frame
    # Where no run has several there is no such column.
    alone = table.build(table.read_checkpoints(files[:2], []))
    assert "network" not in alone and "Network" not in printed(alone)


def test_marks_and_mixtures_are_said_first():
    smoke = make_plane(bowl(1.0), scale="smoke")
    other = make_plane(bowl(1.0), device="cuda")
    frame = table.build([Checkpoint("a_1", 0, {0: smoke}), Checkpoint("b_1", 0, {0: other})])
    assert frame["mark"].str.startswith("Smoke run").tolist() == [True, False]
    for text in (printed(frame, form) for form in ("markdown", "latex", "html")):
        assert "Smoke run: shortened training" in text
        assert "Rows differ in device" in text


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (1.23456, 0.0321, "1.235 ± 0.032"),
        (-1234.5, 99.0, "−1234 ± 99"),
        (5.0, 0.0, "5.000"),
        (5.0, math.nan, "5.00"),
        (0.0, 0.0, "0"),
        (math.nan, 1.0, ""),
        (1e-9, 1e-10, "1.00e−09 ± 1.0e−10"),
    ],
)
def test_a_value_and_its_spread_are_rounded_together(value, spread, text):
    assert " ".join(filter(None, table._spread(value, spread))) == text


def test_the_images_are_said_to_be_of_the_train_split(frame):
    text = printed(frame)
    assert "Train loss" in text and "Train accuracy (%)" in text
    assert "Train images: " in text and "Train images for curvature and sharpness: 300." in text
    assert "Train images: 300." in printed(frame, of=table.sharpness)
