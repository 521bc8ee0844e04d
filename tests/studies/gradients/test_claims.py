"""Each claim of the log comes out, or does not, as the numbers that were made up for it say."""

import pandas as pd
import pytest

from perturb.studies.gradients import table

from .made_up import LOG_COSINES, material, row

YES, NO = "comes out", "does not come out"


def found(words, rows=(), **frames):
    """Return the claims that begin with `words`, from rows of a table and of the material."""
    known = pd.DataFrame(rows or [row("cdg", 400)])
    return [c for c in table.claims(known, material(**frames)) if c.claim.startswith(words)]


def only(words, rows=(), **frames):
    (claim,) = found(words, rows, **frames)
    return claim


CDG = "CDG lowers the loss at least as much as NES"


@pytest.mark.parametrize(
    ("difference", "p_value", "verdict"),
    [
        (0.01, 0.06, YES),
        (0.01, 0.04, NO),
        (-0.01, 0.04, YES),
        (-0.01, 0.06, YES),
    ],
)
def test_only_a_significantly_larger_decrease_speaks_against_the_coordinate_gradient(
    difference, p_value, verdict
):
    rows = [
        row("cdg"),
        row("nes_rank", to_cdg_mean=-0.02, to_cdg_p_value_holm=0.001),
        row("spsa", to_cdg_mean=difference, to_cdg_p_value_holm=p_value),
    ]
    hidden, _ = found(CDG, rows)
    assert hidden.claim.endswith("raw, hidden layers") and hidden.verdict == verdict
    larger = int(difference > 0)
    most = max(difference, -0.02)
    assert hidden.ours.startswith(f"2 arms of NES and SPSA: {larger} with the larger mean")
    assert f"(at most {most:+.4f}, d 8 spsa 500), {int(verdict == NO)} of them" in hidden.ours
    assert ("(d 8 spsa 500: +0.0100)" in hidden.ours) == (verdict == NO)


def test_a_straight_through_estimate_is_no_rival_of_the_coordinate_gradient():
    better = {"to_cdg_mean": 0.5, "to_cdg_p_value_holm": 0.001, "decrease_all_mean": 9.0}
    rows = [row("cdg"), row("nes_plain"), row("ste_clip", 1, **better)]
    assert [claim.verdict for claim in found(CDG, rows)] == [YES, YES]
    assert found(CDG, [row("cdg"), row("ste_clip", 1, **better)]) == []


@pytest.mark.parametrize(("at_8", "at_16", "verdict"), [
    (0.50, 0.10, YES),  # as much as the coordinate gradient at its own dimension
    (0.49, 0.11, NO),
    (0.51, 0.09, NO),
    (0.30, -0.2, YES),
])  # fmt: skip
def test_with_all_layers_every_mean_is_compared_at_its_own_dimension(at_8, at_16, verdict):
    rows = [
        row("cdg", decrease_all_mean=0.5),
        row("cdg", dimension=16, decrease_all_mean=0.1),
        row("nes_plain", decrease_all_mean=at_8),
        row("nes_plain", dimension=16, decrease_all_mean=at_16),
    ]
    hidden, every = found(CDG, rows)
    assert every.claim.endswith("raw, all layers")
    assert (hidden.verdict, every.verdict) == (YES, verdict)
    most = max(at_8 - 0.5, at_16 - 0.1)
    assert f"{int(verdict == NO)} of 2 arms" in every.ours and f"{most:+.4f}" in every.ours


def test_raw_and_pretrained_networks_are_judged_apart():
    trained = {"pretraining": 2000}
    better = {"to_cdg_mean": 0.01, "to_cdg_p_value_holm": 0.01, "decrease_all_mean": 0.05}
    rows = [row("cdg"), row("nes_plain"), row("cdg", **trained), row("nes_plain", **trained)]
    rows[3] |= better
    verdicts = {claim.claim.partition(", ")[2]: claim.verdict for claim in found(CDG, rows)}
    assert verdicts == {
        "raw, hidden layers": YES,
        "raw, all layers": YES,
        "pre-trained, hidden layers": NO,
        "pre-trained, all layers": NO,
    }
    assert [bool(claim.log) for claim in found(CDG, rows)] == [True, True, False, False]


FEW = "Plain NES with 500 evaluations falls apart as d grows"


@pytest.mark.parametrize(
    ("plain", "verdict"),
    [
        # Shares of the coordinate gradient's 0.04, 0.02 and 0.02: the first is 0.6.
        ((0.024, 0.0058, 0.0058), YES),  # 0.29 and 0.29, below half of 0.6
        ((0.024, 0.0062, 0.0058), NO),  # 0.31 at d 16
        ((0.024, 0.0058, 0.0062), NO),
        ((0.024, -0.01, 0.0), YES),
        ((0.024, 0.012, 0.012), NO),  # halves, but so does the coordinate gradient
    ],
)
def test_plain_nes_falls_apart_where_its_share_more_than_halves(plain, verdict):
    rows = []
    for d, decrease, cdg in zip((8, 16, 32), plain, (0.04, 0.02, 0.02), strict=True):
        rows += [
            row("cdg", 400, d, decrease_hidden_mean=cdg),
            row("nes_plain", 500, d, decrease_hidden_mean=decrease),
            # Neither more evaluations nor another arm nor a trained network is asked.
            row("nes_plain", 5000, d, decrease_hidden_mean=0.024 if verdict == YES else 0.0),
            row("nes_rank", 500, d, decrease_hidden_mean=0.024 if verdict == YES else 0.0),
            row("nes_plain", 500, d, pretraining=9, decrease_hidden_mean=0.04),
        ]
    claim = only(FEW, rows)
    assert claim.verdict == verdict
    assert "d 8: 0.60, d 16: " in claim.ours


ANTITHETIC = "Antithetic NES is far ahead of plain"


def antithetic(plain, better, evaluations=500, dimension=8):
    rows = [
        row("cdg", 400, dimension),
        row("nes_plain", evaluations, dimension, cosines=plain),
        row("nes_antithetic", evaluations, dimension, cosines=better),
    ]
    return rows


@pytest.mark.parametrize(
    ("plain", "better", "times", "verdict"),
    [
        # c^2 / (1 - c^2) of the mean over layers 1 to 3: 0.5625 at .6, 4.2632 at .9, 1.7778 at .8.
        ((0.5, 0.6, 0.7, 0.0), (0.8, 0.9, 1.0, 0.0), "7.6", YES),
        ((0.5, 0.6, 0.7, 0.0), (0.7, 0.8, 0.9, 0.0), "3.2", NO),
        # The fourth layer is linear and does not count.
        ((0.6, 0.6, 0.6, 0.0), (0.8, 0.8, 0.8, 1.0), "3.2", NO),
        # A cosine below 0 is nothing found: its square would make .0417 and a ratio of 2.4.
        ((-0.2, -0.2, -0.2, 0.0), (0.3, 0.3, 0.3, 0.0), "98901", YES),
        ((0.9, 0.9, 0.9, 0.0), (0.6, 0.6, 0.6, 0.0), "0.13", NO),
    ],
)
def test_antithetic_is_far_ahead_where_plain_needs_over_four_times_as_much(
    plain, better, times, verdict
):
    claim = only(ANTITHETIC, antithetic(plain, better))
    assert claim.verdict == verdict
    assert claim.ours.endswith(f"plain would need {times} times the evaluations at d 8")
    assert claim.log == ""


def test_antithetic_must_be_ahead_at_every_dimension_and_is_asked_by_evaluations():
    far, near = ((0.6,) * 4, (0.9,) * 4), ((0.6,) * 4, (0.8,) * 4)
    both = [*antithetic(*far), *antithetic(*near, dimension=16)]
    assert only(ANTITHETIC, both).verdict == NO
    both = [*antithetic(*far), *antithetic(*far, dimension=16)]
    assert only(ANTITHETIC, both).verdict == YES
    two = [*antithetic(*near), *antithetic(*far, evaluations=5000)[1:]]
    few, many = found(ANTITHETIC, two)
    assert "at 500 evaluations" in few.claim and few.verdict == NO
    assert "at 5000 evaluations" in many.claim and many.verdict == YES and many.log
    trained = [line | {"pretraining": 2000} for line in antithetic(*far)]
    assert found(ANTITHETIC, trained) == []


NARROW = "After pre-training wide windows fail"


def window(width, decrease, estimator="cdg", **values):
    known = {"dimension": 8, "pretraining": 2000, "estimator": estimator, "evaluations": 400}
    return known | {"window": width, "decrease": decrease} | values


@pytest.mark.parametrize(
    ("decreases", "verdict"),
    [
        ({1: -0.1, 0.1: -0.01, 0.01: 0.02}, YES),
        ({1: -0.1, 0.1: 0.03, 0.01: 0.02}, NO),  # 0.1 is a wide one
        ({1: -0.1, 0.1: 0.01, 0.01: 0.02, 0.03: -0.5}, YES),  # the best of the narrow ones counts
        ({1: 0.03, 0.1: -0.1, 0.01: 0.02}, NO),  # and of the wide ones
        ({1: -0.2, 0.1: -0.2, 0.01: -0.1}, NO),  # less bad is not good
    ],
)
@pytest.mark.parametrize("estimator", ["cdg", "nes_antithetic"])
def test_narrow_windows_must_do_better_than_wide_ones_and_lower_the_loss(
    decreases, verdict, estimator
):
    other = {"cdg": "nes_antithetic", "nes_antithetic": "cdg"}[estimator]
    rows = [window(w, d, estimator) for w, d in decreases.items()]
    # The other estimator's, the raw networks' and plain NES's say the opposite.
    opposite = {1: -1.0, 0.01: 1.0} if verdict == NO else {1: 1.0, 0.01: -1.0}
    rows += [window(w, d, "nes_plain") for w, d in opposite.items()]
    rows += [window(w, d, estimator, pretraining=0) for w, d in opposite.items()]
    rows += [window(w, d, other) for w, d in opposite.items()]
    verdicts = {("cdg" if "(cdg" in c.claim else "nes_antithetic"): c.verdict
                for c in found(NARROW, windows=rows)}  # fmt: skip
    assert verdicts == {estimator: verdict, other: NO if verdict == YES else YES}


def test_narrow_windows_must_do_better_at_every_dimension_by_means_of_most_evaluations():
    good, bad = {1: -0.1, 0.01: 0.02}, {1: 0.1, 0.01: 0.02}
    rows = [window(w, d) for w, d in good.items()]
    assert only(NARROW, windows=rows).verdict == YES
    one = [*rows, *(window(w, d, dimension=16) for w, d in bad.items())]
    assert only(NARROW, windows=one).verdict == NO
    fewer = [*rows, *(window(w, d, evaluations=100) for w, d in bad.items())]
    assert only(NARROW, windows=fewer).verdict == YES
    # Of two networks one fares far worse: their mean at 0.01 is -0.01.
    assert only(NARROW, windows=[*rows, window(0.01, -0.04)]).verdict == NO


MANY = "Cosine of the clipped straight-through"


def pooled(cosines=LOG_COSINES, dimension=32, estimator="ste_clip", pretraining=0):
    known = {"dimension": dimension, "pretraining": pretraining, "estimator": estimator}
    return known | {f"cosine_layer_{i}": c for i, c in zip(table.LAYERS, cosines, strict=True)}


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize(
    ("off", "verdict"), [(0.04, YES), (-0.04, YES), (0.06, NO), (-0.06, NO), (0, YES)]
)
def test_cosines_come_out_where_all_four_are_within_a_twentieth_of_the_logs(layer, off, verdict):
    ours = [c + off * (at == layer) for at, c in enumerate(LOG_COSINES)]
    claim = only(MANY, pooled=[pooled(ours)])
    assert claim.verdict == verdict
    assert claim.ours.startswith(" ".join(f"{c:.3f}" for c in ours))
    assert claim.log.startswith("0.893 0.897 0.963 0.905")


def test_the_cosines_are_means_of_raw_networks_at_d_32_or_the_largest():
    wrong = (0.5, 0.5, 0.5, 0.5)
    others = [pooled(wrong, estimator="ste_steep"), pooled(wrong, pretraining=2000)]
    assert only(MANY, pooled=[pooled(), *others, pooled(wrong, 64)]).verdict == YES
    assert only(MANY, pooled=[pooled(wrong), *others, pooled(dimension=64)]).verdict == NO
    assert only(MANY, pooled=[pooled(wrong, 8), pooled(dimension=16)]).verdict == YES
    assert only(MANY, pooled=[pooled(dimension=8), pooled(wrong, 16)]).verdict == NO
    apart = [[c + off for c in LOG_COSINES] for off in (0.09, -0.09)]
    assert only(MANY, pooled=[pooled(c) for c in apart]).verdict == YES
    assert found(MANY, pooled=others[:1]) == []
