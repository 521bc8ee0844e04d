"""Verdicts on folders where they are known."""

import pytest
from scipy import stats

from perturb.audit.plan import ClaimAsked, GivenNoise, Published
from perturb.audit.study import build
from perturb.errors import PerturbError

from .folders import make_plan, rising, write

NOISE = (-0.002, 0.0, 0.002)


def write_arm(folder, name, accuracy, noise=NOISE):
    for seed, offset in enumerate(noise):
        write(folder / f"{name}-{seed}.json", rising(accuracy + offset))


@pytest.fixture
def folder(tmp_path):
    for name, accuracy in {
        "pugd_20": 0.90,
        "sgd_20": 0.899,
        "pugdr_isin_2_0.01_20": 0.93,
        "pugdr_cos_2_0_20": 0.901,
        "ugd_20": 0.87,
    }.items():
        write_arm(tmp_path, name, accuracy)
    return tmp_path


def verdicts(audit):
    return {(c.method.name, c.baseline.name): c.verdict for c in audit.claims}


def test_each_verdict_where_it_belongs(folder):
    write(folder / "pugd_40.json", rising(0.95, 40))
    write(folder / "pugds_sin_2_0_40.json", rising(0.9, 40))
    audit = build(make_plan(folder, noise_floor=None))
    assert verdicts(audit) == {
        ("pugd_20", "sgd_20"): "within noise",
        ("pugdr_isin_2_0.01_20", "pugd_20"): "holds",
        ("pugdr_cos_2_0_20", "pugd_20"): "within noise",
        ("ugd_20", "pugd_20"): "reversed",
        ("pugds_sin_2_0_40", "pugd_40"): "reversed",
    }
    assert audit.alone == ("pugd_40",)


def test_baselines_are_the_configurations(folder):
    audit = build(make_plan(folder, baselines=("ugd",)))
    assert {c.baseline.name for c in audit.claims} == {"ugd_20"}
    assert len(audit.claims) == 4
    with pytest.raises(PerturbError, match="Closest valid name: 'pugd_20'"):
        build(make_plan(folder, baselines=("pudg",)))


def test_an_interval_is_scipys_pooled_one_where_two_arms_are_all(tmp_path):
    values = {"pugd_20": (0.90, 0.903, 0.898), "pugdr_cos_2_0_20": (0.91, 0.902, 0.905)}
    for name, accuracies in values.items():
        for seed, accuracy in enumerate(accuracies):
            write(tmp_path / f"{name}-{seed}.json", rising(accuracy))
    claim = build(make_plan(tmp_path)).claims[0]
    test = stats.ttest_ind(values["pugdr_cos_2_0_20"], values["pugd_20"])
    interval = test.confidence_interval()
    assert (claim.low, claim.high) == pytest.approx((interval.low, interval.high))
    assert claim.p_value == pytest.approx(test.pvalue)


def test_selection_is_what_the_best_epochs_show_and_the_last_do_not(tmp_path):
    write(tmp_path / "pugd_20.json", rising(0.9))
    peak = [*rising(0.9)[:10], 0.91, *rising(0.9)[11:]]
    write(tmp_path / "pugdr_cos_2_0_20.json", peak)
    claim = build(make_plan(tmp_path)).claims[0]
    assert claim.best_difference == pytest.approx(0.01)
    assert claim.difference == 0
    assert claim.selection == pytest.approx(0.01)
    assert (claim.verdict, claim.low) == ("cannot be told", None)


def test_a_given_noise_floor_takes_the_place_of_repeats(tmp_path):
    write(tmp_path / "pugd_20.json", rising(0.9))
    write(tmp_path / "pugdr_cos_2_0_20.json", rising(0.91))
    claim = build(make_plan(tmp_path, noise_floor=GivenNoise(0.002, 6))).claims[0]
    half = stats.t.ppf(0.975, 6) * 0.002 * 2**0.5
    assert (claim.low, claim.high) == pytest.approx((0.01 - half, 0.01 + half))
    assert claim.verdict == "holds"
    assert set(claim.verdicts.values()) == {"cannot be told"}


def test_a_difference_of_a_suspect_file_cannot_be_told(folder):
    for seed in range(3):
        path = folder / f"pugdr_isin_2_0.01_20-{seed}.json"
        write(path, rising(0.93 + NOISE[seed], 15))
    claims = {c.method.name: c for c in build(make_plan(folder)).claims}
    claim = claims["pugdr_isin_2_0.01_20"]
    assert claim.verdict == "cannot be told"
    assert "has not the epochs of its name" in claim.reason


def test_among_many_claims_a_chance_one_does_not_hold(folder):
    """A difference with p of about 0.01 by itself is not told from the best of thirty."""
    write_arm(folder, "pugdr_cos_1_0_20", 0.9048)
    alone = {c.method.name: c for c in build(make_plan(folder)).claims}["pugdr_cos_1_0_20"]
    assert alone.p_value < 0.02
    for number in range(30):
        write_arm(folder, f"pugdr_cos_3_{number / 100}_20", 0.9)
    claim = {c.method.name: c for c in build(make_plan(folder)).claims}["pugdr_cos_1_0_20"]
    assert claim.low > 0 and claim.p_value_holm > 0.05
    assert claim.verdict == "cannot be told"


def test_doubles_count_once(folder):
    (folder / "ugd_20-3.json").write_bytes((folder / "ugd_20-0.json").read_bytes())
    claims = {c.method.name: c for c in build(make_plan(folder)).claims}
    assert len(claims["ugd_20"].method.files) == 3
    assert claims["ugd_20"].reason.endswith("its curves are another file's")


def test_claims_of_the_configuration_and_published_numbers_are_headlines(folder):
    claims = (ClaimAsked("ugd_20", "sgd_20"),)
    published = (Published("", "pugdr_cos_2_0.0_20", 0.903), Published("", "pugd_20", 0.95))
    audit = build(make_plan(folder, claims=claims, published=published))
    headlines = {(c.method.name, c.baseline.name) for c in audit.claims if c.headline}
    assert headlines == {
        ("ugd_20", "sgd_20"),
        ("pugdr_cos_2_0_20", "pugd_20"),
        ("pugd_20", "sgd_20"),
    }
    assert {row.method: row.agrees for row in audit.published} == {
        "pugdr_cos_2_0.0_20": True,
        "pugd_20": False,
    }


def test_a_claim_of_a_method_without_files_offers_the_closest(folder):
    with pytest.raises(PerturbError, match="Did you mean 'ugd_20'"):
        build(make_plan(folder, claims=(ClaimAsked("ugd_200", "sgd_20"),)))
