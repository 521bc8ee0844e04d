"""The smoke chapter of the study of gradients, in the real workflow."""

import pandas as pd
import pytest

from .conftest import SMALL
from .test_workflow import one_message

TINY = {
    "chapters": ["digits"],
    "gradients": {
        "gradients_smoke": {
            "toy": {"dimensions": [4, 8], "seeds": [0], "samples": 100, "held_out_samples": 100},
            "layers": {"method": "sgd_1", "models": {"xnor_resnet18_8": [1]}, "images": 8},
        }
    },
}


def test_tables_and_figures_of_the_smoke_study_are_made(make_checkout):
    checkout = make_checkout(values=TINY)
    targets = [
        "results/tables/gradients_smoke.csv",
        "results/tables/gradients_smoke_layers.csv",
        "results/tables/gradients_smoke_claims.md",
        "results/tables/gradients_smoke_stochastic.csv",
        "results/figures/gradients_smoke/window.pdf",
        "results/figures/gradients_smoke/layers.png",
        "results/benchmarks/gradients/gradients_smoke/seconds.png",
    ]
    done = checkout.snakemake("--", *targets)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(checkout.path / targets[0])
    assert set(table["dimension"]) == {4, 8} and set(table["scale"]) == {"smoke"}
    assert {"cdg", "nes_plain", "spsa", "ste_clip"} <= set(table["estimator"])
    layers = pd.read_csv(checkout.path / targets[1])
    assert set(layers["estimator"]) == {"ste", "cdg", "sign_flip"}


@pytest.mark.long
def test_the_study_is_in_the_report_and_verifies(make_checkout):
    digits = {**SMALL["rts"]["datasets"]["digits"], "landscape": {"methods": []}}
    small = {"seeds": [0], "rts": {"datasets": {"digits": digits}}}
    checkout = make_checkout(values=TINY | small | {"chapters": ["digits", "gradients_smoke"]})
    done = checkout.snakemake()
    assert done.returncode == 0, done.stderr
    page = (checkout.results / "report.html").read_text(encoding="utf-8")
    assert 'id="gradients_smoke"' in page and page.count("gradients_smoke-") >= 7
    tex = (checkout.results / "section.tex").read_text(encoding="utf-8")
    assert r"\input{\perturbresults/tables/gradients_smoke.tex}" in tex
    verify = ["--config", "verify={retrain: 0}", "--", "verify"]
    done = checkout.snakemake(*verify)
    assert done.returncode == 0, done.stdout + done.stderr
    table = checkout.results / "tables/gradients_smoke.csv"
    table.write_text(table.read_text().replace("cdg", "CDG"))
    done = checkout.snakemake(*verify)
    one_message(done, "perturb: verify: ", "differs", "gradients_smoke.csv")


def test_mistakes_get_one_message(make_checkout):
    checkout = make_checkout(values=None)
    folder = "results/runs/gradients/{}/toy_{}-8_pretraining-0/seed0/record.json"
    wrong_key = checkout.snakemake("--", folder.format("sign_units", "dim"))
    one_message(wrong_key, "toy_dimension-<dimension>")
    wrong_model = checkout.snakemake("--", folder.format("cnn", "dimension"))
    one_message(wrong_model, "Ask for .../gradients/sign_units/toy_dimension-8_pretraining-0/...")
    layers = "results/gradients/digits/layers/digits/cnn/sgd_1/seed0/layers.csv"
    one_message(checkout.snakemake("--", layers), "chapter 'digits' has no layers")
    done = checkout.snakemake("--config", "chapters=[gradient]", "--", "results/report.html")
    one_message(done, "Did you mean 'gradients'?")


@pytest.mark.long
def test_a_toy_is_made_again_when_its_settings_change_and_no_other_run(make_checkout):
    checkout = make_checkout(values=TINY)
    toy = "results/runs/gradients_smoke/sign_units/toy_dimension-4_pretraining-0/seed0/record.json"
    trained = "results/runs/digits/cnn/sgd_1/seed0/record.json"
    done = checkout.snakemake("--", toy, trained)
    assert done.returncode == 0, done.stderr
    changed = {"gradients": {"gradients_smoke": {"toy": {"samples": 120}}}}
    checkout.configure(changed)
    for target, nothing in ((toy, False), (trained, True)):
        dry = checkout.snakemake("-n", "--", target)
        assert dry.returncode == 0, dry.stderr
        assert ("Nothing to be done" in dry.stdout + dry.stderr) == nothing, target
