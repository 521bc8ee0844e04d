"""Method names: every one of the notebook's, one canonical spelling, errors that help."""

import json
import math
import re
import subprocess
import sys

import pytest

from perturb.errors import PerturbError
from perturb.names import Method, Schedule, Timing, format, format_slug, parse, parse_slug

CANONICAL = {
    "pugd_400": "pugd_400",
    "pugdr_icos_2_0.01_400": "pugdr_icos_2_0.01_400",
    "pugdr_isin_2.0_0.010_400": "pugdr_isin_2_0.01_400",
    "pugdr_isin2_0.1_200": "pugdr_isin_2_0.1_200",
    "pugds_isin_3_0.8_400": "pugds_isin_3_0.8_400",
    "pugdrs_isin2_0.01_isin2.0_0.1_400": "pugdrs_isin2_0.01_isin2_0.1_400",
    "pugdrs_cos2_0_cos3.0_1.5_400": "pugdrs_cos2_0_cos3_1.5_400",
    "pugdt_delta_100xi10.0mu3_t3": "pugdt_delta_100xi10mu3_t3",
    "pugdt_var_100init_t10.0gamma0.2_k10": "pugdt_var_100init_t10gamma0.2_k10",
    "pugdt_8_40": "pugdt_8_40",
    "org_400": "sgd_400",
    "samx1_40": "samx1_40",
    "samx_1.0_40": "samx1_40",
    "samx_40": "samx1_40",
    "pugdr_const_0.5_400": "pugdr_const_0.5_400",
    "sam_0.05_400": "sam_0.05_400",
    "sam_400": "sam_0.05_400",
    "asam_0.5_400": "asam_0.5_400",
    "asam_0.5eta0.1_400": "asam_0.5eta0.1_400",
    "ugd_400": "ugd_400",
    "gsam_0.05_0.01_400": "gsam_0.05_0.01_400",
    "gsam_0.05_0.01alpha0.2_400": "gsam_0.05_0.01alpha0.2_400",
    "looksam_0.05alpha0.5k3_400": "looksam_0.05k3alpha0.5_400",
    "aesam_0.05lambda1-2_400": "aesam_0.05lambda1-2_400",
    "samt_0.05_360_400": "samt_0.05_360_400",
    "pugdt_accdrop_30": "pugdt_accdrop_30",
    "pugdt_accrate_30v0.005_k3": "pugdt_accrate_30v0.005_k3",
    "resnet18_pugdr_isin2_0.1_200": "resnet18_pugdr_isin_2_0.1_200",
    "vit_pugd_200": "vit_pugd_200",
    "deit_pugdr_icos2_0.01_200": "deit_pugdr_icos_2_0.01_200",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_a_name_has_one_canonical_spelling_that_reads_back(text):
    method = parse(text)
    assert format(method) == CANONICAL[text]
    assert parse(format(method)) == method


def test_the_parts_of_a_name_mean_what_the_notebook_meant():
    assert parse("pugdrs_isin2_0.01_cos3_1.5_400") == Method(
        "pugd", 400, radius=Schedule("isin", 2, 0.01), scale=Schedule("cos", 3, 1.5)
    )
    delta = Timing("delta", {"xi": 10.0, "mu": 3.0, "t": 3.0})
    assert parse("pugdt_delta_100xi10.0mu3_t3") == Method("pugd", 100, timing=delta)
    variance = Timing("var", {"init_t": 10.0, "gamma": 0.2, "k": 10.0})
    assert parse("pugdt_var_100init_t10.0gamma0.2_k10") == Method("pugd", 100, timing=variance)
    assert parse("pugdt_8_40") == Method("pugd", 40, timing=Timing("at", {"epoch": 8.0}))
    assert parse("vit_sam_0.1_200") == Method("sam", 200, {"rho": 0.1}, model="vit")


@pytest.mark.parametrize(
    ("text", "part", "closest"),
    [
        ("pugdr_isn_2_0.01_400", "'isn'", "pugdr_isin_2_0.01_400"),
        ("pudg_400", "'pudg'", "pugd_400"),
        ("pugdr_isin_2_400", "its end", "pugdr_isin_2_0.01_400"),
        ("PUGD_400", "'PUGD'", "pugd_400"),
        ("pugdt_dleta_100xi10mu3_t3", "'dleta'", "pugdt_delta_100xi10mu3_t3"),
        ("sam_0.05_x", "'x'", "sam_0.05_400"),
        ("pugd_400_3", "'3'", "pugd_400"),
        ("pugd_0", "'0'", "pugd_400"),
        ("pugd_4.5", "'4.5'", "pugd_400"),
        ("pugdt_50_40", "'50'", "pugdt_80_400"),
        ("looksam_0.05k0_40", "k 0", "looksam_0.05_400"),
        ("looksam_0.05k2.5_40", "k 2.5", "looksam_0.05_400"),
        ("sam_-1_40", "rho -1", "samx1_40"),
        ("pugdt_var_100init_t10.5gamma0.2_k10", "init_t 10.5", "pugdt_var_100init_t10gamma0.2_k10"),
        ("asam_0.5_0.2_1_400", "'1'", "gsam_0.05_0.01_400"),
        ("resnet19_pugd_200", "'resnet19'", "resnet18_pugd_200"),
    ],
)
def test_a_name_that_does_not_parse_says_which_part_and_what_comes_near(text, part, closest):
    with pytest.raises(PerturbError) as error:
        parse(text)
    message = str(error.value)
    assert f"method '{text}': {part}" in message
    shown = re.search(r"Closest valid name: '(\S+)'", message)[1]
    parse(shown)
    assert shown == closest


@pytest.mark.parametrize("text", ["pugdr_isin_2_0_400", "pugds_icos_2_0_400", "pugdr_icos_-2_1_40"])
def test_a_reciprocal_of_zero_is_refused(text):
    with pytest.raises(PerturbError, match="reciprocal"):
        parse(text)


def test_every_result_file_of_the_notebook_parses_or_is_on_the_list(real_data, raw_config):
    files = [p.stem for p in (real_data / "cv_rts-results" / "cifar_10").glob("*.json")]
    assert len(files) > 100
    outside = set()
    for name in files:
        try:
            assert parse(format(parse(name))) == parse(name)
        except PerturbError:
            outside.add(name)
    assert outside == set(raw_config["rts"]["outside_grammar"])


def test_published_numbers_are_the_best_of_the_notebooks_files(real_data, raw_config):
    """The rows that the notebook ran under another name say so, and are compared under that one."""
    ran_as = {"pugdr_cos_2_0.01_400": "pugdr_icos_2_0.01_400"}
    ran_as |= {"pugdr_sin_2_0.01_400": "pugdr_isin_2_0.01_400", "sgd_800": "sgd_400"}
    files = {}
    for path in (real_data / "cv_rts-results" / "cifar_10").glob("*.json"):
        try:
            name = format(parse(path.stem))
        except PerturbError:
            continue
        files.setdefault(name, []).append(json.loads(path.read_text())["bast_acc"])
    for row in raw_config["rts"]["datasets"]["cifar10"]["methods"]:
        if "published" in row:
            name = ran_as.get(row["method"], row["method"])
            assert any(math.isclose(row["published"], best, abs_tol=6e-5) for best in files[name])


def test_names_are_read_without_torch():
    code = "import sys, perturb.config, perturb.names as n; n.parse('sam_0.05_30'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("slug", "settings"),
    [
        ("toy_dimension-8_pretraining-2000", {"dimension": 8, "pretraining": 2000}),
        ("toy_dimension-64_pretraining-0", {"dimension": 64, "pretraining": 0}),
    ],
)
def test_a_slug_of_keys_and_values_reads_back(slug, settings):
    assert format_slug("toy", settings) == slug
    assert parse_slug(slug, "toy", list(settings)) == settings


@pytest.mark.parametrize("slug", ["toi_dimension-8", "toy_dim-8", "toy_dimension-8_more-1", "toy"])
def test_a_slug_that_does_not_parse_shows_the_pattern(slug):
    with pytest.raises(PerturbError, match="expected toy_dimension-<dimension>"):
        parse_slug(slug, "toy", ["dimension"])
