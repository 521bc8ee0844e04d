"""The real workflow through a real SLURM: the same bytes, whatever happens to its jobs."""

import shutil
import subprocess

import pytest

from perturb.jobs.store import Store
from tests.workflow.test_workflow import hashes

from .cluster import wait_until
from .conftest import STUDY, copy_checkout

TABLE = "results/tables/digits.csv"
PLANE = "results/landscapes/digits/cnn/pugd_2/seed0/plane0.npz"
RESULTS = [TABLE, "results/figures/digits/accuracy.pdf", PLANE]


@pytest.fixture(scope="module")
def of_local_run(cluster, tmp_path_factory, root):
    """The hashes of the study's results, run without SLURM."""
    checkout = copy_checkout(root, tmp_path_factory.mktemp("local"), STUDY)
    done = checkout.snakemake("--", *RESULTS)
    assert done.returncode == 0, done.stderr
    return hashes(checkout.results)


def runs_of(results):
    return {name: digest for name, digest in results.items() if name.startswith("runs/")}


def test_a_study_has_the_same_bytes_as_on_this_machine(of_local_run, slurm_checkout, cluster):
    before = len(cluster.jobs())
    assert slurm_checkout.run("--", *RESULTS) == 0, slurm_checkout.said()
    assert hashes(slurm_checkout.results) == of_local_run
    assert "never awaited" not in slurm_checkout.said()
    # Training and landscapes are handed to SLURM, nothing else.
    assert len(cluster.jobs()) - before == 4


@pytest.mark.long
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


@pytest.mark.long
def test_a_node_that_goes_down_and_preemption_change_nothing(of_local_run, slurm_checkout, cluster):
    slurm_checkout.before_training("""
        if method == "pugd_2" and attempt("pugd_2") < 3:
            time.sleep(300)
    """)
    before = len(cluster.jobs())
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
    # Back into the queue, not submitted anew: three runs and the urgent job.
    assert len(cluster.jobs()) - before == 4
    assert runs_of(hashes(slurm_checkout.results)) == runs_of(of_local_run)


@pytest.mark.long
def test_at_the_time_limit_a_run_goes_on_in_the_next_job_and_a_failing_one_is_tried_four_times(
    make_slurm_checkout,
):
    # Two studies at once: most of it is waiting for SLURM to look at its time limits.
    failing, long = make_slurm_checkout("failing"), make_slurm_checkout("long")
    failing.before_training("""
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
    failing.set_time_limit()
    failing.start("--", TABLE)

    target = "results/runs/digits/cnn/sgd_60/seed0/record.json"
    local = make_slurm_checkout("local")
    done = local.checkout.snakemake("--", target)
    assert done.returncode == 0, done.stderr
    # A minute at least, however fast the machine; SIGTERM comes after 20 to 50 seconds.
    long.before_training("""
        attempt("start")
        from perturb.train import run as slowed
        told = slowed._print_progress

        def slowly(*arguments):
            time.sleep(1)
            told(*arguments)

        slowed._print_progress = slowly
    """)
    long.set_time_limit(retries=6)
    assert long.run("--", target) == 0, long.said()
    assert 2 <= len(long.attempts("start")) <= 6
    assert hashes(long.results) == hashes(local.results)

    assert failing.finish() != 0
    assert len(failing.attempts("sgd_2")) == 4, failing.said()
    assert len(failing.attempts("told")) == 1, failing.said()
    assert len(failing.attempts("pugd_2")) == 2
    # The others are finished all the same.
    assert failing.record("sgd_4").exists()
    assert failing.record("pugd_2").exists()


@pytest.mark.long
def test_short_runs_share_a_job_and_finished_ones_are_not_trained_again(
    of_local_run, slurm_checkout, cluster
):
    timed = "results/runs/digits/cnn/sgd_2/seed9/record.json"
    assert slurm_checkout.checkout.snakemake("--", timed).returncode == 0
    slurm_checkout.before_training("""
        if method == "sgd_4":
            attempt(method)
            sys.exit("this run always fails")
        # The state of a run that is trained for the second time is there already.
        if not given.state.exists():
            attempt("anew")
    """)
    before = len(cluster.jobs())
    assert slurm_checkout.run("--retries", "1", "--", TABLE, cores=1) != 0
    jobs = cluster.jobs("%C %m")[before:]
    assert jobs == ["1 2000M"] * 2, slurm_checkout.said()  # three runs each time
    assert len(slurm_checkout.attempts("sgd_4")) == 2
    # A failing run ends its pack's try; what was finished before it is not trained again.
    assert len(slurm_checkout.attempts("anew")) <= 2

    slurm_checkout.script.write_text(slurm_checkout.unchanged)
    assert slurm_checkout.run("--", TABLE, cores=1) == 0, slurm_checkout.said()
    shutil.rmtree((slurm_checkout.path / timed).parent)
    assert runs_of(hashes(slurm_checkout.results)) == runs_of(of_local_run)
    assert not (slurm_checkout.results / "state").exists()


@pytest.mark.long
def test_nothing_is_trained_twice_on_a_cluster(of_local_run, make_slurm_checkout, cluster):
    """Touched scripts; a pack of which one run is in the store and one is not."""
    slurm_checkout = make_slurm_checkout(values={**STUDY, "predictions": True})
    runs = slurm_checkout.results / "runs/digits/cnn"
    timed = "results/runs/digits/cnn/sgd_2/seed9/record.json"
    assert slurm_checkout.checkout.snakemake("--", timed).returncode == 0
    before = len(cluster.jobs())
    assert slurm_checkout.run("--", TABLE, cores=1) == 0, slurm_checkout.said()
    # Three runs, and what each says of the test images.
    assert cluster.jobs("%C %m")[before:] == ["1 2000M"], slurm_checkout.said()
    before = len(cluster.jobs())
    for path in (*slurm_checkout.path.glob("workflow/**/*.*"), *slurm_checkout.path.rglob("*.py")):
        path.touch()
    assert slurm_checkout.run("--", TABLE, cores=1) == 0, slurm_checkout.said()
    assert "Nothing to be done" in (slurm_checkout.path / "snakemake.out").read_text()
    assert len(cluster.jobs()) == before

    store = Store(slurm_checkout.results / "store")
    (entry,) = [e for e in store.entries() if e.folder == "runs/digits/cnn/sgd_4/seed0"]
    store.remove(entry)
    for method in ("sgd_4", "pugd_2"):
        shutil.rmtree(runs / method)
    records = [
        f"results/runs/digits/cnn/{method}/seed0/record.json" for method in ("sgd_4", "pugd_2")
    ]
    assert slurm_checkout.run("--", *records, cores=1) == 0, slurm_checkout.said()
    assert cluster.jobs("%C %m")[before:] == ["1 2000M"], slurm_checkout.said()
    logs = slurm_checkout.results / "logs/runs/digits/cnn"
    put_back = {
        path.parent.name for path in logs.glob("*/seed0.log") if "put back" in path.read_text()
    }
    assert put_back == {"pugd_2"}
    epochs = [
        (logs / method / "seed0.progress.jsonl").read_text().count('{"epoch"')
        for method in ("sgd_4", "pugd_2")
    ]
    assert epochs == [4 * 2, 2]
    shutil.rmtree((slurm_checkout.path / timed).parent)
    assert runs_of(hashes(slurm_checkout.results)) == runs_of(of_local_run)
