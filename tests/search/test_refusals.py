"""Values that no run can have are refused with the configuration; numbers out of range are rows."""

import re

import pytest

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.search.listing import search_of
from perturb.search.steps import first_trials
from perturb.search.study import naming_of

LR, BASE = "tuned_lr-{lr}_sgd_6", "tuned_base-{base}_sgd_6"
EPOCHS, BATCH = "tuned_lr-0.1_sgd_{e}", "tuned_batch-{batch}_sgd_6"


@pytest.fixture
def chapter(raw_config, root):
    """The chapter of a search with these stages, as a configuration has it."""

    def made(*stages, asked=True):
        named = [{"stage": "abc"[at], **stage} for at, stage in enumerate(stages)]
        search = {"dataset": "digits", "model": "small_vit", "stages": named}
        raw_config["tune"]["searches"]["f"] = search
        raw_config["chapters"] = ["tune_f"] if asked else ["digits"]
        config = Config(raw_config, root / "config" / "schema.yaml")
        return config, studies.chapter(config, "tune_f")

    return made


WRONG = [
    ([{"method": LR, "nuisance": {"lr": [0.01, -0.1, "fast"]}}], "stage a: lr cannot be 'fast'. "),
    ([{"method": LR, "nuisance": {"lr": [0.01, True]}}], "stage a: lr cannot be true. "),
    ([{"method": LR, "nuisance": {"lr": [0.01, ""]}}], "stage a: lr cannot be ''. "),
    (
        [{"method": LR, "nuisance": {"lr": [0.1, "x"]}, "trials": 4, "sampler": "tpe"}],
        "stage a: lr cannot be 'x'. ",
    ),
    (
        [{"method": BASE, "scientific": {"base": ["adam", "sgdd"]}}],
        "base cannot be 'sgdd'. .*Did you mean 'sgd'",
    ),
    ([{"method": BASE, "scientific": {"base": ["adam", 3]}}], "base is text, not 3. "),
    ([{"method": EPOCHS, "nuisance": {"e": [1, 2.5]}}], "e is a whole number, not 2.5. Give"),
    (
        [{"method": EPOCHS, "nuisance": {"e": {"low": 3, "high": 30}}, "trials": 4}],
        "e is a whole number, not .* Set integer: true",
    ),
    (
        [{"method": BATCH, "nuisance": {"batch": {"low": 4, "high": 64, "points": 3}}}],
        "batch is a whole number, not .* Set integer: true",
    ),
    (
        [{"method": LR, "nuisance": {"lr": [0.1]}}, {"after": "a", "nuisance": {"lr": [1, "x"]}}],
        "stage b: lr cannot be 'x'. ",
    ),
    (
        [{"method": LR, "nuisance": {"lr": [1, 2]}, "halving": {"epochs": [2, 6]}}],
        "the last rung of halving is at 6 epochs, and its runs have 6. Give rungs below",
    ),
]


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(("stages", "says"), WRONG)
def test_a_value_of_the_wrong_type_is_refused_with_the_configuration(chapter, stages, says, asked):
    with pytest.raises(PerturbError, match=rf"^config, tune.searches.f, .*{says}"):
        chapter(*stages, asked=asked)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nuisance": {"lr": [0.1, None]}}, "lr cannot be null. Each of its values is one"),
        ({"nuisance": {"lr": [0.1, [1]]}}, r"lr cannot be \[1\]. Each of its values is one"),
        ({"nuisance": {"lr": [{"low": 1}]}}, "lr cannot be {'low': 1}. Each of its values"),
        ({"fixed": {"lr": None}}, "lr cannot be null. Each of its values is one"),
        ({"nuisance": {"lr": {"low": "few", "high": 1}}}, "low of lr is no number: few. Give one"),
        ({"after": "a", "nuisance": {"lr": {"times": [1, "x"]}}}, "times of lr is no number: x."),
    ],
)
def test_what_is_no_value_at_all_is_refused(chapter, given, says):
    with pytest.raises(PerturbError, match=says):
        chapter({"method": LR, "nuisance": {"lr": [0.1]}}, {"method": LR, **given})


def test_text_is_not_multiplied(chapter):
    stages = (
        {"method": BASE, "scientific": {"base": ["adam", "sgd"]}},
        {"after": "a", "repeat": [1]},
        {"after": "b", "nuisance": {"base": {"times": [1, 2]}}},
    )
    with pytest.raises(PerturbError, match=r"stage c: `times` of base multiplies .* it is adam"):
        chapter(*stages)


@pytest.mark.parametrize(
    "stages",
    [
        [{"method": LR, "nuisance": {"lr": ["fast", "slow"]}}],
        [{"method": LR, "nuisance": {"lr": [-1, -0.1]}}],
        [{"method": LR, "fixed": {"lr": "fast"}}],
        [{"method": "foo_{lr}_3", "nuisance": {"lr": [1]}}],
        [{"method": LR, "nuisance": {"lr": [1]}}, {"after": "a", "nuisance": {"lr": ["x"]}}],
    ],
)
def test_a_stage_whose_every_trial_is_refused_is_refused_where_it_is_asked_for(chapter, stages):
    with pytest.raises(PerturbError, match="every trial is refused, so nothing can be") as found:
        chapter(*stages)
    says = str(found.value)
    assert says.endswith("Change the values of its parameters.")
    assert not re.search(r"[.?!][;.,)]", says.replace("...", "")), "sentences end once"
    # Another chapter's user is not told of it: settings of all chapters may be the reason.
    chapter(*stages, asked=False)


@pytest.mark.parametrize(
    ("stages", "trials", "refused"),
    [
        ([{"method": LR, "nuisance": {"lr": [0.01, -0.1, "inf"]}}], 3, 2),
        ([{"method": LR, "nuisance": {"lr": [0.01, -0.5, 0.5]}}], 3, 1),
        ([{"method": "adamw_lr-0.1_beta2-{b}_6", "scientific": {"b": [0.9, 1]}}], 2, 1),
        # Words and numbers that a method's name takes in one place.
        ([{"method": "tuned_pugdt_{when}_5", "scientific": {"when": [2, "accdrop"]}}], 2, 0),
        ([{"method": LR, "nuisance": {"lr": [1]}, "halving": {"epochs": [2, 5]}}], 1, 0),
    ],
)
def test_a_number_out_of_its_range_stays_a_row(chapter, stages, trials, refused):
    config, found = chapter(*stages)
    search = search_of(found)
    listed = first_trials(search.stages[0], naming_of(config, search))
    assert (len(listed), sum(bool(one.refused) for one in listed)) == (trials, refused)


def test_factors_that_leave_the_range_stay_rows(chapter):
    first = {"method": LR, "nuisance": {"lr": [0.1]}}
    chapter(first, {"after": "a", "nuisance": {"lr": {"times": [1, 1e30]}}})
