"""Stages on made-up trials: what is listed, chosen, shared and flagged."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from perturb.analysis import printers
from perturb.errors import PerturbError
from perturb.search import words
from perturb.search.figures import heat_map, importance, isolation, spread
from perturb.search.flags import flags, infeasible_shares, mcnemar, next_values, resolution
from perturb.search.parts import gather, main, neighbours

from .made_up import DEPTH, LR, REPEATS, MadeUp, bowl, stages


def score(values, seed, epochs):
    return bowl(1e-3, values, 0.001 * seed)


def right(values, seed):
    """Predictions that get as many of 1,000 images right as the accuracy says."""
    draw = np.random.default_rng(round(1000 * values["depth"]) + seed)
    return (draw.random(1000) < bowl(1e-3, values)).astype(np.int64)


@pytest.fixture
def chain(tmp_path):
    return MadeUp(tmp_path, stages(LR, DEPTH, REPEATS), score, right)


def test_a_later_stage_starts_from_what_an_earlier_one_chose(chain):
    found = chain.run()
    assert found["lr"].chosen.values == {"lr": 1e-3, "depth": 2, "epochs": 60}
    listed = {(m.trial.values["depth"], m.trial.values["lr"]) for m in found["depth"].measured}
    assert listed == {(d, lr) for d in (1, 2, 4) for lr in (1e-4, 1e-3, 1e-2)}
    assert found["depth"].chosen.values["depth"] == 2
    repeated = {(m.trial.values["depth"], m.trial.seed) for m in found["repeats"].measured}
    assert repeated == {(d, seed) for d in (1, 2, 4) for seed in (5, 6, 7)}
    assert all(m.trial.values["lr"] == 1e-3 for m in found["repeats"].measured)


def test_nothing_is_repeated_at_a_seed_that_chose_it(tmp_path):
    made = MadeUp(tmp_path, stages(LR, DEPTH, {**REPEATS, "repeat": [0, 5]}), score, right)
    with pytest.raises(PerturbError, match=r"fer_x, stage repeats: repeat has 0, .* repeat: \["):
        made.run()


def test_trials_that_stages_share_are_made_once(chain):
    chain.run()
    runs = [path for path in chain.made if path.startswith("runs/")]
    # 4 of lr; of depth's 9 those at depth 2 (lr 1e-4, 1e-3, 1e-2) are there; 9 repeats.
    assert len(runs) == len(set(runs)) == 4 + 6 + 9


def test_a_search_that_is_extended_makes_only_what_is_new(chain, tmp_path):
    chain.run()
    wider = {**LR, "nuisance": {"lr": {"low": 1e-5, "high": 1e-1, "per_decade": 1}}}
    again = MadeUp(tmp_path, stages(wider, DEPTH, REPEATS), score, right)
    again.run()
    assert [path for path in again.made if path.startswith("runs/")] == [
        "runs/x/m/adamw_lr-1e-5_depth-2_60/seed0/record.json"
    ]


def test_of_equal_points_the_cheaper_then_the_first(tmp_path):
    given = {
        **LR,
        "scientific": {"epochs": [60, 20, 40]},
        "fixed": {"depth": 2},
        "nuisance": {"lr": [1e-2, 1e-3]},
    }
    chosen = MadeUp(tmp_path, stages(given), lambda *a: 0.5, right).run()["lr"].chosen
    assert (chosen.values["epochs"], chosen.values["lr"]) == (20, 1e-2)


def test_a_point_needs_every_seed(tmp_path):
    """The best mean counts; a point that is infeasible at one seed is none."""
    given = {**LR, "nuisance": {"lr": [1e-4, 1e-3, 1e-2]}, "seeds": [0, 1]}
    table = {1e-4: (0.7, 0.7), 1e-3: (0.9, math.nan), 1e-2: (0.9, 0.4)}
    made = MadeUp(tmp_path, stages(given), lambda v, seed, e: table[v["lr"]][seed], right)
    assert made.run()["lr"].chosen.values["lr"] == 1e-4


def test_halving_trains_nothing_twice_and_counts_epochs(tmp_path):
    given = {
        **LR,
        "nuisance": {"lr": {"low": 1e-5, "high": 1e-1, "per_decade": 2}},
        "halving": {"epochs": [5, 20], "keep": 0.33},
    }
    made = MadeUp(tmp_path, stages(given), lambda v, s, e: bowl(1e-3, v) * e / 60, right)
    step = made.run()["lr"]
    rungs = [path for path in made.made if path.endswith("epoch5.json")]
    second = [path for path in made.made if path.endswith("epoch20.json")]
    whole = [path for path in made.made if path.startswith("runs/")]
    assert (len(rungs), len(second), len(whole)) == (9, 3, 1)
    # Each trial's epochs once: 9 to 5, of these 3 on to 20, of these 1 on to 60.
    assert step.epochs_trained == 9 * 5 + 3 * 15 + 1 * 40
    assert step.chosen.values["lr"] == 1e-3
    assert sorted(m.status for m in step.measured) == ["ok"] + ["paused"] * 8


def test_infeasible_trials_are_rows_not_crashes(tmp_path):
    given = {
        **LR,
        "method": "adamw_lr-{lr}_depth-{depth}_beta-{beta}_{epochs}",
        "nuisance": {"lr": [1e-3, 1e-2, 1e-1], "beta": [0.9, "refused"]},
    }
    made = MadeUp(
        tmp_path,
        stages(given),
        lambda v, s, e: math.nan if v["lr"] == 1e-1 else bowl(1e-3, v),
        right,
    )
    stage, step = made.stages[0], made.run()["lr"]
    assert sorted(m.status for m in step.measured) == ["diverged", "ok", "ok"] + ["refused"] * 3
    shares = {(name, value): (n, bad) for name, value, n, bad in infeasible_shares(stage,
              step.measured)}  # fmt: skip
    assert shares["lr", 1e-1] == (2, 2) and shares["lr", 1e-3] == (2, 1)
    assert shares["beta", "refused"] == (3, 3)
    words = {flag.kind: flag.words for flag in flags(stage, step)}
    assert words["infeasible"].startswith("infeasible (diverged, refused): 1 of 2 with lr 0.001")
    assert "cannot be trained" in next(m.note for m in step.measured if m.status == "refused")
    with pytest.raises(PerturbError, match=r"lr: none of its 6 trials .*Diverged at step 3\. R"):
        MadeUp(tmp_path / "b", stages(given), lambda *a: math.nan, right).run()


def test_why_nothing_can_be_chosen_is_said_in_sentences(tmp_path):
    given = {**LR, "nuisance": {"lr": [1e-3]}, "fixed": {"depth": 2, "epochs": "refused"}}
    made = MadeUp(tmp_path, stages(given), score, right)
    says = r"from\. Refused: adamw_lr-1e-3_depth-2_refused cannot be trained\. Change the values"
    with pytest.raises(PerturbError, match=f"none of its 1 trials can be chosen {says}"):
        made.run()


def planted(tmp_path, given, right, best=1e-3):
    made = MadeUp(tmp_path, stages(given), lambda v, s, e: bowl(best, v), right)
    return {flag.kind: flag.words for flag in flags(made.stages[0], made.run()["lr"])}


def edge(name, value, end, following):
    return (
        f"the chosen {name}, {value}, is the {end} that was tried, so the best may lie beyond it; "
        f"next to try: {following}"
    )


def test_the_edge_of_the_grid_is_flagged_with_the_next_values(tmp_path):
    words = planted(tmp_path, LR, right, best=1e-5)
    assert words == {"edge": edge("lr", "0.0001", "lowest", "1e-05, 1e-06")}
    words = planted(tmp_path / "b", LR, right, best=1.0)
    assert words == {"edge": edge("lr", "0.1", "highest", "1, 10")}
    assert planted(tmp_path / "c", LR, right) == {}


def test_an_edge_that_another_value_equals_is_none(tmp_path):
    # All values of eps came to the same accuracy, and the first listed was "the highest".
    made = MadeUp(tmp_path, stages(LR), lambda v, s, e: 0.9, right)
    assert made.run()["lr"].chosen.values["lr"] == 1e-4
    steps = {one.name: one for one in made.stages}
    assert "edge" not in {flag.kind for flag in flags(steps["lr"], made.run()["lr"])}


@pytest.mark.parametrize(
    ("values", "low", "whole", "expected"),
    [
        ([1.0, 2.0, 4.0, 8.0], False, False, [16.0, 32.0]),
        ([2.0, 4.0, 6.0, 8.0], False, True, [10, 12]),
        ([2.0, 4.0, 6.0, 8.0], True, True, []),
        ([0.1, 0.2, 0.6, 1.0], False, False, [1.4, 1.8]),
        ([0.0, 0.1, 0.2], True, False, []),
        ([1e-3, 1e-2], True, False, [1e-4, 1e-5]),
    ],
)
def test_next_values_go_on_as_the_grid_does(values, low, whole, expected):
    assert next_values(values, low, whole) == pytest.approx(expected)


def test_too_few_trials_and_an_unresolved_gap_are_flagged(tmp_path):
    given = {
        **LR,
        "scientific": {"depth": [1, 2]},
        "nuisance": {"lr": [3e-4, 1e-3, 3e-3]},
        "fixed": {"epochs": 60},
    }
    few = {**given, "nuisance": {"lr": [1e-3, 3e-3]}}

    def alike(values, seed):
        found = np.ones(1000, dtype=np.int64)
        found[:: 10 + values["depth"]] = 0
        return found

    def apart(values, seed):
        found = np.zeros(1000, dtype=np.int64)
        found[: 900 if values["depth"] == 2 else 700] = 1
        return found

    words = planted(tmp_path / "a", given, apart)
    assert words == {"edge": edge("depth", "2", "highest", "4, 8")}
    words = planted(tmp_path / "b", few, apart)["few trials"]
    assert words == "too few feasible trials to compare (below 3): 2 for depth 1; 2 for depth 2"
    words = planted(tmp_path / "c", given, alike)["not resolved"]
    assert words.startswith("the test set does not tell apart: depth 1 differs by ")
    made = MadeUp(tmp_path / "c", stages(given), lambda v, s, e: bowl(1e-3, v), alike)
    (compared,) = made.run()["lr"].compared
    wrong = {d: set(range(0, 1000, 10 + d)) for d in (1, 2)}
    assert compared.only_this == len(wrong[2] - wrong[1])
    assert compared.only_chosen == len(wrong[1] - wrong[2])
    discordant = compared.only_this + compared.only_chosen
    assert resolution(compared) == pytest.approx(1.96 * discordant**0.5 / 1000)


def test_mcnemar_is_the_exact_binomial_test():
    from statsmodels.stats.contingency_tables import mcnemar as reference

    for first, second in ((3, 12), (0, 5), (40, 40), (1, 0), (55, 110)):
        table = [[100, first], [second, 100]]
        assert mcnemar(first, second) == pytest.approx(reference(table, exact=True).pvalue)
    assert mcnemar(0, 0) == 1.0
    # The log's largest gap: 2565 against 2620 of 3068, by z as if images were not paired.
    assert (2620 - 2565) / 3068 == pytest.approx(0.0179, abs=1e-4)


def test_neighbours_are_a_value_away_in_one_parameter(chain):
    found = chain.run()
    near = neighbours(chain.stages[1], found["depth"])
    assert {(n.values["depth"], n.values["lr"]) for n in near} == {
        (1, 1e-3), (4, 1e-3), (2, 1e-4), (2, 1e-2),
    }  # fmt: skip


def test_a_chosen_column_that_is_missing_is_said(chain, monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr(
        MadeUp, "search", property(lambda self: replace(SEARCH(self), selection="accuracy"))
    )
    with pytest.raises(PerturbError, match="no column 'accuracy' to choose by"):
        chain.run()


def SEARCH(made):
    from perturb.search.settings import Search

    return Search("fer", "fer_x", "X", "x", "m", made.stages)


def test_the_table_has_differences_paired_by_seed(chain, monkeypatch):
    """Repeats: the seed's share cancels, so every difference is the same, and is said so."""
    steps = chain.run()
    for name, step in steps.items():
        step.write(chain.results / f"{name}.json")
    monkeypatch.setattr("perturb.search.parts._provenance", lambda rows, results: None)
    settings = {"search": chain.search.values()}
    inputs = {"steps": [chain.results / f"{name}.json" for name in steps]}
    frame = main(settings, inputs, chain.results).frame
    rows = frame[frame["stage"] == "repeats"].set_index("scientific")
    assert rows.loc["depth 2", "kind"] == "chosen"
    assert rows.loc["depth 1", "test_difference_to_chosen"] == pytest.approx(-0.02)
    assert rows.loc["depth 2", "test_accuracy_mean"] == pytest.approx(0.906)
    assert json.loads(rows.loc["depth 4", "values"])["lr"] == 1e-3
    assert gather(settings, inputs).epochs_trained == 60 * (4 + 9 + 9)


def test_differences_that_change_between_seeds_are_flagged(tmp_path):
    """Depth 1 is 1 point below at every seed and told; depth 4 by 1 point on average, and not."""
    table = {
        1: {5: 0.78, 6: 0.801, 7: 0.819},
        2: {5: 0.79, 6: 0.81, 7: 0.83},
        4: {5: 0.85, 6: 0.71, 7: 0.84},
    }

    def score(values, seed, epochs):
        known = table[values["depth"]]
        return known.get(seed, 0.5 + 0.1 * (values["lr"] == 1e-3))

    made = MadeUp(tmp_path, stages(LR, DEPTH, REPEATS), score, right)
    step = made.run()["repeats"]
    assert step.chosen.values["depth"] == 2
    words = {flag.kind: flag.words for flag in flags(made.stages[2], step)}
    assert words["between seeds"] == (
        "3 seeds do not tell apart from the chosen one: depth 4 (-1.00 points)"
    )


SAMPLED = {
    "stage": "lr",
    "method": "tuned_lr-{lr}_sam_{rho}_{epochs}",
    "nuisance": {"lr": {"low": 0.01, "high": 1}, "rho": {"low": 0.01, "high": 0.5}},
    "fixed": {"epochs": 60},
    "trials": 8,
}


def sampled(tmp_path, given=SAMPLED):
    """A search over quasi-random points: the lowest learning rate is best, one trial diverges."""

    def score(values, seed, epochs):
        return math.nan if values["rho"] > 0.2 else 0.9 - 0.1 * math.log10(values["lr"] / 0.001)

    made = MadeUp(tmp_path, stages(given), score, right)
    return made, made.run()


def as_chapter(made, steps, monkeypatch):
    for name, step in steps.items():
        step.write(made.results / f"{name}.json")
    monkeypatch.setattr("perturb.search.parts._provenance", lambda rows, results: None)
    return {"search": made.search.values()}, {
        "steps": [made.results / f"{name}.json" for name in steps]
    }


def test_an_edge_of_sampled_points_goes_on_by_quarters_of_the_range(tmp_path):
    made, steps = sampled(tmp_path)
    found = {flag.kind: flag.words for flag in flags(made.stages[0], steps["lr"])}
    lowest = min(one.trial.values["lr"] for one in steps["lr"].measured if one.feasible)
    following = [float(text) for text in found["edge"].rpartition(": ")[2].split(", ")]
    assert following == pytest.approx([lowest / 100**0.25, lowest / 10], rel=1e-2)
    # As far as the points happen to lie apart, a second value would have been below 0.
    linear = json.loads(json.dumps(SAMPLED))
    linear["nuisance"]["lr"]["scale"] = "linear"
    made, steps = sampled(tmp_path / "linear", linear)
    said = {flag.kind: flag.words for flag in flags(made.stages[0], steps["lr"])}.get("edge", "")
    assert "-" not in said.rpartition(": ")[2]


def test_a_trial_of_sampled_points_is_lost_once(tmp_path):
    made, steps = sampled(tmp_path)
    lost = [one for one in steps["lr"].measured if not one.feasible]
    found = {flag.kind: flag.words for flag in flags(made.stages[0], steps["lr"])}["infeasible"]
    first = lost[0].trial.values
    start = f"infeasible (diverged): {len(lost)} of 8 trials: lr {first['lr']:g}, rho "
    assert found.startswith(f"{start}{first['rho']:g}")
    assert "1 of 1" not in found and found.count("lr ") == len(lost)


def test_what_limits_a_search_stands_in_its_words(tmp_path, monkeypatch):
    made, steps = sampled(tmp_path)
    settings, inputs = as_chapter(made, steps, monkeypatch)
    table = main(settings, inputs, made.results)
    found = words.words(settings, {"": table.frame})
    assert found.what == "m on x, in 1 stage: lr (tunes lr, rho)."
    assert [text.split(",")[0] for text in found.warnings] == [
        "Stage lr: the chosen lr",
        found.warnings[1].split(",")[0],
    ]
    assert found.warnings[1].startswith("Stage lr: infeasible (diverged)")
    # It says what the table has, which is one row, at one seed.
    for absent in (
        "neighbours",
        "each other scientific value",
        "Brackets",
        "McNemar",
        "next stage",
    ):
        assert absent not in table.caption
    whole = MadeUp(tmp_path / "whole", stages(LR, DEPTH, REPEATS), score, right)
    settings, inputs = as_chapter(whole, whole.run(), monkeypatch)
    table = main(settings, inputs, whole.results)
    for there in ("neighbours", "each other scientific value", "Brackets", "McNemar", "next stage"):
        assert there in table.caption
    assert "in 3 stages" in words.words(settings, {"": table.frame}).what


def test_a_stage_that_repeats_says_what_it_trains_again(tmp_path, monkeypatch):
    """Where nothing is asked there is one point, and no best "of each" and no choice."""
    again = {"stage": "again", "after": "lr", "repeat": [5, 6]}
    alone = {"stage": "alone", "after": "again", "fixed": {"depth": 4}}
    made = MadeUp(tmp_path, stages(LR, again, alone), score, right)
    settings, inputs = as_chapter(made, made.run(), monkeypatch)
    found = words.words(settings, {"": main(settings, inputs, made.results).frame})
    assert found.what == (
        "m on x, in 3 stages: lr (tunes lr); again (trains again, at seeds 5, 6, the point that "
        "stage lr chose); alone (one point)."
    )
    assert found.findings[1].startswith(
        "Stage again trained again, at seeds 5, 6, the point that stage lr chose: validation 90."
    )
    assert found.findings[2].startswith("Starting from again, stage alone has one point: valid")
    whole = MadeUp(tmp_path / "whole", stages(LR, DEPTH, REPEATS), score, right)
    settings, inputs = as_chapter(whole, whole.run(), monkeypatch)
    found = words.words(settings, {"": main(settings, inputs, whole.results).frame})
    assert found.what.endswith(
        "; repeats (trains again, at seeds 5, 6, 7, the point that stage depth found best for each "
        "depth)."
    )
    assert found.findings[2].startswith("Starting from depth, stage repeats chose depth 2: valid")


def test_intervals_stand_in_brackets_as_the_caption_says(tmp_path, monkeypatch):
    made = MadeUp(
        tmp_path,
        stages(LR, DEPTH, REPEATS),
        lambda values, seed, epochs: bowl(1e-3, values, 0.001 * seed * values["depth"] ** 2),
        right,
    )
    settings, inputs = as_chapter(made, made.run(), monkeypatch)
    monkeypatch.setattr(
        "perturb.search.parts._provenance", lambda rows, results: pd.DataFrame({"method": []})
    )
    table = main(settings, inputs, made.results)
    intervals = {cell.interval for row in table.rows() for cell in row if cell.interval}
    assert len(intervals) >= 5, "of validation, test, and differences"
    assert all(re.fullmatch(r"\[[+−]?\d+\.\d\d, [+−]?\d+\.\d\d\]", one) for one in intervals)
    assert "Brackets are 95 % t intervals" in table.caption
    for kind in ("html", "md", "tex"):
        text = printers.texts(table)[kind]
        assert all(printers.escape(one) in text or one in text for one in intervals), kind
        assert "Test, to chosen" in text
    assert "difference in test accuracy to the point that the stage chose by validation" in (
        table.caption
    )
    # One seed, one point: no interval, no difference, and no word of them.
    made = MadeUp(tmp_path / "one", stages({**LR, "nuisance": {"lr": [1e-3]}}), score, right)
    settings, inputs = as_chapter(made, made.run(), monkeypatch)
    table = main(settings, inputs, made.results)
    assert "Brackets" not in table.caption and "to chosen" not in table.caption


def test_what_decides_is_told_by_thirds_where_each_value_was_tried_once(tmp_path):
    made, steps = sampled(tmp_path)
    stage, step = made.stages[0], steps["lr"]
    by_name = {one.name: spread(stage, step, one) for one in stage.parameters}
    feasible = [one for one in step.measured if one.feasible]
    assert len(feasible) >= 6, "thirds of two"
    # Accuracy follows lr alone: its spread is that of the thirds' means, and rho's is smaller.
    assert by_name["lr"][1] > 2 * by_name["rho"][1] > 0
    values = sorted(one.value for one in feasible)
    assert by_name["lr"][1] < values[-1] - values[0]
    few, steps = sampled(tmp_path / "few", {**SAMPLED, "trials": 5})
    assert spread(few.stages[0], steps["lr"], few.stages[0].parameters[0]) is None


def test_figures_of_sampled_points_are_points_with_few_labels(tmp_path, monkeypatch):
    made, steps = sampled(tmp_path)
    settings, inputs = as_chapter(made, steps, monkeypatch)
    map_of_two = heat_map(settings, inputs, made.results)
    assert not map_of_two.axes[0].images and map_of_two.axes[0].collections
    for figure in (map_of_two, isolation(settings, inputs, made.results)):
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert 2 <= len(labels) <= 5 and "0.1" in labels, labels
        assert not any(label.get_text() for label in figure.axes[0].get_xticklabels(minor=True))
    few, steps = sampled(tmp_path / "few", {**SAMPLED, "trials": 5})
    settings, inputs = as_chapter(few, steps, monkeypatch)
    (axes,) = importance(settings, inputs, few.results).axes
    assert "each value was tried once" in axes.texts[0].get_text() and not axes.patches


def test_figures_of_a_grid_are_cells(tmp_path, monkeypatch):
    chain = MadeUp(tmp_path, stages(LR, DEPTH), score, right)
    settings, inputs = as_chapter(chain, chain.run(), monkeypatch)
    figure = heat_map(settings, inputs, chain.results)
    assert figure.axes[0].images
