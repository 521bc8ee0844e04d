"""Names of runs as key-value slugs: they read back, and every mistake has its message."""

import random

import pytest

from perturb import slugs
from perturb.errors import PerturbError
from perturb.slugs import Grammar

REPEL = Grammar(
    "repel", {"strength": 1.0, "width": 1.0, "every": 100, "merged": False, "kernel": "gauss"}
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (150, "150"),
        (0.05, "0.05"),
        (2e-4, "2e-4"),
        (0.001, "1e-3"),
        (2000.0, "2000"),
        (1e6, "1e6"),
        (-0.5, "-0.5"),
        (1e300, "1e300"),
        (0.0, "0"),
        (1 / 3, "0.3333333333333333"),
    ],
)
def test_a_number_is_written_as_short_as_it_reads_back(value, text):
    assert slugs.number(value) == text


def test_any_number_reads_back_to_its_last_bit():
    draw = random.Random(0)
    for _ in range(20_000):
        value = draw.choice([draw.random(), draw.gauss(0, 1) * 10.0 ** draw.randint(-300, 300)])
        assert float(slugs.number(value)) == value


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(PerturbError, match="finite"):
        slugs.number(value)


@pytest.mark.parametrize(
    "text",
    [
        "repel_600",
        "repel_strength-10_width-1e-3_every-150_600",
        "repel_merged-true_kernel-laplace_1",
        "repel_strength--2_3",
    ],
)
def test_a_name_prints_back(text):
    assert REPEL.format(REPEL.parse(text)) == text


def test_other_spellings_of_one_run_print_its_one_name():
    slug = REPEL.parse("repel_every-150.0_width-0.001_strength-1_600")
    assert slug.values["every"] == 150 and isinstance(slug.values["every"], int)
    assert REPEL.format(slug) == "repel_width-1e-3_every-150_600"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pugd_600", "first word is not 'repel'"),
        ("repel_strength-10", "ends with the number of epochs"),
        ("repel_strength-10_0", "ends with the number of epochs"),
        ("repel_10_600", "'10' is no setting"),
        ("repel_strenght-10_600", "Did you mean 'strength'"),
        ("repel_strength-10_strength-10_600", "strength stands twice"),
        ("repel_strength-ten_600", "strength is a finite number, not 'ten'"),
        ("repel_strength-1e999_600", "finite"),
        ("repel_every-1.5_600", "every is a whole number"),
        ("repel_merged-1_600", "merged is true or false"),
        ("repel_strength-١_600", r"'١' is ARABIC-INDIC DIGIT ONE \(U\+0661\)"),
        ("rеpel_600", "'е' is CYRILLIC SMALL LETTER IE"),
        ("repel_strength-10 _600", "a name has no spaces"),
        ("repel_600\n", "a name has no spaces"),
    ],
)
def test_a_mistake_is_named(text, message):
    with pytest.raises(PerturbError, match=message):
        REPEL.parse(text)


def test_a_setting_without_default_has_to_be_given():
    toy = Grammar("toy", {"dimension": None}, has_epochs=False)
    assert toy.format(toy.parse("toy_dimension-8")) == "toy_dimension-8"
    with pytest.raises(PerturbError, match="dimension is missing"):
        toy.parse("toy")
