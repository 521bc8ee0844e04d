"""How many runs a search has at most is said before any of them is known."""

import pytest

from perturb import studies
from perturb.config import Config
from perturb.search.listing import by_stage, said

LR = {"stage": "lr", "method": "tuned_lr-{lr}_sgd_6", "nuisance": {"lr": [0.001, 0.01, 0.1, 1]}}


@pytest.fixture
def text_of(raw_config, root):
    """What is said of a search with these stages."""

    def made(*stages):
        search = {"dataset": "digits", "model": "cnn", "stages": list(stages)}
        raw_config["tune"]["searches"]["f"] = search
        config = Config(raw_config, root / "config" / "schema.yaml")
        chapter = studies.chapter(config, "tune_f")
        runs = {run for of_stage in by_stage(config, chapter).values() for run in of_stage}
        assert f"at most {len(runs)} runs, " in said(config, chapter)
        return said(config, chapter)

    return made


def test_halving_says_how_many_it_trains_at_most(text_of):
    halved = {**LR, "halving": {"epochs": [1, 2], "keep": 0.5}}
    assert text_of(halved) == (
        "at most 4 runs, 0 of them known before any has run (stage lr: 4, of which halving trains "
        "1 to the end)"
    )
    assert "halving trains 2 to the end" in text_of({**halved, "seeds": [0, 1]})


def test_stages_that_wait_for_a_choice_are_counted_at_most(text_of):
    rest = (
        {"stage": "near", "after": "lr", "nuisance": {"lr": {"times": [0.5, 1, 2]}}},
        {"stage": "again", "after": "near", "repeat": [1, 2]},
    )
    # One of the factors is 1: that run is the first stage's.
    assert text_of(LR, *rest) == (
        "at most 8 runs, 4 of them known before any has run (stage lr: 4; stage near: 3; stage "
        "again: 2)"
    )
    sampled = {"lr": {"low": 0.01, "high": 1}}
    assert "at most 6 runs, 0 of them known" in text_of(
        {**LR, "nuisance": sampled, "sampler": "tpe", "trials": 6, "rounds": 3}
    )


def test_refused_trials_are_said_and_nothing_starts_from_them(text_of):
    found = text_of(
        {**LR, "nuisance": {"lr": [-0.1, 0.1]}}, {"stage": "again", "after": "lr", "repeat": [1]}
    )
    assert "at most 2 runs, 1 of them known" in found
    assert (
        "(stage lr: 1, and 1 refused, such as: train settings of digits/cnn/tuned_lr--0.1" in found
    )
    assert found.endswith("; stage again: 1)")


def test_other_chapters_have_their_runs(raw_config, root):
    config = Config(raw_config, root / "config" / "schema.yaml")
    chapter = studies.chapter(config, "digits")
    assert said(config, chapter) == f"{len(chapter.runs)} runs"
