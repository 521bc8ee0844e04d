"""The real workflow on the embedded data set: what it makes, twice the same, and when it fails."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from perturb.landscape.files import read_plane

from .conftest import SMALL

# What is not the same bytes: clocks, and in `state` hashes and what paused runs go on from.
PASSING = ("timing.csv", "logs", "benchmarks", "store", "state")


def hashes(results):
    """Return the hash of every file that must be reproducible."""
    files = [p for p in results.rglob("*") if p.is_file()]
    kept = [p for p in files if not set(p.relative_to(results).parts) & set(PASSING)]
    return {str(p.relative_to(results)): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}


def one_message(done, *parts):
    """Check that Snakemake failed with our one message, holding `parts`, and no traceback."""
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    said = [line for line in output.splitlines() if line.startswith("perturb: ")]
    assert len(said) == 1, output
    for part in parts:
        assert part in output, output


def test_the_results_section_is_the_same_to_the_byte_whatever_the_cores(make_checkout):
    one, two = make_checkout("one"), make_checkout("two")
    for checkout, cores in ((one, 1), (two, 2)):
        done = checkout.snakemake(cores=cores)
        assert done.returncode == 0, done.stderr
    first, second = hashes(one.results), hashes(two.results)
    assert first == second
    for made in ("report.html", "section.tex", "tables/digits.csv", "tables/digits.tex"):
        assert made in first
    for made in ("tables/landscape_digits.csv", "landscapes/digits.html"):
        assert made in first
    assert sum(name.endswith("last.safetensors") for name in first) == 10
    assert sum(name.endswith(".pdf") for name in first) == sum(
        name.endswith(".png") for name in first
    )
    again = two.snakemake()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr
    assert hashes(two.results) == second
    check_records(one)
    check_table(one)
    check_landscapes(one)
    check_verification(two)


def check_landscapes(checkout):
    """The same directions around every method, each method's own plane, its own centre."""
    planes = {
        (method, seed): read_plane(
            checkout.results / f"landscapes/digits/cnn/{method}/seed0/plane{seed}.npz"
        )
        for method in ("sgd_2", "pugd_2")
        for seed in (0, 1)
    }
    sgd, pugd = planes["sgd_2", 0], planes["pugd_2", 0]
    assert sgd.attributes["images_sha256"] == pugd.attributes["images_sha256"]
    assert not np.isclose(sgd.loss, pugd.loss).any()
    assert not np.isclose(sgd.loss, planes["sgd_2", 1].loss)[:2].any()
    for plane in planes.values():
        assert plane.loss[plane.centre] == plane.attributes["checkpoint_loss"]
    scalars = pd.read_csv(checkout.results / "tables/landscape_digits.csv")
    assert list(scalars["method"]) == ["sgd_2", "pugd_2"]
    assert (scalars["top_eigenvalue"] > 0).all() and (scalars["direction_seeds"] == 2).all()
    path = read_plane(checkout.results / "landscapes/digits/cnn/pugd_2/seed0/trajectory.npz")
    assert list(path.trajectory.epochs) == [0, 1, 2]
    assert path.trajectory.projected_loss[-1] == path.trajectory.true_loss[-1]


def check_records(checkout):
    """Every run starts from the same weights of its seed and keeps a real copy of its best."""
    initial = {}
    for path in checkout.results.glob("runs/digits/cnn/*/*/record.json"):
        record = json.loads(path.read_text())
        initial.setdefault(record["seed"], set()).add(record["sha256"]["initial_weights"])
        epochs = pd.read_csv(path.parent / "epochs.csv")
        assert len(epochs) == record["epochs_completed"]
        batches = np.load(path.parent / "batches.npz")
        assert batches["train_loss"].shape == (len(epochs), record["steps_per_epoch"])
        assert np.allclose(batches["test_loss"].var(axis=1), epochs["test_loss_variance"])
        assert epochs["test_accuracy"].max() == record["best"]["test_accuracy"]
        last, best = (load_file(path.parent / f"{x}.safetensors") for x in ("last", "best"))
        same = all(np.array_equal(last[name], best[name]) for name in last)
        assert same == (record["best"]["epoch"] == len(epochs) - 1)
    assert [len(hashes) for hashes in initial.values()] == [1, 1]


def check_table(checkout):
    table = pd.read_csv(checkout.results / "tables" / "digits.csv").set_index("method")
    assert list(table["seeds_finished"]) == [2] * 5
    assert table.loc["pugd_2", "gradient_evaluations_relative_to_sgd"] == 2
    assert table.loc["sgd_4", "gradient_evaluations_relative_to_sgd"] == 2
    assert table.loc["pugdt_1_2", "gradient_evaluations_relative_to_sgd"] == 1.5
    assert table.loc["pugd_2", "published_accuracy"] == 0.9


def check_verification(checkout):
    """A study verifies; what is edited, swapped, changed or gone is named, and nothing else."""
    before = hashes(checkout.results)
    done = checkout.snakemake("--", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same bits" in done.stdout
    table, runs = checkout.results / "tables/digits.csv", checkout.results / "runs/digits/cnn"
    table.write_text(table.read_text().replace("0.9,", "0.91,"))
    checkpoint = runs / "pugd_2/seed0/last.safetensors"
    checkpoint.write_bytes((runs / "pugd_2/seed1/last.safetensors").read_bytes())
    (checkout.results / "figures/digits/accuracy.pdf").unlink()
    rule = checkout.path / "src/perturb/optim/rules/sgd.py"
    rule.write_text(rule.read_text().replace("return gradient", "return gradient * 1"))
    edited = hashes(checkout.results)
    done = checkout.snakemake("--config", "verify={retrain: 0}", "--", "verify")
    one_message(done, "perturb: verify: ")
    lines = [line for line in done.stdout.splitlines() if "results/" in line]
    # The swapped checkpoint is a hard link of the store's, which is told, too.
    stored = [line for line in lines if "results/store/" in line]
    assert len(stored) == 1 and stored[0].startswith("edited")
    found = [line.split(":")[0].split() for line in lines if line not in stored]
    stale = [
        ["stale", f"results/runs/digits/cnn/sgd_{n}/seed{s}/record.json"]
        for n in (2, 4)
        for s in (0, 1)
    ]
    assert sorted(found) == sorted(
        [
            ["differs", "results/tables/digits.csv"],
            ["edited", "results/runs/digits/cnn/pugd_2/seed0/last.safetensors"],
            ["missing", "results/figures/digits/accuracy.pdf"],
            ["uncompared", "results/report.html"],
            ["uncompared", "results/section.tex"],
            *stale,
        ]
    )
    assert "code changed: perturb.optim.rules.sgd" in done.stdout
    assert hashes(checkout.results) == edited != before


def test_planning_needs_no_data_and_trains_once_a_method_and_seed(make_checkout):
    checkout = make_checkout(values=None)
    done = checkout.snakemake("-n", "--", "results/tables/cifar100.csv")
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert counts["train"] == str(25 * 3)
    assert counts["initialise"] == "3"
    assert counts["prepare_data"] == "1"


def test_planning_imports_nothing_of_seconds(make_checkout):
    """Every Snakemake of a study reads the Snakefile, each job of a cluster's anew."""
    checkout = make_checkout(values=None)
    command = [sys.executable, "-X", "importtime", "-m", "snakemake", "-n"]
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "perturb.config" in imported
    assert not {"torch", "matplotlib", "sklearn", "scipy", "statsmodels"} & imported


def test_two_data_sets_are_ranked_and_one_is_not(make_checkout):
    checkout = make_checkout(values=None)
    ranking = ("--", "results/tables/rts_ranking.csv")
    done = checkout.snakemake("-n", "--config", "chapters=[digits,cifar10]", *ranking)
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert counts["table"] == "3", "two tables and their ranking"
    done = checkout.snakemake("-n", "--config", "chapters=[digits]", *ranking)
    one_message(done, "no chapter has a table 'rts_ranking'")


@pytest.mark.long
def test_a_ranking_of_two_data_sets_is_made_reported_and_verified(make_checkout, tmp_path):
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{number}.png")
    values = json.loads(json.dumps(SMALL)) | {"seeds": [0], "chapters": ["digits", "mine"]}
    values["image_folders"] = {"mine": str(tmp_path / "mine")}
    digits = values["rts"]["datasets"]["digits"]
    digits["landscape"] = {"methods": []}
    digits["methods"] = [{"method": name} for name in ("sgd_2", "sgd_4", "pugd_2")]
    values["rts"]["datasets"]["mine"] = {"like": "digits", "train": {"batch_size": 4}}
    checkout = make_checkout(values=values)
    done = checkout.snakemake()
    assert done.returncode == 0, done.stderr
    frame = pd.read_csv(checkout.results / "tables/rts_ranking.csv").set_index("method")
    assert sorted(frame.index) == ["pugd_2", "sgd_2", "sgd_4"], "of equal epochs, their own names"
    for dataset in ("digits", "mine"):
        table = pd.read_csv(checkout.results / f"tables/{dataset}.csv").set_index("method")
        best = table["last_epoch_test_accuracy_mean"].idxmax()
        assert frame.loc[best, f"rank_{dataset}"] == frame[f"rank_{dataset}"].min()
    assert "Ranking over data sets" in (checkout.results / "report.html").read_text()
    assert r"rts_ranking.tex" in (checkout.results / "section.tex").read_text()
    picture = checkout.results / "figures/rts/ranking.png"
    picture.write_bytes(picture.read_bytes()[:-1])
    done = checkout.snakemake("--config", "verify={retrain: 0}", "--", "verify")
    found = [line for line in done.stdout.splitlines() if "ranking" in line]
    log = (checkout.results / "logs" / "verify.log").read_text()
    assert [line for line in log.splitlines() if "ranking" in line] == found
    assert [line.split(":")[0].split() for line in found] == [
        ["differs", "results/figures/rts/ranking.png"]
    ]


def test_missing_data_stop_with_one_message_that_says_what_to_put_where(make_checkout):
    checkout = make_checkout(values=None)
    done = checkout.snakemake("--", "results/tables/cifar100.csv")
    one_message(done, "cifar-100-python", "eb9058c3a382ffc7106e4002c42a8d85", "resources/data")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--", "results/runs/digits/cnn/pugdr_isn_2_0.01_30/seed0/record.json"], ["pugdr_isin_2"]),
        (["--", "results/runs/digits/cnm/pugd_30/seed0/record.json"], ["Did you mean 'cnn'?"]),
        (["--", "results/runs/digts/cnn/pugd_30/seed0/record.json"], ["Did you mean 'digits'?"]),
        (["--", "results/tables/cifr10.csv"], ["Did you mean 'cifar10'?"]),
        (["--config", "sedes=3", "--"], ["Did you mean 'seeds'?"]),
        (["--config", "seeds=all", "--"], ["seeds", "array"]),
    ],
)
def test_a_mistake_gets_one_message(make_checkout, arguments, parts):
    one_message(make_checkout(values=None).snakemake(*arguments), *parts)


def test_a_diverging_and_a_missing_run_are_rows_that_say_so(make_checkout):
    values = json.loads(json.dumps(SMALL)) | {"partial_results": True, "seeds": [0]}
    digits = values["rts"]["datasets"]["digits"]
    digits["train"] |= {"learning_rate": 1e12}
    digits["methods"] = [{"method": "sgd_2"}, {"method": "sgd_4"}, {"method": "pugd_2"}]
    checkout = make_checkout(values=values)
    done = checkout.snakemake("--", "results/runs/digits/cnn/sgd_2/seed0/record.json")
    assert done.returncode == 0, done.stderr
    folder = checkout.results / "runs/digits/cnn/sgd_2/seed0"
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "diverged"
    assert 1 <= record["diverged_at_step"] <= 16
    assert all(np.isfinite(w).all() for w in load_file(folder / "last.safetensors").values())
    done = checkout.snakemake("--", "results/tables/digits.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(checkout.results / "tables" / "digits.csv").set_index("method")
    assert f"step {record['diverged_at_step']}" in table.loc["sgd_2", "status"]
    assert table.loc["sgd_2", "diverged_runs"] == 1
    assert "not run" in table.loc["pugd_2", "status"]
    # Other settings: the run is no longer the asked one, and still nothing is trained for a table.
    before = (folder / "record.json").stat().st_mtime_ns
    done = checkout.snakemake("--config", "train={momentum: 0.5}", "--", "results/report.html")
    assert done.returncode == 0, done.stderr
    assert (folder / "record.json").stat().st_mtime_ns == before
    assert not (checkout.results / "runs/digits/cnn/pugd_2").exists()
    assert not (checkout.results / "landscapes").exists()


def test_a_damaged_prepared_file_is_named(checkout):
    images = "results/data/digits.npz"
    assert checkout.snakemake("--", images).returncode == 0
    path = checkout.path / images
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run = "results/runs/digits/cnn/sgd_2/seed0/record.json"
    done = checkout.snakemake("--rerun-triggers", "input", "--", run)
    log = (checkout.results / "logs/runs/digits/cnn/sgd_2/seed0.log").read_text()
    one_message(done, "digits.npz")
    assert "digits.npz" in log
    assert "Delete the file and run again" in log


def test_unwritable_results_are_one_message(checkout):
    checkout.results.write_text("a file where the results should go")
    done = checkout.snakemake()
    one_message(done, "cannot write to", "results")
    assert checkout.results.read_text() == "a file where the results should go"


@pytest.mark.parametrize("graph", ["--rulegraph", "--dag"])
def test_the_graphs_are_drawn(checkout, graph):
    done = checkout.snakemake(graph, "--", "results/tables/digits.csv")
    assert done.returncode == 0
    assert done.stdout.lstrip().startswith("digraph")


@pytest.mark.parametrize("target", [(), ("verify",), ("artefact",), ("plan",)])
def test_braces_in_a_users_texts_are_no_wildcards(make_checkout, target):
    """In titles, labels, notes, the name of the configuration's file, and after --config."""
    digits = {
        "model": "mlp",
        "epochs": 1,
        "title": "{chapter} of {x}",
        "published_by": "{someone}",
        "methods": ["sgd", {"method": "pugd", "label": "{r}", "note": "{n}", "published": 0.5}],
    }
    values = {"seeds": [0], "chapters": ["mine"], "title": "{x} y"}
    values["rts"] = {"datasets": {"mine": {"dataset": "digits", **digits}}}
    checkout = make_checkout(values=values)
    (checkout.path / "test.yaml").rename(checkout.path / "{y}.yaml")
    checkout.configfiles[:] = ["{y}.yaml"]
    done = checkout.snakemake(
        "-n", "--config", "title={z} {dataset}", *(["--", *target] * bool(target))
    )
    assert done.returncode == 0, done.stdout + done.stderr
