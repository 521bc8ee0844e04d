"""What a search's configuration means, and what is refused."""

import pytest

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.search.points import ask, points
from perturb.search.reading import check_fresh
from perturb.search.settings import Search, plain

from .made_up import DEPTH, LR, REPEATS, stages


def test_a_chain_is_read_and_printed_back():
    chain = stages(LR, DEPTH, REPEATS)
    assert [stage.name for stage in chain] == ["lr", "depth", "repeats"]
    assert chain[1].template == LR["method"], "of the stage before"
    assert [one.name for one in chain[2].parameters] == ["depth"]
    assert chain[2].seeds == (5, 6, 7) and chain[0].seeds == (0,)
    assert chain[0].known and not chain[1].known
    search = Search("fer", "fer_x", "X", "x", "m", chain)
    assert Search.of(search.values()) == search
    assert search.files[0] == "search/fer_x/lr/step2.json"


def test_numbers_that_yaml_reads_as_text():
    assert plain("1e-4") == 1e-4 and plain("cls") == "cls" and plain(3.0) == 3
    assert plain(float("inf")) == "inf"


def test_a_grid_of_quarter_decades():
    stage = stages({**LR, "nuisance": {"lr": {"low": "1e-6", "high": 1e-5, "per_decade": 4}}})[0]
    found = [point["lr"] for point in points(stage, {})]
    assert found == [1e-6, 1.78e-6, 3.16e-6, 5.62e-6, 1e-5]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({**LR, "nuisance": {"lrr": [1]}}, r"has no \{lrr\}. Did you mean 'lr'"),
        ({**LR, "fixed": {"depth": 2}}, r"nothing says what \{epochs\}"),
        ({**LR, "fixed": {**LR["fixed"], "lr": 1}}, "lr has two roles"),
        ({**DEPTH, "after": "lrr"}, "must name a stage above it. Did you mean 'lr'"),
        ({**REPEATS, "after": ""}, "repeat needs `after`"),
        ({**LR, "nuisance": {"lr": {"low": 1, "high": 0.1}}}, "a low below a finite high"),
        ({**LR, "nuisance": {"lr": {"low": 1, "high": float("inf")}}}, "a low below a finite high"),
        ({**LR, "nuisance": {"lr": {"low": 0, "high": 1, "points": 3}}}, "low must be above 0"),
        ({**LR, "nuisance": {"lr": {"low": 0.1, "high": 1}}}, "needs points or per_decade"),
        ({**LR, "nuisance": {"lr": {"low": 1, "high": 2}}, "sampler": "sobol"}, "needs trials"),
        ({**LR, "halving": {"epochs": [9, 3]}}, "must rise"),
        ({**LR, "nuisance": {"lr": {"times": [1, 2]}}}, "`times` needs `after`"),
    ],
)
def test_what_does_not_fit_together_is_one_message(given, says):
    with pytest.raises(PerturbError, match=says):
        stages(LR, {**given, "stage": "other"})


@pytest.mark.parametrize(
    "braces",
    ["{lr", "lr}", "{}", "{0}", "{lr.x}", "{lr[0]}", "{lr:.2f}", "{lr:}", "{lr!r}", "{lr!}",
     "{{lr}}", "{ lr }", "{lr}}", "{{lr}", "{lr:{depth}}", "{1lr}", "{"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["lr", ""])
def test_braces_that_are_no_name_are_one_message(braces, key):
    given = {**LR, "method": f"adamw_lr-{braces}_depth-{{depth}}_{{epochs}}"}
    with pytest.raises(PerturbError) as found:
        stages({**given, "nuisance": {key: [1]} if key else {}})
    says = str(found.value)
    assert says.startswith("config, fer.searches.x, stage lr: the braces of the method 'adamw_lr-")
    assert says.endswith("Write each parameter as its name alone in a pair of braces, such as "
                         "{lr}, and no other brace.")  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "adamw_lr-{lr}_eps-{eps}_{epochs}"}, r"nothing says what \{eps\}"),
        (
            {"method": "adamw_lr-{lr}_eps-{eps}_{epochs}", "nuisance": {"eps": {"times": [1, 2]}}},
            "`times` of eps has nothing to multiply",
        ),
    ],
)
def test_a_later_stage_needs_what_no_stage_before_it_names(given, says):
    chain = ({**DEPTH, "stage": "between"}, {"stage": "last", "after": "between", **given})
    with pytest.raises(PerturbError, match=f"stage last: .*{says}"):
        stages(LR, *chain)
    # The stage before the one before gives its values too.
    assert stages(LR, chain[0], {"stage": "last", "after": "between"})[2].template == LR["method"]


GRID, RANGE = {"lr": [0.1, 0.01]}, {"lr": {"low": 0.01, "high": 1}}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nuisance": GRID, "sampler": "grid", "trials": 5}, "sampler grid has no trials: .* sob"),
        ({"nuisance": GRID, "rounds": 2}, "sampler grid has no rounds: .* sampler: tpe"),
        ({"nuisance": GRID, "sampler_seed": 2}, "sampler grid has no sampler_seed: .* Leave"),
        ({"nuisance": RANGE, "trials": 4, "rounds": 2}, "sampler sobol has no rounds: .* tpe"),
        ({"nuisance": {"lr": {**RANGE["lr"], "points": 3}}, "trials": 4}, "points of lr is for a"),
        (
            {"nuisance": {"lr": {**RANGE["lr"], "per_decade": 3}}, "trials": 4, "sampler": "tpe"},
            "per_decade of lr is for a grid, and sampler tpe",
        ),
        (
            {"nuisance": {"lr": {**RANGE["lr"], "points": 3, "per_decade": 3}}},
            "lr has either points or per_decade",
        ),
        (
            {"nuisance": {"lr": {"times": [1, 2], "low": 1}}, "after": "lr", "stage": "b"},
            "lr has either times or a range",
        ),
        *(
            ({"repeat": [1], "after": "lr", "stage": "b", key: value}, f"repeat has no {key}")
            for key, value in (("seeds", [1]), ("sampler", "sobol"), ("trials", 3), ("rounds", 1),
                               ("sampler_seed", 1), ("halving", {"epochs": [1]}))
        ),
    ],
)  # fmt: skip
def test_a_key_that_would_be_ignored_is_refused(given, says):
    if "repeat" in given:
        chain = (LR, given)
    else:
        chain = (LR, {**LR, **given}) if "after" in given else ({**LR, **given},)
    with pytest.raises(PerturbError, match=says):
        stages(*chain)


@pytest.mark.parametrize(("rounds", "trials"), [(9, 3), (2, 1)])
def test_more_rounds_than_trials_says_what_to_do(rounds, trials):
    given = {"nuisance": RANGE, "sampler": "tpe", "rounds": rounds, "trials": trials}
    with pytest.raises(PerturbError, match=f"Give at most {trials} rounds, or more trials"):
        stages({**LR, **given})


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ([LR, DEPTH, {**REPEATS, "repeat": [0, 1]}], r"has 0, .* at seeds 0, .*repeat: \[1, 2\]"),
        # The stage before the one before it chose the learning rate.
        (
            [{**LR, "seeds": [3]}, DEPTH, {**REPEATS, "repeat": [3, 4]}],
            r"has 3, .* at seeds 0, 3, .*repeat: \[1, 2\]",
        ),
        (
            [LR, {**REPEATS, "after": "lr", "repeat": [1, 2]},
             {"stage": "again", "after": "repeats", "repeat": [2, 5]}],
            r"stage again: repeat has 2, .* at seeds 0, 1, 2, .*\[3, 4\]",
        ),
    ],
)  # fmt: skip
def test_repeats_at_a_seed_that_chose_the_point_are_refused(chain, says):
    with pytest.raises(PerturbError, match=says):
        check_fresh(stages(*chain), "config, fer.searches.x")
    check_fresh(stages(LR, DEPTH, REPEATS), "")


def test_repeats_are_checked_where_they_are_asked_for(raw_config, root):
    """Seeds of all chapters make no search fail that nobody asks for."""
    raw_config |= {"seeds": [1, 2], "chapters": ["digits"]}
    read_with(raw_config, root)
    raw_config["chapters"] = ["fer_digits"]
    with pytest.raises(PerturbError, match=r"fer.searches.digits, stage repeats: repeat has 1, "):
        read_with(raw_config, root)
    raw_config["seeds"], raw_config["chapters"] = [0], ["digits"]
    raw_config["fer"]["searches"]["digits"]["stages"][0]["seeds"] = [2]
    with pytest.raises(PerturbError, match=r"repeat has 2, "):
        read_with(raw_config, root)


def read_with(raw_config, root):
    return studies.chapters(Config(raw_config, root / "config" / "schema.yaml"))


HUGE = 10**9
VALUES = list(range(1, 102))


@pytest.mark.parametrize(
    "given",
    [
        {"nuisance": {"lr": {"low": 1e-4, "high": 1, "points": HUGE}}},
        {"nuisance": {"lr": {"low": 1e-4, "high": 1, "per_decade": HUGE}}},
        {"nuisance": {"lr": {"low": 1e-4, "high": 1}}, "trials": HUGE},
        {"nuisance": {"lr": {"low": 1e-4, "high": 1}}, "trials": HUGE, "sampler": "halton"},
        {"nuisance": {"lr": {"low": 1e-4, "high": 1}}, "trials": HUGE, "sampler": "tpe",
         "rounds": HUGE},
        {"nuisance": {"lr": VALUES}, "scientific": {"depth": VALUES}, "fixed": {"epochs": 60}},
        {"nuisance": {"lr": VALUES}, "seeds": list(range(100))},
        {"nuisance": {"lr": [0.1] * 6_000}, "halving": {"epochs": [1, 2, 3], "keep": 0.9}},
    ],
)  # fmt: skip
def test_more_trials_than_a_stage_may_have_are_refused_before_any_is_listed(given):
    with pytest.raises(PerturbError, match=r"stage lr: [\d,]+ trials .*a stage has 10,000 at most"):
        stages({**LR, **given})


def test_too_many_repeats_and_factors_are_refused_too():
    seeds = list(range(1, 5_000))
    with pytest.raises(PerturbError, match=r"stage repeats: 14,997 trials \(3 points, 4,999 seeds"):
        stages(LR, DEPTH, {**REPEATS, "repeat": seeds})
    product = {"scientific": {"depth": VALUES}, "nuisance": {"lr": {"times": VALUES}}}
    with pytest.raises(PerturbError, match="stage depth: 10,201 trials"):
        stages(LR, {**DEPTH, **product})
    whole = stages({**LR, "nuisance": {"lr": list(range(1, 10_001))}})[0]
    assert len(points(whole, {})) == 10_000, "as many as are said"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"low": 0, "high": 1, "scale": "linear", "per_decade": 2}, "per_decade of lr goes with"),
        ({"low": 1e-300, "high": 1e300, "per_decade": 2}, "wider than numbers can say"),
    ],
)
def test_a_range_whose_grid_cannot_be_made(given, says):
    with pytest.raises(PerturbError, match=says):
        stages({**LR, "nuisance": {"lr": given}})


QUASI = {
    **LR,
    "scientific": {"depth": [1, 2, 4]},
    "nuisance": {"lr": {"low": 1e-4, "high": 1e-1}},
    "fixed": {"epochs": 60},
    "sampler": "sobol",
}


@pytest.mark.parametrize("sampler", ["sobol", "halton"])
def test_quasi_random_points_go_on_where_they_are_extended(sampler):
    some, more = (
        points(stages({**QUASI, "sampler": sampler, "trials": number})[0], {}) for number in (8, 16)
    )
    assert more[: len(some)] == some and len(more) > len(some)
    # Evenly: each third of the decades and each depth gets its share.
    thirds = [sum(10**-a > p["lr"] >= 10**-b for p in more) for a, b in ((1, 2), (2, 3), (3, 4))]
    assert min(thirds) >= 4
    assert {p["depth"] for p in more} == {1, 2, 4}


def test_the_bayesian_sampler_is_fixed_by_what_it_was_told():
    stage = stages({**QUASI, "sampler": "tpe", "trials": 12, "rounds": 3})[0]
    first = ask(stage, [], 4)
    assert first == ask(stage, [], 4) and len(first) == 4
    told = [(point, 0.5 if point["lr"] > 1e-2 else None) for point in first]
    second = ask(stage, told, 4)
    assert second == ask(stage, told, 4)
    assert not {tuple(p.items()) for p in first} & {tuple(p.items()) for p in second}
    assert all(1e-4 <= point["lr"] <= 1e-1 for point in first + second)
