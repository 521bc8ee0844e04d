"""docs/tune.md, followed to the letter, on a folder of images; what is extended trains no more."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from perturb.files import write_json
from perturb.jobs import status

from .conftest import copy_of_project


@pytest.fixture(scope="module")
def followed(root, tmp_path_factory):
    """A checkout in which the page's blocks were written and run."""
    checkout = copy_of_project(root, tmp_path_factory.mktemp("tune") / "checkout")
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = checkout.path / "path" / "to" / "birds" / f"class{label}" / f"{number}.png"
        if label < 4 and number < 400:
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(file)
    page = (root / "docs" / "tune.md").read_text()
    given = re.search(r"```yaml\n(.*?)```", page, flags=re.S)[1]
    assert len(given.splitlines()) == 10, "a search is ten lines"
    (checkout.path / "my.yaml").write_text(given)
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", page, flags=re.S)
        for line in block.splitlines()
    ]  # fmt: skip
    assert len(commands) == 2
    for command in commands:
        words = command.split()
        assert words[:3] == ["snakemake", "--cores", "2"]
        done = checkout.snakemake(*words[3:])
        assert done.returncode == 0, done.stdout + done.stderr
    return checkout


def test_the_table_has_the_chosen_point_and_every_trial(followed):
    tables = followed.results / "tables"
    main = pd.read_csv(tables / "tune_birds.csv")
    assert main["kind"].iloc[0] == "chosen" and main["trials"].iloc[0] == 8
    trials = pd.read_csv(tables / "tune_birds_trials.csv")
    assert len(trials) == 8 and (trials["status"] == "ok").all()
    assert trials["method"].str.fullmatch(r"tuned_lr-[\d.e-]+_sam_[\d.e-]+_5").all()
    best = trials.loc[trials["validation_accuracy"].idxmax()]
    assert main["method"].iloc[0] == best["method"]
    assert trials["lr"].between(0.01, 1).all() and trials["rho"].between(0.01, 0.5).all()
    assert trials["validation_accuracy"].nunique() > 1, "settings reach the training"
    assert (followed.results / "search" / "tune_birds" / "trials.html").exists()
    assert (followed.results / "figures" / "tune_birds" / "isolation.png").exists()


def test_a_search_that_is_extended_trains_only_what_is_new(followed):
    (followed.path / "more.yaml").write_text(
        (followed.path / "my.yaml").read_text().replace("trials: 8", "trials: 10")
    )
    asked = ("--configfile", "more.yaml", "-n", "--", "results/tables/tune_birds.csv")
    done = followed.snakemake(*asked)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^train +2$", done.stdout + done.stderr, flags=re.M)


def test_the_search_is_priced_before_it_starts(followed):
    (followed.path / "more.yaml").write_text(
        (followed.path / "my.yaml").read_text().replace("trials: 8", "trials: 10")
    )
    asked = ("--configfile", "more.yaml", "--config", "target=tune_birds", "--", "plan")
    done = followed.snakemake(*asked)
    assert done.returncode == 0, done.stderr
    assert re.search(r"runs +10: 8 finished, 2 to do", done.stdout)


@pytest.mark.long
def test_a_model_of_the_registry_gets_an_efficiency_table(followed):
    (followed.path / "fast.yaml").write_text("efficiency: {batch_sizes: [1, 8], seconds: 0.1}\n")
    asked = ("--configfile", "fast.yaml", "--", "results/tables/efficiency_cnn.csv")
    done = followed.snakemake(*asked)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = pd.read_csv(followed.results / "tables" / "efficiency_cnn.csv")
    assert frame["batch_size"].tolist() == [1, 8] and (frame["status"] == "ok").all()
    assert (frame["flops"] == 2 * frame["macs"]).all()
    done = followed.snakemake("--", "results/tables/efficiency_cn.csv")
    assert done.returncode and "Unknown model 'cn'. Did you mean" in done.stdout + done.stderr


HALVING = """
image_folders: {birds: path/to/birds}
store: ""
tune:
  searches:
    halved:
      dataset: birds
      model: cnn
      stages:
        - stage: lr
          method: "tuned_lr-{lr}_sgd_6"
          nuisance: {lr: [0.001, 0.01, 0.1, 1]}
          halving: {epochs: [1, 2], keep: 0.5}
"""


@pytest.mark.long
def test_survivors_of_halving_go_on_from_their_own_state(followed):
    """Each epoch of each trial is trained once; the last one's weights are the same bits."""
    (followed.path / "halving.yaml").write_text(HALVING)
    asked = ("--configfile", "halving.yaml", "--", "results/tables/tune_halved.csv")
    done = followed.snakemake(*asked)
    assert done.returncode == 0, done.stdout + done.stderr
    step = json.loads((followed.results / "search/tune_halved/lr/step4.json").read_text())["step"]
    assert step["epochs_trained"] == 4 * 1 + 2 * 1 + 1 * 4
    run = Path("runs") / step["chosen"]["runs"][0]
    trained = []
    for path in sorted((followed.results / "logs/runs/birds/cnn").glob("tuned_lr-*_sgd_6/*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        trained += [(path.parent.name, line["epoch"]) for line in lines if "epoch" in line]
    assert len(trained) == len(set(trained)) == 10
    shown = {one.name: one for one in status.collect(followed.results)}
    paused = [one for name, one in shown.items() if "_sgd_6" in name and one.state == "stopped"]
    assert len(paused) == 3 and all("paused after" in one.note and one.curve for one in paused)
    through = ("--config", "pathvars={results: through}", "--", f"through/{run}/record.json")
    done = followed.snakemake("--configfile", "halving.yaml", *through)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("last.safetensors", "best.safetensors", "epochs.csv", "batches.npz"):
        expected = (followed.path / "through" / run / name).read_bytes()
        assert (followed.results / run / name).read_bytes() == expected, name


@pytest.mark.long
def test_verify_makes_every_step_again(followed):
    """A choice that was altered, hash and all, is found; put back, nothing is."""
    wanted = ("verify={retrain: 0, seed: 0}", "chapters=[tune_birds]")
    asked = ("--configfile", "my.yaml", "--config", *wanted, "--", "verify")
    path = followed.results / "search" / "tune_birds" / "sam" / "step1.json"
    whole = path.read_bytes()
    step = json.loads(whole)["step"]
    step["chosen"]["value"] = 1.0
    write_json(path, {"step": step})
    done = followed.snakemake(*asked)
    assert re.search(r"differs +results/search/tune_birds/sam/step1.json: other tri", done.stdout)
    path.write_bytes(whole)
    done = followed.snakemake(*asked)
    assert "search" not in "".join(
        line for line in done.stdout.splitlines() if line.startswith(("differs", "edited"))
    )
    assert re.search(r"^searches +4$", done.stdout, flags=re.M)
