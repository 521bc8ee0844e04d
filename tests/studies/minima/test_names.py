import pytest
from hypothesis import given
from hypothesis import strategies as some

from perturb.errors import PerturbError
from perturb.studies.minima import names
from perturb.studies.minima.names import Name, number_stored

EXAMPLES = (
    "repel_40",
    "repel_strength-10_every-150_600",
    "repel_strength-10_width-0.01_every-20_keep-merge_lr-0.1_schedule-cosine_period-20_100",
    "clone_at-20_strength-10_start-true_trace-20_20_of_repel_40",
    "clone_20_of_pugdr_isin_2_0.01_30",
    "clone_5_of_clone_10_of_repel_40",
    "wgd_members-5_20",
)


@pytest.mark.parametrize("text", EXAMPLES)
def test_names_print_back(text):
    assert names.format(names.parse(text)) == text


def test_defaults_and_spellings_are_one_name():
    found = names.parse("repel_width-1e-3_strength-10.0_every-150_600")
    assert names.format(found) == "repel_strength-10_every-150_600"
    again = names.parse("clone_20_of_repel_width-0.001_40")
    assert again.parent == "repel_40"


@given(
    strength=some.floats(1e-3, 1e3),
    width=some.floats(1e-6, 1e3),
    every=some.integers(1, 50),
    keep=some.sampled_from(names.CHOICES["keep"]),
    epochs=some.integers(51, 999),
)
def test_any_settings_print_back(strength, width, every, keep, epochs):
    values = {**names.SETTINGS, "strength": strength, "width": width, "every": every, "keep": keep}
    name = Name("repel", values, epochs)
    assert names.parse(names.format(name)) == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("repel_strength-10_40", "nothing would push"),
        ("repel_strength-10_every-40_40", "nothing would push"),
        ("repel_schedule-cosine_40", "needs a period"),
        ("repel_period-5_40", "needs a period"),
        ("repel_kernel-gauss_40", "kernel is rbf, tanh"),
        ("repel_boost-true_40", "need a strength"),
        ("repel_displace-5_40", "of clones"),
        ("repel_width-0_40", "above 0"),
        ("repel_lr--1_40", "above 0"),
        ("clone_20", "what it is a clone of"),
        ("repel_20_of_repel_20", "what it is a clone of"),
        ("clone_20_of_nothing_20", "nothing_20"),
        ("wgd_members-1_20", "2 or more"),
        ("wgd_20", "members is missing"),
        ("repel_sigma-3_40", "no setting of repel"),
    ],
)
def test_names_that_do_not_fit(text, says):
    with pytest.raises(PerturbError, match=says):
        names.parse(text)


def test_the_plain_run_of_a_name():
    found = names.parse("repel_strength-10_width-0.01_every-20_lr-0.1_anneal-step_period-7_40")
    plain = found.plain()
    assert plain.values["lr"] == 0.1
    assert plain.values["every"] == 20
    assert names.format(plain) == "repel_every-20_lr-0.1_40"
    assert names.parse(names.format(plain)) == plain


@pytest.mark.parametrize(
    ("settings", "epochs", "expected"),
    [
        ({"every": 20}, 100, 4),
        ({"every": 20}, 101, 5),
        ({"every": 20, "most": 1}, 100, 1),
        ({"every": 20, "keep": "merge"}, 100, 1),
        ({"start": True}, 20, 1),
        ({"start": True, "every": 5}, 20, 4),
        ({}, 20, 0),
    ],
)
def test_how_many_distances_a_run_records(settings, epochs, expected):
    assert number_stored({**names.SETTINGS, **settings}, epochs) == expected
