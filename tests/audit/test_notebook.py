"""What the audit must find in the notebook's own files, by itself."""

import numpy as np
import pytest

from perturb.audit import formats, words
from perturb.audit.held import held
from perturb.names import format, parse


def found(audit, kind):
    return {finding.path.partition("/")[2].removesuffix(".json") for finding in audit.of_kind(kind)}


def test_every_file_is_accounted_for(notebook, raw_config):
    assert len(notebook.files) == len(notebook.read_files()) == 118
    outside = {file.name for file in notebook.files if file.method is None}
    assert outside == set(raw_config["rts"]["outside_grammar"])
    assert len(formats.files_frame(notebook)) == 118


def test_the_noise_floor_of_400_epochs_under_each_definition(notebook):
    """The issue has 0.23 points, df 6; what is found depends on what counts as a repeat."""
    floors = notebook.floors["cifar10", "upanet16"]
    values = {
        name: (round(100 * ends["best"].sd, 2), ends["best"].degrees_of_freedom)
        for name, ends in floors.items()
    }
    assert values == {"same_name": (0.09, 1), "near_name": (0.23, 5), "near_run": (0.28, 7)}
    used = notebook.used_floor("cifar10", "upanet16")
    assert used is floors["near_name"]["last"]
    assert 100 * used.sd == pytest.approx(0.23, abs=0.005)
    assert used.epochs == {400}
    gaps = [np.ptp(group.values) for group in floors["near_name"]["best"].groups]
    assert 100 * max(gaps) == pytest.approx(0.65)


def test_radius_files_that_were_run_with_alpha_for_its_reciprocal_are_found(notebook):
    contradicting = found(notebook, "contradiction")
    run = {path.partition("/")[2]: format(method) for path, method in notebook.run.items()}
    for name, ran in {
        "pugdr_icos_2_0.01_400": "pugdr_cos_2_0.01_400",
        "pugdr_icos_3_0.1_400": "pugdr_cos_3_0.1_400",
        "pugdr_isin_2_0.01_400": "pugdr_sin_2_0.01_400",
        "pugdr_isin_2_0.1_400": "pugdr_sin_2_0.1_400",
        "pugdr_isin_3_0.1_400": "pugdr_sin_3_0.1_400",
        "pugdr_isin_3_0.1_40": "pugdr_sin_3_0.1_40",
        # The same mistake the other way round, and a schedule that was not applied at all.
        "pugdr_cos_100_0.5_400": "pugdr_icos_100_0.5_400",
        "pugdr_isin_2_0.1_200": "pugdr_const_1_200",
    }.items():
        assert name in contradicting
        assert run[f"{name}.json"] == ran
    assert len(contradicting) == 8


def test_names_that_the_curves_bear_out_stand(notebook):
    """True reciprocals collapse at the end, as their names say; none of these is accused."""
    standing = {
        path.partition("/")[2].removesuffix(".json")
        for path, item in notebook.verifications.items()
        if item.tested and not item.contradicts
    }
    assert {
        "pugdrs_icos2_0.01_icos2_1_400",
        "pugdrs_icos2_0.1_cos1.0_0.0_400",
        "pugdrs_isin2_0.1_cos1.0_0.5_400",
        "pugdr_sin_2.0_0.0_400",
        "resnet18_pugdr_isin2_0.01_100",
        "vit_pugdr_icos2_0.01_200",
    } <= standing


def test_climbing_learning_rates_are_those_of_sgd_at_twice_the_epochs(notebook):
    assert found(notebook, "learning_rate") == {"org_40", "org_120", "org_200", "org_400"}
    text = next(f.text for f in notebook.of_kind("learning_rate") if "org_400" in f.path)
    for part in ("epoch 401 of 800", "0.9315 (epoch 433)", "0.8612"):
        assert part in text


def test_lengths_doubles_collapses_and_timings(notebook):
    assert found(notebook, "epochs") == {
        "org_40",
        "org_120",
        "org_200",
        "org_400",
        "pugdx1_120",
        "pugdxe0_5",
    }
    assert len(found(notebook, "duplicate")) == 7
    assert {"pugdrs_icos2_0.01_icos2_1_400", "pugdr_sin_100_0.5_400"} <= found(notebook, "collapse")
    assert "pugdt_var_100init_t10.0gamma0.002_k10" in found(notebook, "never_triggered")
    assert not found(notebook, "unreadable") and not found(notebook, "claimed_best")


def test_the_headline_claims_are_noise(notebook):
    headlines = {c.method.name: c for c in notebook.claims if c.headline}
    tuned = [name for name, claim in headlines.items() if claim.model == "vit"]
    assert len(tuned) == 5
    assert {headlines.pop(name).verdict for name in tuned} == {"cannot be told"}
    assert len(headlines) == 11
    assert headlines.pop("pugd_400").verdict == "cannot be told"  # its SGD climbs again
    assert {claim.verdict for claim in headlines.values()} == {"within noise"}
    icos = headlines["pugdr_icos_2_0.01_400"]
    assert 100 * icos.best_difference == pytest.approx(0.66)
    assert 100 * icos.difference == pytest.approx(0.72)
    assert icos.low < 0 < icos.high
    assert "contradicts its name" in icos.reason
    assert not [claim for claim in notebook.claims if claim.verdict == "holds"]


def test_the_studys_published_numbers_are_those_of_the_files(notebook):
    assert len(notebook.published) == 21
    assert all(row.agrees for row in notebook.published)


def test_fine_tuning_files_that_are_one_configuration_under_two_names(notebook):
    """cos ran at B, sin at b, icos at 1/B, isin at 1/b: the schedules were never advanced."""
    groups = {
        (one.model, one.run): {file.name for file in one.files}
        for one in notebook.alike
        if one.model != "upanet16"
    }
    assert groups == {
        ("deit", "pugdr_const_0.5_200"): {"deit_pugdr_icos2_0.01_200", "deit_pugdr_icos2_0.1_200"},
        ("resnet18", "pugdr_const_2_100"): {
            "resnet18_pugdr_isin1_0.5_100",
            "resnet18_pugdr_isin2_0.5_100",
        },
        ("vit", "pugd_200"): {"vit_pugd_200", "vit_pugdr_icos1_0.5_200"},
        ("vit", "pugdr_const_0.5_200"): {"vit_pugdr_icos2_0.01_200", "vit_pugdr_icos2_0.1_200"},
    }
    rows = {row[1]: row for row in words.alike_table(notebook).rows if "vit" in row[0]}
    assert rows["pugdr_const_0.5_200"][3:] == ("96.62 96.60", "0.02", "0.07")
    assert "resnet18, vit, deit count as constants" in words.held_sentence(notebook)


def test_a_schedule_that_was_held_is_its_first_value():
    for name, run in {
        "pugdr_cos1.5_0.5_200": "pugdr_const_1.5_200",
        "pugdr_sin2_1.5_200": "pugdr_const_1.5_200",
        "pugdr_icos2_0.01_200": "pugdr_const_0.5_200",
        "pugdr_isin2_0.01_200": "pugdr_const_100_200",
        "pugdr_icos1_0.5_200": "pugd_200",
        "pugd_200": "pugd_200",
        "pugdrs_isin1_1_cos3_0_200": "pugds_const_3_200",
    }.items():
        assert format(held(parse(name))) == run
