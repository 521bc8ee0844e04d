"""What a page says of a method's name."""

import pytest

from perturb import names
from perturb.analysis.explained import HEIGHT, WIDTH, explain


@pytest.mark.parametrize("name", names._EXAMPLES)
def test_every_kind_of_name_is_explained(name):
    text = explain(name).text
    assert text.endswith(".") and "{" not in text and "notebook" not in text
    epochs = names.parse(name).epochs
    assert f"{epochs} epochs." in text


@pytest.mark.parametrize("name", ["", "cdg", "repel_strength-10_600", "pugdr_isin_2"])
def test_a_name_of_another_grammar_is_not_guessed_at(name):
    assert explain(name) is None


def test_a_schedule_is_said_and_drawn_from_its_first_epoch_to_its_last():
    (radius,) = explain("pugdr_cos_2_0_4").schedules
    # 2 cos(pi t / 8) at t = 0 and 3
    assert radius.words == "Radius from 2 to 0.765 (cos)"
    points = [tuple(map(float, point.split(","))) for point in radius.points.split()]
    assert points[0] == (1, 1) and points[-1] == (WIDTH - 1, HEIGHT - 1)
    assert [y for _, y in points] == sorted(y for _, y in points), "it falls"
    radius, scale = explain("pugdrs_isin2_0.01_const0.5_30").schedules
    assert radius.words.startswith("Radius from 100 to ")
    assert scale.words == "Scale 0.5 throughout"
    assert len({point.split(",")[1] for point in scale.points.split()}) == 1


def test_timing_says_when():
    assert "Plain SGD first, PUGD from epoch 80 on." in explain("pugdt_80_400").text
    delta = explain("pugdt_delta_100xi10mu3_t3").text
    assert "3 times their mean distance over epochs 0 to 9, checked every 3 epochs" in delta
    assert "SAM (Foret et al. 2021" in explain("sam_0.05_400").text
    assert "Rho 0.05." in explain("sam_0.05_400").text


def test_the_base_optimiser_is_named_where_it_is_not_sgd():
    assert explain("sgd_2").text.startswith("Plain SGD: the gradient itself.")
    assert explain("sgd_2", "AdamW").text.startswith("The gradient itself, taken by AdamW.")
    assert "Its steps are taken by AdamW." in explain("sam_0.05_2", "AdamW").text
    assert "Plain AdamW first, PUGD from" in explain("pugdt_1_2", "AdamW").text
    for name in names._EXAMPLES:
        for base in ("AdamW", ""):
            found = explain(name, base)
            assert "SGD" not in found.text.replace("PUGD", "") or "GSAM" in found.text, found.text
