"""Nothing is trained twice: the real workflow with its store, whatever happens to its files."""

import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perturb.files import read_json
from perturb.jobs.status import collect
from perturb.jobs.store import DAMAGED, Entry, Store

from .conftest import SMALL, Checkout, copy_of_project
from .test_workflow import hashes

# Enough for a usual run; PERTURB_KILLS=30 by hand.
KILLS = int(os.environ.get("PERTURB_KILLS", "2"))
VALUES = copy.deepcopy(SMALL) | {"predictions": False}
DIGITS = VALUES["rts"]["datasets"]["digits"]
DIGITS["methods"] = [{"method": name} for name in ("sgd_2", "sgd_4", "pugd_2")]
DIGITS["landscape"] |= {
    "methods": ["pugd_2"],
    "direction_seeds": [0],
    "points": 3,
    "images": 50,
    "curvature_images": 20,
}
TABLE = "results/tables/digits.csv"
LANDSCAPE = "results/landscapes/digits/cnn/pugd_2/seed0"
RECORDS = [
    f"results/runs/digits/cnn/{method}/seed{seed}/record.json"
    for method in ("sgd_2", "sgd_4", "pugd_2")
    for seed in (0, 1)
]
MEASURED = [f"{LANDSCAPE}/{name}" for name in ("plane0.npz", "trajectory.npz", "curvature.json")]
# Snakemake makes no run again that is only missing below a table (without a target all are).
TARGETS = [TABLE, *RECORDS, *MEASURED]
KEPT = len(RECORDS) + len(MEASURED)
RULE = "src/perturb/optim/rules/pugd.py"


def with_store(folder) -> dict:
    return VALUES | {"store": str(folder)}


def make(checkout: Checkout, *arguments, targets=TARGETS) -> subprocess.CompletedProcess:
    return checkout.snakemake(*arguments, "--", *targets)


def made(checkout: Checkout, *arguments, targets=TARGETS) -> str:
    """Make the targets, which has to work; return what was said."""
    done = make(checkout, *arguments, targets=targets)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def nothing_to_do(checkout: Checkout, *arguments, targets=TARGETS) -> bool:
    return "Nothing to be done" in made(checkout, "-n", *arguments, targets=targets)


def computed(checkout: Checkout) -> int:
    """Return how many epochs have been trained, in all starts of all runs."""
    logs = (checkout.results / "logs").rglob("*.progress.jsonl")
    return sum(path.read_text().count('{"epoch"') for path in logs)


def put_back(checkout: Checkout) -> int:
    """Return how many jobs said in their last log that they were put back."""
    logs = [p.read_text() for p in (checkout.results / "logs").rglob("*.log")]
    return sum("perturb: put back from the store" in text for text in logs)


def everything(checkout: Checkout) -> dict[str, str]:
    """Return the hashes of the results, and the bytes of their times."""
    times = {str(p): p.read_text() for p in sorted(checkout.results.glob("runs/**/timing.csv"))}
    names = {name.removeprefix(str(checkout.path)): text for name, text in times.items()}
    # Snakemake's own, which it writes where a job ends well.
    found = {k: v for k, v in hashes(checkout.results).items() if ".snakemake_timestamp" not in k}
    return found | names


def check_entries(store: Path, count: int | None = None) -> None:
    """Check that every entry is whole and none was found damaged."""
    paths = Store(store).paths()
    for path in paths:
        Entry.read(path).check()
    assert count is None or len(paths) == count
    assert not (store / DAMAGED).exists()


@pytest.fixture(scope="module")
def first(root, tmp_path_factory) -> Checkout:
    """A checkout whose targets have been made; tests take copies."""
    checkout = copy_of_project(root, tmp_path_factory.mktemp("first") / "checkout", VALUES)
    made(checkout)
    check_entries(checkout.results / "store", KEPT)
    return checkout


@pytest.fixture
def checkout(first, tmp_path) -> Checkout:
    """A copy of it: a checkout that was moved, its hard links kept."""
    subprocess.run(["cp", "-a", str(first.path), str(tmp_path / "moved")], check=True)
    return Checkout(tmp_path / "moved", list(first.configfiles))


def test_moved_touched_damaged_or_deleted_nothing_is_made_again(checkout):
    before, count = everything(checkout), computed(checkout)
    assert nothing_to_do(checkout)
    for path in [*checkout.path.glob("workflow/**/*.*"), *checkout.path.glob("src/**/*.py")]:
        path.touch()
    assert nothing_to_do(checkout)

    images = checkout.results / "data/digits.npz"
    whole = images.read_bytes()
    os.truncate(images, 50_000)
    made(checkout)
    images.write_bytes(whole)
    assert put_back(checkout) == KEPT
    assert everything(checkout) == before
    assert computed(checkout) == count

    shutil.rmtree(checkout.results / "runs")
    shutil.rmtree(checkout.results / "landscapes/digits/cnn/pugd_2")
    made(checkout)
    assert put_back(checkout) == KEPT
    assert everything(checkout) == before
    assert computed(checkout) == count
    assert nothing_to_do(checkout)
    assert {(run.state, run.note) for run in collect(checkout.results)} == {("done", "put back")}
    check_entries(checkout.results / "store", KEPT)
    # Hard links again: no byte is on the disk twice.
    for path in checkout.results.glob("store/*/*/**/*.safetensors"):
        assert path.stat().st_nlink == 2, path


@pytest.mark.long
def test_a_rule_edited_and_put_back_and_a_seed_removed_and_added(checkout):
    before, count = everything(checkout), computed(checkout)
    rule = checkout.path / RULE
    text = rule.read_text()
    rule.write_text(f"{text}\n\nUNUSED = 1\n")
    said = made(checkout, targets=[TABLE])
    (line,) = [line for line in said.splitlines() if "other code" in line]
    assert "2 finished runs are of other code than today's: perturb.optim.rules.pugd" in line
    assert said.index(line) < said.index("Finished jobid")
    assert computed(checkout) == count + 2 * 2
    rule.write_text(text)
    said = made(checkout)
    assert "other code" not in said  # the store has them
    assert everything(checkout) == before
    assert computed(checkout) == count + 2 * 2

    made(checkout, "--config", "seeds=[0]", targets=[TABLE])
    for folder in checkout.results.glob("runs/digits/cnn/*/seed1"):
        shutil.rmtree(folder)
    made(checkout)
    assert everything(checkout) == before
    assert computed(checkout) == count + 2 * 2


@pytest.mark.long
def test_outputs_of_a_failed_job_come_back_and_are_not_taken_for_current(checkout):
    before, count = everything(checkout), computed(checkout)
    rule = checkout.path / RULE
    text = rule.read_text()
    rule.write_text(f"{text}\n\nraise RuntimeError('broken')\n")
    done = make(checkout, "--config", "fork_jobs=false")
    assert done.returncode != 0
    assert "2 finished results whose jobs failed are back" in done.stderr
    assert everything(checkout) == before
    # They are of other code than today's: asked for again, they fail again.
    assert not nothing_to_do(checkout)
    rule.write_text(text)
    made(checkout)
    assert everything(checkout) == before
    assert computed(checkout) == count
    assert nothing_to_do(checkout)


@pytest.mark.long
def test_older_code_s_runs_make_a_table_under_another_folder(checkout):
    before = hashes(checkout.results)
    code = next(Store(checkout.results / "store").entries()).made_from["code"]
    assert code
    shutil.copy(checkout.path / TABLE, checkout.path / "table.csv")
    rule = checkout.path / RULE
    rule.write_text(f"{rule.read_text()}\n\nUNUSED = 1\n")
    made(checkout, targets=[TABLE])
    command = [sys.executable, "-m", "perturb.jobs.store", "restore", "--to", "results/old"]
    oldest = sorted(Store(checkout.results / "store").entries(), key=lambda entry: entry.kept)[:6]
    for key in [entry.key for entry in oldest if entry.folder.startswith("runs/")]:
        done = subprocess.run(
            [*command, "--key", key],
            cwd=checkout.path,
            env=os.environ | {"PYTHONPATH": str(checkout.path / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    old = {k: v for k, v in hashes(checkout.results / "old").items() if k.startswith("runs/")}
    assert old
    assert old.items() <= before.items()
    count = computed(checkout)
    config = ["--config", "partial_results=true", "pathvars={results: results/old}"]
    made(checkout, *config, targets=["results/old/tables/digits.csv"])
    assert computed(checkout) == count
    runs_made = (checkout.path / "results/old/tables/digits.csv").read_text().splitlines()
    assert len(runs_made) == len((checkout.path / "table.csv").read_text().splitlines())


def start(checkout, targets=TARGETS, cores=2):
    """Start Snakemake and its jobs as a process group of their own."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--nolock"]
    return subprocess.Popen(
        [*command, "--configfile", *checkout.configfiles, "--", *targets],
        cwd=checkout.path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.long
def test_a_rule_edited_while_runs_train_mixes_no_code(root, tmp_path):
    """The runs of one row are of one code, whatever is edited in between (a case of users')."""
    checkout = copy_of_project(root, tmp_path / "checkout", VALUES)
    records = [f"results/runs/digits/cnn/pugd_2/seed{seed}/record.json" for seed in range(5)]
    rule = checkout.path / RULE
    text = rule.read_text()
    process = start(checkout, targets=records, cores=1)
    while not any((checkout.path / name).exists() for name in records) and process.poll() is None:
        time.sleep(0.05)
    rule.write_text(f"{text}\n\nUNUSED = 1\n")
    assert process.wait() != 0
    rule.write_text(text)
    finished = {name for name in records if (checkout.path / name).exists()}
    assert 1 <= len(finished) < 5
    count = computed(checkout)
    assert count == 2 * len(finished)
    logs = [path.read_text() for path in checkout.results.glob("logs/runs/**/*.log")]
    said = "perturb: perturb.optim.rules.pugd changed while this workflow ran. Nothing was computed"
    assert sum(said in text for text in logs) == 5 - len(finished)

    made(checkout, targets=records)
    assert computed(checkout) == 2 * 5
    codes = {read_json(checkout.path / name)["sha256"]["code"] for name in records}
    assert len(codes) == 1


@pytest.mark.long
def test_two_checkouts_share_a_store_at_once_and_a_third_trains_nothing(first, root, tmp_path):
    store = tmp_path / "shared"
    one, two, three = (
        copy_of_project(root, tmp_path / name, with_store(store))
        for name in ("one", "two", "three")
    )
    together = [start(checkout) for checkout in (one, two)]
    assert [process.wait() for process in together] == [0, 0]
    expected = hashes(first.results)
    assert hashes(one.results) == hashes(two.results) == expected
    check_entries(store, KEPT)
    made(three)
    assert computed(three) == 0
    assert put_back(three) == KEPT
    assert hashes(three.results) == expected
    # What the third did to its outputs' times leaves the others' as they were.
    assert nothing_to_do(one)
    assert nothing_to_do(two)


@pytest.mark.long
def test_killed_while_results_are_kept_and_put_back(first, root, tmp_path):
    expected, draw = hashes(first.results), random.Random(3)
    store = tmp_path / "store"
    shutil.copytree(first.results / "store", store)
    for path in Store(store).paths()[::2]:
        shutil.rmtree(path)
    killed = copy_of_project(root, tmp_path / "killed", with_store(store) | {"save_seconds": 0})
    hit = 0
    for number in range(KILLS):
        process = start(killed)
        try:
            process.wait(draw.uniform(3, 9))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            hit += 1
        check_entries(store)
        if number % 2:
            shutil.rmtree(killed.results / "runs", ignore_errors=True)
            for path in Store(store).paths()[number % 5 :: 4]:
                shutil.rmtree(path)
    assert hit
    made(killed)
    assert hashes(killed.results) == expected
    check_entries(store)


def test_a_damaged_entry_is_made_again_and_the_others_are_put_back(checkout):
    before, count = hashes(checkout.results), computed(checkout)
    shutil.rmtree(checkout.results / "runs")
    (entry,) = [
        entry
        for entry in Store(checkout.results / "store").entries()
        if entry.folder == "runs/digits/cnn/sgd_2/seed0"
    ]
    (entry.path / "epochs.csv").write_text("epoch,test_accuracy\n0,1.0\n")
    made(checkout)
    assert hashes(checkout.results) == before
    assert computed(checkout) == count + 2
    log = checkout.results / "logs/runs/digits/cnn/sgd_2/seed0.log"
    assert "damaged: epochs.csv" in log.read_text()


@pytest.mark.long
def test_a_full_disk_of_the_store_costs_no_run(first, root, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(full)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("no right to mount a file system")
    try:
        checkout = copy_of_project(root, tmp_path / "checkout", with_store(full / "store"))
        made(checkout)
        assert hashes(checkout.results) == hashes(first.results)
        logs = [p.read_text() for p in checkout.results.glob("logs/runs/**/*.log")]
        assert all(text.count("perturb: not kept in the store") == 1 for text in logs)
        # Some of the landscapes are small enough.
        check_entries(full / "store")
        subprocess.run(["mount", "-o", "remount,ro", str(full)], check=True)
        shutil.rmtree(checkout.results / "runs/digits/cnn/sgd_2/seed0")
        made(checkout)
        assert hashes(checkout.results) == hashes(first.results)
    finally:
        subprocess.run(["umount", str(full)], check=True)
