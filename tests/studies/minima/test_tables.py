from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perturb.studies.minima import claims, law, tables
from perturb.studies.minima.reading import Left

METHOD = "repel_strength-10_width-0.01_every-4_most-1_12"


def left(method, epochs, seed=0):
    """Return a run with the given epochs, as it would be read from its files."""
    found = Left(method, seed, "ok", Path("record.json"), 45)
    found.__dict__["epochs"] = pd.DataFrame(epochs)
    return found


def pushed(distances, seed=0):
    return left(METHOD, {"distance_1": [np.nan] * 4 + list(distances)}, seed)


def test_epochs_to_a_share_of_the_last_distance():
    run = pushed([10, 50, 85, 90, 95, 98, 99, 100])
    assert run.pushed_from == 4
    assert tables.epochs_to(run, 0.9) == 4
    assert tables.epochs_to(pushed([100] * 8), 0.9) == 1
    assert tables.epochs_to(left(METHOD, {"distance_1": [np.nan] * 12}), 0.9) is None


def test_a_run_that_still_moves_has_not_settled():
    assert tables.settled(pushed([10, 50, 85, 95, 98, 99, 99, 100]))
    assert not tables.settled(pushed([10, 20, 30, 40, 50, 60, 70, 80]))


def test_the_newest_distance_is_that_of_the_last_stored():
    run = left(METHOD, {"distance_1": [np.nan, 5, 6, 7], "distance_2": [np.nan, np.nan, 1, 2]})
    assert run.newest.tolist()[1:] == [5, 1, 2]


def test_a_row_of_the_law():
    runs = [pushed([500.0] * 8), pushed([510.0] * 8, 1)]
    row = tables.law_row(METHOD, runs, base=20.0)
    predicted = law.distance(20, 10, 0.01, 1e-3)
    assert row["predicted_distance"] == pytest.approx(predicted)
    assert row["distance_mean"] == 505
    assert row["relative_error"] == pytest.approx(predicted / 505 - 1)
    assert row["settled"]
    assert row["escape_epochs"] == pytest.approx(law.escape_steps(10, 0.01, 1e-3, 0.01, 0.9) / 45)
    unknown = tables.law_row("repel_strength-0.1_every-4_12", [], base=20.0)
    assert unknown["predicted_distance"] is None and unknown["escape_steps"] is None


def test_the_best_of_a_cycle_is_chosen_by_validation():
    run = left(
        "repel_strength-10_every-2_6",
        {
            "validation_accuracy": [0.5, 0.6, 0.9, 0.7, 0.8, 0.8],
            "test_accuracy": [0.9, 0.4, 0.5, 0.9, 0.6, 0.7],
            "distance_1": [np.nan, np.nan, 10, 20, 18, 16],
        },
    )
    row = tables.cycles_row("repel_strength-10_every-2_6", [run])
    assert row["best_by_cycle"] == "0.4 0.5 0.6"
    assert row["slope_mean"] == pytest.approx(0.1)
    assert row["largest_distance_1_mean"] == 20
    assert row["last_share_of_distance_1_mean"] == pytest.approx(0.8)


def path(errors, label="a clone", kind="line", seed=0):
    shares = np.linspace(0, 1, len(errors))
    frame = pd.DataFrame({"share": shares, "error": errors, "loss": 0.0, "distance": 9.0})
    return frame.assign(label=label, path=kind, seed=seed)


def test_a_row_of_the_valley():
    found = pd.concat([path([0.02, 0.10, 0.04]), path([0.02, 0.03, 0.04], kind="curve")])
    method = "clone_start-true_trace-20_2_of_repel_2"
    run = left(method, {"epoch": [0, 1]})
    series = {"trace_error": np.array([[0.02, np.nan], [0.05, 0.03]])}
    object.__setattr__(run, "series", lambda: series)  # frozen
    (row,) = tables.valley_rows("a clone", method, found, [run], 0.02)
    assert row["barrier_line"] == pytest.approx(0.07)
    assert row["barrier_curve"] == pytest.approx(0.01)
    assert row["path_height"] == pytest.approx(0.01)
    assert row["verdict"] == "curved valley"
    (alone,) = tables.valley_rows("independent", "", found, [], 0.02)
    assert alone["path_height"] is None and alone["verdict"] == "barrier"


def ensembles(accuracies, member=0.9):
    return pd.DataFrame(
        {
            "method": "repel_2",
            "members": 3,
            "gradient_evaluations_epochs": 12,
            "accuracy": accuracies,
            "member_accuracy_mean": member,
            "member_accuracy_last": member,
            "member_accuracy_best": member,
            **dict.fromkeys(("nll", "ece", "brier", "relative", "all_agree", "weight_cosine"), 0.5),
            "images": 100,
        }
    )


def test_a_row_of_the_ensembles():
    row = tables.ensemble_row("all", "logits", ensembles([0.92, 0.94]))
    assert row["accuracy_mean"] == pytest.approx(0.93)
    assert row["gain_over_mean_mean"] == pytest.approx(0.03)
    assert row["epochs"] == 12 and row["seeds"] == 2


def rates(*kernel):
    """A table of three rates, plain 80, 85, 90 % at each of three seeds, and so with the kernel."""
    rows = [
        {
            "method": f"repel_{push}every-20_most-1_lr-{lr}_40",
            "seeds": "0 1 2" if mean else None,
            "by_seed": " ".join(str((mean + at * step) / 100) for at in range(3)) if mean else None,
            "diverged_runs": 0 if mean else 3,
            "chance": 0.1,
        }
        for push, means in (("", (80, 85, 90)), ("strength-10_width-0.01_", kernel))
        for lr, mean, more in zip(("1e-3", "0.01", "0.1"), means, (0, 0.1, 0.2), strict=True)
        for step in [1 + more * bool(push)]
    ]
    return pd.DataFrame(rows)


def test_learning_rates_are_stabilised_only_where_the_seeds_agree():
    def told(frame):
        return claims.rates_are_stabilised({"hyperparameters": frame})

    steady = told(rates(84, 85, 87))
    assert steady == claims.Answer(
        claims.YES,
        "range over lr 0.001, 0.01, 0.1: plain 10.00, kernel 3.20 points; difference −6.80 "
        "[−7.30, −6.30] points",
    )
    assert told(rates(70, 85, 90)).verdict == claims.NO
    diverged = told(rates(80, 85, None))  # chance, 10 %, at every seed
    assert diverged.verdict == claims.NO and "kernel 76.10" in diverged.ours
    mixed = rates(80, 85, 90)
    mixed.loc[5, "by_seed"] = "0.80 0.95 0.99"
    assert told(mixed).verdict == claims.OPEN
    assert told(rates(80, 85, 90).iloc[[0, 3]]) is None


def test_claims_are_answered_by_numbers():
    rows = pd.DataFrame(
        {
            "method": ["repel_every-2_4", "repel_strength-10_every-2_4"],
            "reference": "repel_every-2_4",
            "verdict": ["reference", "equivalent"],
            "difference_to_repel_every-2_4_mean": [np.nan, 0.001],
            "difference_to_repel_every-2_4_ci95_low": [np.nan, -0.001],
            "difference_to_repel_every-2_4_ci95_high": [np.nan, 0.003],
            "distance_mean": [1.0, 50.0],
        }
    )
    assert claims.accuracy_stays({"baseline": rows}) == claims.Answer(
        claims.YES, "+0.10 [−0.10, +0.30] points (equivalent)"
    )
    assert claims.moves_on({"baseline": rows}).verdict == claims.YES
    worse = rows.assign(verdict=["reference", "worse"], distance_mean=[1.0, 0.5])
    assert claims.accuracy_stays({"baseline": worse}).verdict == claims.NO
    assert claims.moves_on({"baseline": worse}).verdict == claims.NO
    assert claims.accuracy_stays({"baseline": rows.assign(verdict="too few seeds")}).verdict == (
        claims.OPEN
    )
    assert claims.accuracy_stays({}) is None


def test_the_law_is_judged_on_settled_points_only():
    frame = pd.DataFrame(
        {
            "settled": [True, True, False],
            "relative_error": [0.1, -0.1, 5.0],
            "relative_error_of_simple_law": [0.2, 0.2, 0.0],
        }
    )
    found = claims.law_holds({"law": frame})
    assert found.verdict == claims.YES
    assert "10.0 % against 20.0 % on 2 settled points" in found.ours
