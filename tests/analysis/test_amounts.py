"""How much of which split runs used, in words."""

import json

import pytest

from perturb.analysis.amounts import data_of


@pytest.mark.parametrize(
    ("dataset", "limit", "used", "said"),
    [
        ("digits", None, (1437, 360), "whole"),
        (
            "digits",
            (200, 50),
            (200, 50),
            "partial (200 of 1,437 train images, 50 of 360 test images)",
        ),
        (
            "digits",
            (200, 999),
            (200, 360),
            "partial (200 of 1,437 train images, all 360 test images)",
        ),
        (
            "digits_noise-0.4",
            (9999, 9),
            (1437, 9),
            "partial (all 1,437 train images, 9 of 360 test images)",
        ),
        ("digits", (1437, 360), (1437, 360), "whole"),
        ("mine", (10000, 5), (32, 5), "partial (all 32 train images, 5 test images)"),
        ("mine", (10000, 500), (32, 8), "whole"),
        ("mine", (1, 1), (1, 1), "partial (1 train image, 1 test image)"),
        ("mine", (1, 500), (1, 8), "partial (1 train image, all 8 test images)"),
    ],
)
def test_each_split_is_told_by_itself(dataset, limit, used, said):
    names = ("train", "test")
    given = dict(zip(names, limit, strict=True)) if limit else None
    run = {
        "dataset": dataset,
        "specification": json.dumps({"limit": given}),
        "images": json.dumps(dict(zip(names, used, strict=True))),
        "partial_data": False,
    }
    assert data_of(run) == said


def test_incomplete_files_are_partial_too():
    run = {"dataset": "cifar10", "specification": "{}", "partial_data": True}
    counts = json.dumps({"train": 1117, "test": 10000})
    said = "partial (1,117 of 50,000 train images, 10,000 of 10,000 test images)"
    assert data_of(run | {"images": counts}) == said
    assert data_of(run | {"images": "{}"}) == "partial"
