"""An audited folder of perturb's own runs: recognised at any depth, its other files left out."""

import numpy as np
import pytest

from perturb.audit.formats import files_frame, markdown
from perturb.audit.plan import AuditPlan
from perturb.audit.study import build
from perturb.files import write_json, write_npz
from tests.audit.folders import rising

LAST = {"sgd_20": 0.80, "pugd_20": 0.85, "sam_0.05_20": 0.81}


def write_run(folder, dataset, model, method, seed):
    """Write a run's folder as training leaves it: a curve, and what is none."""
    accuracy = rising(LAST[method] + 0.002 * seed + 0.013 * (dataset == "signs"))
    folder.mkdir(parents=True)
    rows = [f"{e},{1 - a},{1.1 - a},{a}" for e, a in enumerate(accuracy)]
    (folder / "epochs.csv").write_text(
        "\n".join(["epoch,train_loss,test_loss,test_accuracy", *rows]) + "\n"
    )
    (folder / "timing.csv").write_text("epoch,seconds\n0,1.5\n")
    identity = {"dataset": dataset, "model": model, "method": method, "seed": seed}
    write_json(folder / "record.json", {**identity, "last": {"test_accuracy": accuracy[-1]}})
    write_npz(folder / "batches.npz", {"test_loss": np.zeros((20, 4))})
    (folder / "checkpoints").mkdir()
    for name in ("last.safetensors", "checkpoints/epoch0.safetensors"):
        (folder / name).write_bytes(b"weights")
    (folder / "checkpoints" / ".snakemake_timestamp").touch()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    for dataset in ("faces", "signs"):
        for method in LAST:
            for seed in (0, 1, 2):
                folder = results / "runs" / dataset / "cnn" / method / f"seed{seed}"
                write_run(folder, dataset, "cnn", method, seed)
    entry = results / "store" / "0a" / "0a1b"  # a copy of a run
    write_run(entry, "faces", "cnn", "sgd_20", 0)
    (entry / "entry.json").write_text("{}")
    return results


def audit_of(folder):
    return build(AuditPlan("mine", str(folder)))


@pytest.mark.parametrize(
    ("below", "count"),
    [
        (".", 18),
        ("runs", 18),
        ("runs/faces", 9),
        ("runs/faces/cnn", 9),
        ("runs/faces/cnn/sgd_20", 3),
        ("runs/faces/cnn/sgd_20/seed1", 1),
    ],
)
def test_every_run_is_read_as_what_it_is_at_any_depth(results, below, count):
    audit = audit_of(results / below)
    read = audit.read_files()
    assert len(read) == count
    given = {(f.dataset, f.model, f.name, f.seed) for f in read}
    assert len(given) == count and all(all(names) for names in given)
    assert all(f.method is not None and f.name in LAST for f in read)
    assert audit.findings == ()


@pytest.mark.parametrize("below", ["runs", "runs/faces/cnn"])
def test_baselines_are_found_and_compared(results, below):
    claims = audit_of(results / below).claims
    assert {(c.method.name, c.baseline.name) for c in claims} == {
        ("pugd_20", "sgd_20"),
        ("sam_0.05_20", "pugd_20"),
    }
    assert all(len(c.method.files) == 3 for c in claims)


def test_what_lies_beside_a_curve_is_counted_once_and_not_listed(results):
    audit = audit_of(results / "runs")
    page = markdown(audit, "command")
    assert "18 read, 0 unreadable, 0 without results, 108 that perturb keeps beside" in page
    assert "timing.csv |" not in page and "unreadable |" not in page
    frame = files_frame(audit)
    assert len(frame) == 18 * 7, "every file is accounted for in the table"


def test_the_configuration_that_it_prints_reads_the_same(results):
    guessed = audit_of(results / "runs" / "faces" / "cnn")
    plan = guessed.plan
    again = build(
        AuditPlan(
            "mine", plan.folder, pattern=plan.pattern, fields=plan.fields, baselines=plan.baselines
        )
    )
    assert files_frame(again).equals(files_frame(guessed)) and again.findings == ()


def test_a_damaged_record_and_a_cut_curve(results, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "a" / "m" / "sgd_20" / f"seed{seed}", "a", "m", "sgd_20", seed)
    (tmp_path / "a/m/sgd_20/seed0/record.json").write_text("{")
    (tmp_path / "a/m/sgd_20/seed1/epochs.csv").write_text("epoch,test_accuracy\n0,0.1,3\n")
    audit = audit_of(tmp_path)
    assert [(f.path, f.kind) for f in audit.findings] == [
        ("a/m/sgd_20/seed1/epochs.csv", "unreadable")
    ]
    assert [(f.name, f.seed) for f in audit.read_files()] == [("sgd_20", "0")]
    assert "| a/m/sgd_20/seed1/epochs.csv |" in markdown(audit, "command"), "named with its folder"


def test_another_tools_files_of_these_names_are_read_as_before(tmp_path):
    for method, last in (("adam", 0.8), ("mine", 0.9)):
        folder = tmp_path / method / "seed0"
        folder.mkdir(parents=True)
        rows = [f"{e},{a}" for e, a in enumerate(rising(last))]
        (folder / "epochs.csv").write_text("\n".join(["epoch,test_accuracy", *rows]) + "\n")
        (folder / "record.json").write_text('{"by": "another tool"}')
    audit = audit_of(tmp_path)
    assert sorted(f.name for f in audit.read_files()) == ["adam", "mine"]
    assert "record.json |" in markdown(audit, "command")
