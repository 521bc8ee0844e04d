"""Method names: every one of the notebook's, one canonical spelling, errors that help."""

import json
import math
import re
import subprocess
import sys
from random import Random

import pytest

from perturb.errors import PerturbError
from perturb.names import Method, Schedule, Timing, format, parse
from perturb.optim.timing import Epoch, trigger

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


def offered(message):
    """Return the valid name that a message offers, or None where none of as many epochs is near."""
    found = re.search(r" Closest valid name: '(\S+)'\. ", message)
    if found:
        parse(found[1])
    return found[1] if found else None


@pytest.mark.parametrize(
    ("text", "part", "closest"),
    [
        ("pugdr_isn_2_0.01_400", "'isn'", "pugdr_isin_2_0.01_400"),
        ("pudg_400", "'pudg'", "pugd_400"),
        ("pugdr_isin_2_400", "its end", "pugdr_isin_2_0.01_400"),
        ("PUGD_400", "'PUGD'", "pugd_400"),
        ("pugdt_dleta_100xi10mu3_t3", "'dleta'", "pugdt_delta_100xi10mu3_t3"),
        ("sam_0.05_x", "'x'", "sam_0.05_400"),
        ("pugd_400_3", "'3'", "pugd_3"),
        ("pugd_0", "'0'", "pugd_400"),
        ("pugd_4.5", "'4.5'", "pugd_400"),
        ("pugdt_50_40", "'50'", None),
        ("looksam_0.05k0_40", "k 0", "looksam_0.05_40"),
        ("looksam_0.05k2.5_40", "k 2.5", "looksam_0.05_40"),
        ("sam_-1_40", "rho -1", "sam_1_40"),
        ("pugdt_var_100init_t10.5gamma0.2_k10", "init_t 10.5", "pugdt_var_100init_t10gamma0.2_k10"),
        ("asam_0.5_0.2_1_400", "'1'", "asam_0.5_400"),
        ("resnet19_pugd_200", "'resnet19'", "resnet18_pugd_200"),
        ("pugd\n_400", "'pugd\n'", "pugd_400"),
        ("pugd _5", "'pugd ' does not parse: a name has no spaces", "pugd_5"),
        ("рugd_5", "'рugd' does not parse: 'р' is CYRILLIC SMALL LETTER ER (U+0440)", "pugd_5"),
        (
            "sаm_0.05_3",
            "'sаm' does not parse: 'а' is CYRILLIC SMALL LETTER A",
            "sam_0.05_3",
        ),
        ("pugd_４", "'４' does not parse: '４' is FULLWIDTH DIGIT FOUR (U+FF14)", "pugd_4"),
        ("sam_-0.05_1", "rho -0.05", "sam_0.05_1"),
        ("sam_1e400_1", "'1e400'", "sam_0.05_1"),
        ("pugdt_1_1", "'1' does not fit: a timed method takes 2 epochs", None),
        ("pugdr_isn_2_0.01_7", "'isn'", "pugdr_isin_2_0.01_7"),
    ],
)
def test_a_name_that_does_not_parse_says_which_part_and_what_comes_near(text, part, closest):
    with pytest.raises(PerturbError) as error:
        parse(text)
    message = str(error.value)
    assert f"method '{text}': {part}" in message
    assert offered(message) == closest


@pytest.mark.parametrize("text", ["pugdr_isin_2_0_400", "pugds_icos_0_2_400", "pugdr_icos_-2_1_40"])
def test_a_reciprocal_of_zero_is_refused(text):
    with pytest.raises(PerturbError, match="reciprocal"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("pugdr_cos_1e400_0_400", "beyond the largest number"),
        ("pugdr_cos_1_1e309_400", "beyond the largest number"),
        ("sam_1e999_400", "beyond the largest number"),
        ("looksam_0.05alpha1e400_400", "beyond the largest number"),
        ("pugdt_delta_100xi10mu1e400_t3", "beyond the largest number"),
        ("pugdr_icos_1e-320_0_400", "its reciprocal is beyond"),
        ("pugd_" + "9" * 5000, "at most 9 digits"),
        ("pugdr_cos_-1_0_400", "beta_max -1"),
        ("pugdr_sin_1_-0.5_400", "beta_min -0.5"),
        ("pugds_const_-1_400", "beta_max -1"),
        ("samx-1_40", "radius -1"),
        ("gsam_0.05_-0.01_40", "rho_min -0.01"),
        ("asam_0.5eta-1_40", "eta -1"),
        ("gsam_0.01_0.05_40", "above rho_max 0.01"),
        ("aesam_0.05decay1.5_40", "decay 1.5"),
        ("aesam_0.05decay-0.1_40", "decay -0.1"),
        ("pugdt_400_400", "'400' does not fit"),
        ("pugdt_0_400", "'0' does not fit"),
        ("samt_0.05_0_400", "'0' does not fit"),
        ("pugdt_delta_20xi19mu3_t3", "after epoch 20 at the earliest"),
        ("pugdt_delta_10xi3mu3_t10", "it never would"),
        ("pugdt_delta_0xi3mu3_t3", "at least one epoch"),
        ("pugdt_delta_100xi10mu-1_t3", "mu -1"),
        ("pugdt_var_20init_t5gamma0.2_k18", "after epoch 19 at the earliest"),
        ("pugdt_var_20init_t5gamma0_k5", "gamma 0"),
        ("pugdt_accrate_20v0.001_k19", "it never would"),
        ("pugdt_accrate_20v-1_k3", "v -1"),
        ("pugdt_accdrop_2", "it never would"),
        ("pugd_400\n", "does not parse"),
        ("sam_0.05\n_400", "does not parse"),
        ("\n", "does not parse"),
    ],
)
def test_a_name_that_could_not_be_run_is_refused(text, part):
    with pytest.raises(PerturbError, match=re.escape(part)) as error:
        parse(text)
    offered(str(error.value))


@pytest.mark.parametrize(
    "text", ["pugds_icos_1_0_400", "pugdr_icos_2_0_3", "pugdr_isin_0_1_40", "pugdr_icos_1_0_1"]
)
def test_a_reciprocal_that_is_infinite_after_the_last_epoch_only_is_finite_in_every_one(text):
    method = parse(text)
    schedule = method.radius or method.scale
    values = [schedule.value(epoch, method.epochs) for epoch in range(method.epochs)]
    assert all(math.isfinite(value) and value > 0 for value in values)
    assert format(method) == text


@pytest.mark.parametrize(
    "text",
    [
        "pugdt_delta_13xi10mu3_t12",
        "pugdt_delta_20xi3mu0_t19",
        "pugdt_var_20init_t17gamma1_k5",
        "pugdt_accrate_20v0.1_k18",
        "pugdt_accdrop_3",
    ],
)
def test_a_timing_that_can_trigger_at_the_last_moment_does(text):
    """Replayed on epochs made so that it fires as soon as it may."""
    timing, epochs = parse(text).timing, parse(text).epochs
    rule = trigger(timing)
    fired = [
        rule.observe(Epoch(e, 0.0, float(2**e), 0.5 - e / 1000, [2.0**-e, -(2.0**-e)] * 4))
        for e in range(epochs - 1)
    ]
    assert any(fired)


WORDS = (
    *("pugd", "pugdr", "pugds", "pugdrs", "pugdt", "sgd", "org", "sam", "samt", "asam", "gsam"),
    *("looksam", "aesam", "ugd", "samx", "samx1", "vit", "resnet18", "icos", "isin", "cos", "sin"),
    *("const", "isin2", "cos3.0", "delta", "var", "accdrop", "accrate", "100xi10mu3", "t3", "k10"),
    *("100init", "t10gamma0.2", "100v0.001", "k5", "0.05k3alpha0.5", "0.05lambda1-2", "eta", "x"),
    *(
        "0",
        "1",
        "2",
        "0.01",
        "-1",
        "1e400",
        "1e-320",
        "nan",
        "400",
        "40",
        "3",
        "",
        "\n",
        "4\n",
        "é",
    ),
)


def test_whatever_parses_prints_and_parses_back_and_all_else_is_one_message():
    """Seeded names put together of the grammar's own words, and of what is none."""
    random = Random(0)
    read = 0
    for _ in range(20_000):
        words = [random.choice(WORDS) for _ in range(random.randint(1, 5))]
        text = "_".join([*words, *random.choice((["400"], ["5"], []))])
        try:
            method = parse.__wrapped__(text)
        except PerturbError as error:
            offered(str(error))
            continue
        read += 1
        assert parse(format(method)) == method
        assert format(parse(format(method))) == format(method)
        numbers = [*method.parameters.values()]
        for schedule in filter(None, (method.radius, method.scale)):
            ends = range(method.epochs) if method.epochs < 50 else (0, method.epochs - 1)
            numbers += [schedule.value(epoch, method.epochs) for epoch in ends]
        assert all(math.isfinite(number) for number in numbers), text
    assert read > 100


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
