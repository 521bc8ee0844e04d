"""Intervals over seeds and images, accuracy without copies: closed form, bootstrap, coverage."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from perturb.analysis import coverage, display, images, printers, runs, tables
from perturb.analysis.images import TestImages
from perturb.errors import PerturbError
from perturb.predictions.files import Predictions

from .study import row_of, small_plan, write_run


def answers(seeds, number, seed=0, spread=0.1):
    """Return correctness [seeds, images] of images of their own difficulty."""
    generator = np.random.default_rng(seed)
    logits = (
        1.2 + generator.standard_normal(number) + spread * generator.standard_normal((seeds, 1))
    )
    return (generator.standard_normal((seeds, number)) < logits).astype(float)


def test_where_every_image_answers_alike_it_is_the_t_interval_over_seeds():
    values = np.repeat(np.array([[0.1], [0.5], [0.3]]), 1000, axis=1)
    expected = stats.t.interval(0.95, 2, 0.3, stats.sem(values[:, 0]))
    assert images.interval(values) == pytest.approx(expected, rel=1e-6)


def test_where_every_seed_answers_alike_it_is_the_interval_over_images():
    values = np.repeat(answers(1, 400), 5, axis=0)
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values[0]))
    assert images.interval(values) == pytest.approx(expected, rel=1e-6)


def test_its_width_is_that_of_resampling_seeds_and_images():
    """The pigeonhole bootstrap (Owen 2007), which is a little too wide: no component is removed."""
    values, generator = answers(10, 500, seed=3), np.random.default_rng(4)
    means = [
        values[generator.integers(0, 10, 10)][:, generator.integers(0, 500, 500)].mean()
        for _ in range(4000)
    ]
    low, high = images.interval(values)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(means), rel=0.15)


@pytest.mark.parametrize("values", [np.ones((3, 5)), np.zeros((1, 9)), np.zeros((0, 0))])
def test_without_spread_there_is_none(values):
    assert images.interval(values) is None


@pytest.mark.parametrize(("seeds", "number"), [(3, 1000), (10, 100)])
def test_it_covers(seeds, number):
    for measured in coverage.image_coverage(seeds, number, replicates=300):
        if "over seeds and images" in measured.what:
            assert measured.rate > measured.nominal - 4 * measured.error, measured


def test_the_t_interval_over_seeds_does_not_cover_for_other_images():
    of_seeds = coverage.image_coverage(10, 100, replicates=200)[-1]
    assert of_seeds.what.startswith("t interval over seeds") and of_seeds.rate < 0.85


def predicted(method, seed, correct, indices=None, weights="f" * 64):
    correct = np.asarray(correct, dtype=bool)
    attributes = {
        "dataset": "digits",
        "model": "cnn",
        "method": method,
        "seed": seed,
        "final_weights_sha256": weights,
        "record_accuracy": float(correct.mean()),
    }
    indices = np.arange(len(correct)) if indices is None else indices
    return Predictions(indices, correct.astype(int), correct, attributes)


METHODS = ("sgd_30", "pugd_30")


def made(folder, of_run, seen=(), leakage=()):
    """Return the table of two methods whose runs answered so, [method][seed][image]."""
    plan = small_plan(METHODS, predicted=True)
    paths, found = [], []
    for method, seeds in zip(METHODS, of_run, strict=True):
        for seed, correct in enumerate(seeds):
            paths.append(write_run(folder, method, seed, accuracy=float(np.mean(correct))))
            found.append(predicted(method, seed, correct))
    return tables.build(plan, runs.collect(paths), TestImages(found, seen), leakage)


def test_the_table_has_accuracy_without_copies_and_intervals_over_images(tmp_path):
    ours, theirs = answers(3, 200, seed=1), answers(3, 200, seed=2)
    seen = np.arange(0, 200, 4)
    leakage = ["50 of 200 test images have a copy", "another"]
    table = made(tmp_path, (ours, theirs), seen, leakage)
    sgd, pugd = row_of(table, "sgd_30"), row_of(table, "pugd_30")
    kept = np.delete(np.arange(200), seen)
    column = "last_epoch_test_accuracy_without_duplicates_mean"
    assert sgd[column] == pytest.approx(ours[:, kept].mean())
    assert pugd[column] == pytest.approx(theirs[:, kept].mean())
    low, high = images.interval(ours - theirs)
    stem = "difference_to_pugd_30_seeds_and_images_ci95"
    assert (sgd[f"{stem}_low"], sgd[f"{stem}_high"]) == pytest.approx((low, high))
    assert pd.isna(pugd[f"{stem}_low"])
    assert table.warnings[0] == "Data set digits: 50 of 200 test images have a copy."
    assert table.warnings[1] == "Data set digits: another."
    text = printers.markdown(display.table_of(table))
    assert "Without duplicates" in text and "Over seeds and images" in text
    assert f"{100 * ours[:, kept].mean():.2f}" in text


def test_of_two_seeds_there_is_no_interval_over_images(tmp_path):
    """It would be narrower than that over seeds, whose spread two seeds do not tell."""
    table = made(tmp_path, (answers(2, 200, seed=1), answers(2, 200, seed=2)))
    stem = "difference_to_pugd_30"
    assert pd.notna(row_of(table, "sgd_30")[f"{stem}_ci95_low"])
    assert pd.isna(row_of(table, "sgd_30")[f"{stem}_seeds_and_images_ci95_low"])
    assert "Over seeds and images" not in printers.markdown(display.table_of(table))


def test_without_copies_there_is_no_such_column(tmp_path):
    table = made(tmp_path, (answers(3, 50, seed=1), answers(3, 50, seed=2)))
    assert table.frame["last_epoch_test_accuracy_without_duplicates_mean"].isna().all()
    text = printers.markdown(display.table_of(table))
    assert "Without duplicates" not in text and "copy" not in " ".join(table.warnings)


def test_predictions_of_other_weights_are_refused(tmp_path):
    path = write_run(tmp_path, "sgd_30", 0)
    found = TestImages([predicted("sgd_30", 0, [1, 0], weights="0" * 64)])
    with pytest.raises(PerturbError, match="predictions are of other weights"):
        found.correct(runs.collect([path]).to_dict("records"))


@pytest.mark.parametrize("lacking", ["a run's", "an image"])
def test_what_was_not_predicted_alike_gives_no_numbers(tmp_path, lacking):
    paths = [write_run(tmp_path, "sgd_30", seed) for seed in range(2)]
    other = np.array([0, 1, 3]) if lacking == "an image" else None
    found = [predicted("sgd_30", 0, [1, 0, 1])]
    found += [predicted("sgd_30", 1, [1, 1, 1], other)] if lacking == "an image" else []
    answered = TestImages(found, [0]).correct(runs.collect(paths).to_dict("records"))
    assert answered == {} and TestImages(found, [0]).without_copies(answered) is None


def test_predictions_of_another_device_are_said(tmp_path):
    plan = small_plan(METHODS, predicted=True, seeds=(0,))
    paths = [write_run(tmp_path, method, 0) for method in METHODS]
    found = [predicted(method, 0, [1, 0, 1]) for method in METHODS]
    found[0].attributes["record_accuracy"] = 1.0
    table = tables.build(plan, runs.collect(paths), TestImages(found))
    assert any("another accuracy" in text and "sgd_30" in text for text in table.warnings)
