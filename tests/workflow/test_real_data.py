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


def chapter_of(*datasets):
    methods = [f"{name}_2" for name in ("ce", "self", "core", "act", "lcnl", "tsnt")]
    return {
        "title": "Every method", "scale": "smoke", "datasets": list(datasets),
        "model": "embedding_small", "reference": "ce_2", "seeds": [0],
        "methods": [{"method": name} for name in methods],
    }  # fmt: skip


@pytest.mark.long
def test_every_method_finds_people_again(make_checkout, real_data):
    needed = ("Market-1501-v15.09.15", "VIPeR")
    missing = [name for name in needed if not (real_data / name).is_dir()]
    if missing:
        pytest.skip(f"PERTURB_TEST_DATA holds no {', '.join(missing)}")
    small = {"train": {"height": 32, "width": 16, "learning_rate": 0.03, "head_multiplier": 3}}
    noisy, clean = "market1501_split_noise-0.2_kind-patterned", "viper"
    checkout = make_checkout(
        values={
            "data_root": str(real_data),
            "chapters": ["reid_people"],
            "reid": {
                "datasets": {"market1501_split": small, "viper": small},
                "chapters": {"reid_people": chapter_of(noisy, clean)},
            },
        }
    )
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    runs = pd.read_csv(checkout.results / "tables" / "reid_people_runs.csv")
    assert len(runs) == 12 and set(runs["status"]) == {"ok"}
    # A fifth of the labels of about 6,400 images of half of Market-1501's people.
    wrong = runs.groupby("dataset")["wrong_labels"].unique()
    assert wrong[clean].tolist() == [0] and 1000 < wrong[noisy][0] < 1500
    assert (runs["last_test_mAP"] > 0).all()
    assert (runs["best_test_mAP"] >= runs["last_test_mAP"]).all()
    assert (checkout.results / "figures/reid_people/selection.png").exists()
    done = checkout.snakemake("--config", "verify={retrain: 1}", "--", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


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
