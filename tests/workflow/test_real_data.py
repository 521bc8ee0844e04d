"""The smoke study trains upanet16 on real CIFAR images, and cannot be taken for the full one."""

import json

import pandas as pd
import pytest

SHORTER = {
    "seeds": [0],
    "rts": {
        "datasets": {
            dataset: {
                "reference": "pugd_1",
                "sgd": "sgd_1",
                "sgd_double": "sgd_2",
                "train": {"batch_size": 40, "limit": {"train": 120, "test": 100}},
                "landscape": {"methods": []},
                "methods": [{"method": "sgd_1"}, {"method": "sgd_2"}, {"method": "pugd_1"}],
            }
            for dataset in ("cifar10", "cifar100")
        }
    },
}


@pytest.fixture
def smoke(make_checkout, real_data):
    needed = ("cifar-10-batches-bin", "cifar-100-python")
    missing = [name for name in needed if not (real_data / name).is_dir()]
    if missing:
        pytest.skip(f"PERTURB_TEST_DATA holds no {', '.join(missing)}")
    checkout = make_checkout(values=SHORTER | {"data_root": str(real_data)})
    checkout.configfiles.insert(0, "config/smoke.yaml")
    return checkout


@pytest.mark.long
def test_the_smoke_study_runs_on_real_images_and_says_what_it_is(smoke):
    done = smoke.snakemake(
        "--",
        "results/smoke/tables/cifar10.csv",
        "results/smoke/report.html",
        "results/smoke/section.tex",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in smoke.results.iterdir()} == {"smoke"}
    results = smoke.results / "smoke"
    for dataset, counts in (("cifar10", (50000, 10000)), ("cifar100", (1117, 916))):
        table = pd.read_csv(results / "tables" / f"{dataset}.csv")
        assert set(table["scale"]) == {"smoke"}
        assert list(table["seeds_finished"]) == [1, 1, 1]
        manifest = json.loads((results / "data" / f"{dataset}.manifest.json").read_text())
        assert (manifest["counts"]["train"], manifest["counts"]["test"]) == counts
        assert manifest["partial"] == (dataset == "cifar100")
        assert all("120 of 50,000 train images" in text for text in table["data"])
        for kind in ("md", "tex"):
            text = (results / "tables" / f"{dataset}.{kind}").read_text().lower()
            assert "smoke" in text
    for page in ("report.html", "section.tex"):
        assert "smoke" in (results / page).read_text().lower()
    record = next(results.glob("runs/cifar10/upanet16/pugd_1/seed0/record.json"))
    assert json.loads(record.read_text())["scale"] == "smoke"


def test_a_piece_of_a_data_set_needs_the_configs_consent(make_checkout, real_data):
    if not (real_data / "cifar-100-python").is_dir():
        pytest.skip("PERTURB_TEST_DATA holds no cifar-100-python")
    checkout = make_checkout(values={"data_root": str(real_data)})
    done = checkout.snakemake("--", "results/data/cifar100.npz")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "partial_data: true" in output
    assert "Traceback" not in output
    done = checkout.snakemake("--config", "partial_data=true", "--", "results/data/cifar100.npz")
    assert done.returncode == 0, done.stderr
