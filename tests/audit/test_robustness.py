"""Noise floors, selection over methods, climbs at mid-run, scales, surfaces and timing rules."""

import numpy as np
import pytest

from perturb.audit.curves import turn_of
from perturb.audit.noise import RepeatGroup, pooled
from perturb.audit.plan import ClaimAsked, GivenNoise
from perturb.audit.reading import read_folder
from perturb.audit.study import build
from perturb.audit.timings import agrees, replay

from .folders import make_plan, rising, write
from .test_dialects import audit
from .truth import runs, table, write_all


def group(*values, label=""):
    return RepeatGroup(label, 20, ("",) * len(values), values)


def noisy(random, count, sd=0.002, label=""):
    return group(*random.normal(0.9, sd, count), label=label)


def test_a_group_of_names_that_spreads_by_more_than_noise_is_left_out():
    random = np.random.default_rng(0)
    groups = [noisy(random, 3, label=f"g{i}") for i in range(5)]
    floor = pooled("near_name", [*groups, group(0.80, 0.90, 0.85, 0.93, label="wide")])
    assert [g.label for g in floor.excluded] == ["wide"]
    assert floor.sd == pytest.approx(pooled("near_name", groups).sd)
    assert pooled("same_name", [*groups, group(0.8, 0.9, label="wide")]).excluded == ()


def test_groups_of_one_spread_are_hardly_ever_left_out():
    random, left_out = np.random.default_rng(1), 0
    for _ in range(1000):
        left_out += bool(pooled("near_name", [noisy(random, 3) for _ in range(6)]).excluded)
    assert left_out / 1000 < 0.02  # asked for: 0.01


def test_what_rests_on_one_group_of_names_is_no_floor(tmp_path):
    """Fine-tuning runs whose names differ in beta_min: their spread is an effect, not noise."""
    accuracies = {"pugds_sin_2_0": 0.90, "pugds_sin_2_0.5": 0.86, "pugds_sin_2_1": 0.94}
    for name, accuracy in accuracies.items():
        write(tmp_path / f"{name}_20.json", rising(accuracy))
    write(tmp_path / "pugd_20.json", rising(0.98))
    found = build(make_plan(tmp_path, repeats="near_name"))
    assert {claim.verdict for claim in found.claims} == {"cannot be told"}
    assert "rest on one group of names" in found.claims[0].reason


def test_a_verdict_says_that_its_floor_rests_on_one_group(tmp_path):
    for name, noise in {"pugd_20": 0.0001, "sgd_20": 0.004}.items():
        for seed in range(3):
            write(tmp_path / f"{name}-{seed}.json", rising(0.9 + noise * seed))
    reason = build(make_plan(tmp_path)).claims[0].reason
    assert "noise floor rests on one group (sgd_20: 100 %)" in reason


@pytest.mark.parametrize("form", ["pugds_icos_{}_1_20", "lr{}", "ours_v{}"])
def test_the_best_of_many_variants_is_corrected_for_their_number(tmp_path, form):
    random = np.random.default_rng(3)
    values = {form.format(2 + i): 0.9 + random.normal(0, 0.002) for i in range(39)}
    for name, value in values.items():
        write(tmp_path / f"{name}.json", rising(value))
    write(tmp_path / "base_20.json", rising(0.9))
    best = max(values, key=values.get)
    plan = {"claims": (ClaimAsked(best, "base_20"),), "noise_floor": GivenNoise(0.0015, 60)}
    (claim,) = [c for c in build(make_plan(tmp_path, **plan)).claims if c.headline]
    assert claim.variants.count == 39 and claim.variants.best
    assert claim.p_value < 0.05 <= claim.p_value_holm
    assert claim.verdict == "cannot be told"
    assert "the best of 39 variants" in claim.reason
    other = sorted(values, key=values.get)[-2]
    plan["claims"] = (ClaimAsked(other, "base_20"),)
    (claim,) = [c for c in build(make_plan(tmp_path, **plan)).claims if c.headline]
    assert claim.variants.tried == 1


@pytest.mark.parametrize(("period", "turns"), [(60, 3), (80, 2.5), (100, 3)])
def test_a_learning_rate_that_climbs_at_mid_run_and_falls_again_is_found(period, turns):
    random = np.random.default_rng(0)
    epochs = np.arange(int(period * turns))
    rate = (1 + np.cos(np.pi * epochs / period)) / 2
    losses = 2 * np.exp(-5 * (1 - rate)) * np.exp(random.normal(0, 0.02, len(epochs)))
    turn = turn_of(losses)
    assert turn.epoch == pytest.approx(period, abs=6)
    assert turn.peak == pytest.approx(2 * period, abs=8)


@pytest.mark.parametrize("bump", ["spike", "step", "hill that is soon over"])
def test_a_loss_that_jumps_is_no_climbing_learning_rate(bump):
    losses = 2 * np.exp(-np.arange(100) / 20)
    at = {"spike": slice(50, 52), "step": slice(50, 100), "hill that is soon over": slice(50, 57)}
    losses[at[bump]] *= 4
    assert turn_of(losses) is None


SCALES = {
    "one file in percent": (lambda name: 100 if name == "pugd_20_seed0" else 1, "values"),
    "one arm in percent": (lambda name: 100 if name.startswith("pugd") else 1, "values"),
    "one file in fractions": (lambda name: 1 if name == "sgd_20_seed1" else 100, "values"),
    "all in percent": (lambda name: 100, None),
    "all in fractions": (lambda name: 1, None),
}


@pytest.mark.parametrize("name", SCALES)
def test_scales_that_disagree_stop_a_verdict(tmp_path, name):
    factor, kind = SCALES[name]
    for run, rows in runs().items():
        scaled = [row | {"val_acc": factor(run) * row["val_acc"]} for row in rows]
        (tmp_path / f"{run}.csv").write_text(table(scaled))
    found = audit(tmp_path)
    (claim,) = found.claims
    assert claim.difference == pytest.approx(0.02, abs=1e-9)
    assert claim.verdict == ("cannot be told" if kind else "holds")
    assert bool(found.of_kind("values")) == bool(kind)


def test_fractions_that_the_configuration_calls_percent_stop_a_verdict(tmp_path):
    write_all(tmp_path, table)
    found = audit(tmp_path, accuracy="percent")
    assert found.claims[0].verdict == "cannot be told"
    assert "Set audits.mine.accuracy: fraction" in found.of_kind("values")[0].text


def test_a_run_in_percent_that_never_learned_is_not_one_at_ninety_percent(tmp_path):
    for run, rows in runs().items():
        factor = 1 if run == "sgd_20_seed2" else 100  # 0.9 % in a file of percents
        scaled = [row | {"val_acc": factor * row["val_acc"]} for row in rows]
        (tmp_path / f"{run}.csv").write_text(table(scaled))
    found = audit(tmp_path)
    assert found.claims[0].verdict == "cannot be told"
    assert [f.path for f in found.of_kind("values")] == ["sgd_20_seed2.csv"]


@pytest.mark.parametrize("field", ["loss", "epoch", "val_loss"])
def test_a_column_that_is_no_accuracy_stops_a_verdict(tmp_path, field):
    write_all(tmp_path, table)
    found = audit(tmp_path, fields={"test_accuracy": field})
    assert found.claims[0].verdict == "cannot be told"
    assert "is this its column?" in found.of_kind("values")[0].text


@pytest.mark.parametrize("series", ["val_loss", "loss"])
@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "diverged"])
def test_only_the_accuracy_can_spoil_a_verdict(tmp_path, series, value):
    write_all(tmp_path, lambda rows: table([*rows[:7], rows[7] | {series: value}, *rows[8:]]))
    fields = {"test_accuracy": "val_acc", "train_loss": "loss", "test_loss": "val_loss"}
    found = audit(tmp_path, fields=fields)
    assert found.claims[0].verdict == "holds"
    assert {f.kind for f in found.findings} == {"other_series"}


def test_surfaces_that_are_constant_or_equal_are_findings(tmp_path):
    write(tmp_path / "pugd_20.json", rising(0.9))
    random = np.random.default_rng(0)
    one, two = random.random((2, 5, 5))
    np.savez(tmp_path / "nine.npz", **{f"loss_{i}": one for i in range(9)}, axis=np.arange(5.0))
    np.save(tmp_path / "flat.npy", np.ones((4, 4)))
    np.save(tmp_path / "stack.npy", np.stack([two, two, one[::-1]]))
    np.save(tmp_path / "again.npy", one[::-1])
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    np.save(tmp_path / "good.npy", random.random((5, 5)))
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 cut")
    _, findings = read_folder(make_plan(tmp_path))
    said = {(f.path, f.kind): f.text for f in findings}
    assert "8 surfaces equal loss_0 of the same file" in said["nine.npz", "surface"]
    assert "is 1 everywhere" in said["flat.npy", "surface"]
    assert "equals [0] of the same file: [1]" in [f.text for f in findings]
    assert "of again.npy" in "".join(f.text for f in findings if f.path == "stack.npy")
    assert "no finite value" in said["nan.npy", "surface"]
    assert ("broken.npz", "unreadable") in said
    assert not [path for path, _ in said if path in ("good.npy", "pugd_20.json")]


def timed(tmp_path, name, trigger, **curves):
    accuracy = curves.pop("accuracy", rising(0.9))
    write(tmp_path / f"{name}.json", accuracy, trigger=trigger, **curves)
    fields = {n: n for n in ("test_accuracy", "train_loss", "test_loss")} | {
        "trigger_epoch": "trigger"
    }
    return build(make_plan(tmp_path, fields=fields))


GAP = np.where(np.arange(20) < 8, 0.1, 0.5)  # of the losses: grows fivefold at epoch 8


@pytest.mark.parametrize(
    ("trigger", "right"), [(8, True), (9, True), (3, False), (-1, False), (15, False)]
)
def test_delta_is_replayed_on_the_stored_losses(tmp_path, trigger, right):
    losses = {"train_loss": [0.5] * 20, "test_loss": list(0.5 + GAP)}
    found = timed(tmp_path, "pugdt_delta_20xi3mu2_t3", trigger, **losses)
    assert replay(found.read_files()[0]) == 8
    assert bool(found.of_kind("trigger")) is not right
    if not right:
        assert "delta triggers at the end of epoch 8" in found.of_kind("trigger")[0].text


@pytest.mark.parametrize(
    ("name", "replayed"),
    [
        ("pugdt_5_20", 4),
        ("pugdt_accdrop_20", 12),
        ("pugdt_accrate_20v0.001_k1", 10),
        ("pugdt_var_20init_t3gamma0.2_k3", None),
        ("pugd_20", None),
    ],
)
def test_other_rules_are_replayed_where_the_file_has_what_they_read(tmp_path, name, replayed):
    accuracy = np.linspace(0.5, 0.9, 20)
    accuracy[10], accuracy[12] = accuracy[9] * 1.0001, accuracy[11] - 0.2
    found = timed(tmp_path, name, None, accuracy=accuracy)
    assert replay(found.read_files()[0]) == replayed


def test_a_rule_that_its_curves_never_trigger_is_said(tmp_path):
    found = timed(tmp_path, "pugdt_accdrop_20", None, accuracy=np.linspace(0.5, 0.9, 20))
    assert "never triggers" in found.of_kind("never_triggered")[0].text
    assert agrees(-1, -1) and not agrees(3, -1)


def test_unequal_lengths_outside_the_grammar_cannot_be_compared(tmp_path):
    for seed in range(3):
        write(tmp_path / f"adam-{seed}.json", rising(0.9 + seed / 1000))
        write(tmp_path / f"mine-{seed}.json", rising(0.95 + seed / 1000, 17))
    found = build(make_plan(tmp_path, claims=(ClaimAsked("mine", "adam"),)))
    assert found.claims[0].verdict == "cannot be told"
    assert "unequal numbers of epochs: 17 against 20" in found.claims[0].reason


@pytest.mark.parametrize(
    "name", ["notes {draft}.csv", "a\nb.csv", "50%.csv", "naïve.csv", "nai\u0308ve.csv"]
)
def test_odd_names_are_named_and_stop_nothing(tmp_path, name):
    write_all(tmp_path, table)
    (tmp_path / "toy" / name).write_text(table(next(iter(runs().values()))))
    found = audit(tmp_path)
    assert found.claims[0].verdict == "holds"
    assert [file.path for file in found.files if file.state == "not a result file"] == [
        f"toy/{name}"
    ]
