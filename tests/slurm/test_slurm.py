"""The real workflow through a real SLURM: the same bytes, whatever happens to its jobs."""

import subprocess

import pytest

from tests.workflow.test_workflow import hashes

from .cluster import wait_until

TABLE = "results/tables/digits.csv"
RESULTS = [TABLE, "results/figures/digits/accuracy.pdf"]


@pytest.fixture(scope="module")
def of_local_run(cluster, tmp_path_factory, root):
    """The hashes of the study's results, run without SLURM."""
    from tests.workflow import conftest

    from .conftest import STUDY

    make = conftest.make_checkout.__wrapped__(root, tmp_path_factory.mktemp("local"))
    checkout = make(values=STUDY)
    done = checkout.snakemake("--", *RESULTS)
    assert done.returncode == 0, done.stderr
    return hashes(checkout.results)


def runs_of(results):
    return {name: digest for name, digest in results.items() if name.startswith("runs/")}


def test_a_study_has_the_same_bytes_as_on_this_machine(of_local_run, slurm_checkout, cluster):
    before = len(cluster.jobs())
    assert slurm_checkout.run("--", *RESULTS) == 0, slurm_checkout.said()
    assert hashes(slurm_checkout.results) == of_local_run
    # Only training is handed to SLURM.
    assert len(cluster.jobs()) - before == 3


def test_each_run_sees_the_gpu_that_it_is_given(of_local_run, slurm_checkout):
    slurm_checkout.before_training("""
        attempt("gpu")
        # Until all have started: they hold their GPUs together.
        while attempt("together") and len(open("attempts.gpu").readlines()) < 3:
            time.sleep(0.5)
    """)
    assert slurm_checkout.run("--", TABLE, profile="slurm-gpu") == 0, slurm_checkout.said()
    assert sorted(slurm_checkout.attempts("gpu")) == ["0", "1", "2"]
    assert runs_of(hashes(slurm_checkout.results)) == runs_of(of_local_run)


def test_a_node_that_goes_down_and_preemption_change_nothing(of_local_run, slurm_checkout, cluster):
    slurm_checkout.before_training("""
        if method == "pugd_2" and attempt("pugd_2") < 3:
            time.sleep(300)
    """)
    slurm_checkout.start("--", TABLE)

    def wait_for_attempt(number):
        def reached():
            cluster.hurry()
            return len(slurm_checkout.attempts("pugd_2")) == number

        wait_until(reached, 60, f"attempt {number} does not start")

    wait_for_attempt(1)
    cluster.set_node("down")
    cluster.set_node("resume")
    wait_for_attempt(2)
    urgent = ["--partition=urgent", "--exclusive", "--wrap=sleep 1", "--output=/dev/null"]
    subprocess.run(["sbatch", *urgent], check=True, capture_output=True, cwd=slurm_checkout.path)
    wait_for_attempt(3)
    assert slurm_checkout.finish() == 0, slurm_checkout.said()
    assert len(slurm_checkout.attempts("pugd_2")) == 3
    assert runs_of(hashes(slurm_checkout.results)) == runs_of(of_local_run)


def test_a_failing_job_is_tried_four_times_and_the_time_limit_sends_sigterm(slurm_checkout):
    slurm_checkout.before_training("""
        if method == "sgd_2":
            attempt("sgd_2")
            sys.exit("this run always fails")

        def told(number, frame):
            attempt("told")
            sys.exit(1)

        if method == "pugd_2" and attempt("pugd_2") == 1:
            signal.signal(signal.SIGTERM, told)
            time.sleep(300)
    """)
    profile = slurm_checkout.path / "profiles/slurm/config.yaml"
    text = profile.read_text().replace("runtime: 720", "runtime: 1").replace("TERM@120", "TERM@45")
    profile.write_text(text)
    assert slurm_checkout.run("--", TABLE) != 0
    assert len(slurm_checkout.attempts("sgd_2")) == 4, slurm_checkout.said()
    assert len(slurm_checkout.attempts("told")) == 1, slurm_checkout.said()
    assert len(slurm_checkout.attempts("pugd_2")) == 2
    # The others are finished all the same.
    assert slurm_checkout.record("sgd_4").exists()
    assert slurm_checkout.record("pugd_2").exists()
    assert not slurm_checkout.record("sgd_2").exists()
