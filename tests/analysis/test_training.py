"""What runs were trained with, in words."""

import json

import pandas as pd

from perturb.analysis import training

SPECIFICATION = {
    "learning_rate": 0.1,
    "batch_size": 100,
    "momentum": 0.9,
    "betas": [0.9, 0.999],
    "weight_decay": 0.0005,
    "augment": "standard",
}


def text_of(*changes):
    texts = [json.dumps(SPECIFICATION | change) for change in changes]
    return training.of_runs(pd.DataFrame({"specification": texts}))


def test_options_are_those_of_the_base():
    sgd, adamw = text_of({}), text_of({"base": "adamw", "precision": "bfloat16"})
    assert sgd == (
        "base optimiser: SGD; learning rate: 0.1; batch size: 100; momentum: 0.9; "
        "weight decay: 0.0005; augmentation: standard; precision: float32"
    )
    assert "momentum" not in adamw and "betas: 0.9 and 0.999" in adamw and "bfloat16" in adamw
    assert (training.base_of(sgd), training.base_of(adamw)) == ("SGD", "AdamW")
    assert training.base_of(text_of({}, {"base": "adam"})) == ""
    assert "momentum: 0.9 (Nesterov's)" in text_of({"nesterov": True})


def test_rows_that_differ_are_named():
    settings = {
        "sgd_2": text_of({}),
        "sam_0.05_2": text_of({}),
        "pugd_2": text_of({"batch_size": 40, "base": "adamw"}),
        "ugd_2": "",
    }
    said = training.said(settings, "sgd_2")
    assert said.startswith("Training: base optimiser SGD (AdamW in pugd_2), learning rate 0.1, ")
    assert "batch size 100 (40 in pugd_2), momentum 0.9, " in said
    many = {f"sam_{n}_2": text_of({"batch_size": 40}) for n in range(1, 6)}
    said = training.said({"sgd_2": text_of({}), **many}, "sgd_2")
    assert "(40 in sam_1_2, sam_2_2, sam_3_2 and 2 more)" in said
    within = training.said({"sgd_2": text_of({}, {"batch_size": 40})}, "sgd_2")
    assert "batch size 100 and 40," in within or "batch size 40 and 100," in within


def test_runs_that_train_nothing_have_no_settings():
    assert training.of_runs(pd.DataFrame({"specification": ['{"width": 1.0}']})) == ""
    assert training.of_runs(pd.DataFrame()) == training.said({"sgd_2": ""}, "sgd_2") == ""
