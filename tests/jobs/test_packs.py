"""Which runs are short enough to share a cluster's job, and what their states become."""

from perturb.jobs.packs import FINISHED, Packs, clear_finished_states
from perturb.runs import Run


def write_timing(results, method, seconds, seed=0, model="cnn"):
    folder = results / f"runs/digits/{model}/{method}/seed{seed}"
    folder.mkdir(parents=True)
    rows = [f"{epoch},{value}" for epoch, value in enumerate(seconds)]
    (folder / "timing.csv").write_text("\n".join(["epoch,seconds", *rows]) + "\n")
    return folder


def test_a_pack_is_as_large_as_fits_into_the_wanted_time(tmp_path):
    write_timing(tmp_path, "sgd_4", [9.0, 1.0, 1.0, 1.0])  # the first epoch warms up
    packs = Packs(tmp_path, 100)
    groups = {
        n: packs.group(Run("digits", "cnn", f"sgd_{n}", 0)) for n in (1, 2, 5, 10, 49, 50, 51)
    }
    assert packs.took(Run("digits", "cnn", "sgd_30", 0)) == 30
    assert groups == {
        1: "packs_of_50",
        2: "packs_of_50",
        5: "packs_of_20",
        10: "packs_of_10",
        49: "packs_of_2",
        50: "packs_of_2",
        51: None,
    }


def test_what_was_not_timed_has_a_job_of_its_own(tmp_path):
    write_timing(tmp_path, "sgd_4", [1.0] * 4, model="resnet18")
    assert Packs(tmp_path, 100).group(Run("digits", "cnn", "sgd_2", 0)) is None
    assert Packs(tmp_path, 0).group(Run("digits", "resnet18", "sgd_2", 0)) is None


def test_a_rule_counts_by_its_own_time_or_by_the_slowest(tmp_path):
    write_timing(tmp_path, "sgd_2", [1.0, 1.0])
    write_timing(tmp_path, "sgd_2", [3.0, 3.0], seed=1)
    write_timing(tmp_path, "pugd_2", [4.0, 4.0])
    packs = Packs(tmp_path, 100)
    took = {m: packs.took(Run("digits", "cnn", m, 0)) for m in ("sgd_10", "pugd_10", "sam_0.05_10")}
    assert took == {"sgd_10": 20, "pugd_10": 40, "sam_0.05_10": 40}


def test_a_damaged_timing_is_passed_over(tmp_path):
    (write_timing(tmp_path, "sgd_2", [1.0]) / "timing.csv").write_text("epoch,secon")
    write_timing(tmp_path, "sgd_2", [2.0, 2.0], seed=1)
    assert Packs(tmp_path, 100).took(Run("digits", "cnn", "sgd_10", 0)) == 20


def test_states_go_with_the_record_that_was_made(tmp_path):
    states = tmp_path / "state/runs/digits/cnn/sgd_2"
    for seed in (0, 1, 2):
        (states / f"seed{seed}").mkdir(parents=True)
        (states / f"seed{seed}/epoch2.state").write_bytes(b"state")
    for seed in (0, 1):
        (states / f"seed{seed}/{FINISHED}").touch()
    record = tmp_path / "runs/digits/cnn/sgd_2/seed0/record.json"
    record.parent.mkdir(parents=True)
    record.touch()
    clear_finished_states(tmp_path)
    # Without a record, or unfinished: somebody goes on from them.
    assert sorted(path.name for path in states.iterdir()) == ["seed1", "seed2"]
    (record.parent.parent / "seed1").mkdir()
    (record.parent.parent / "seed1/record.json").touch()
    (states / "seed2/epoch2.state").unlink()
    (states / "seed2").rmdir()
    clear_finished_states(tmp_path)
    assert not (tmp_path / "state").exists()
