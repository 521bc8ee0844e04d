"""What reruns something, what reruns nothing, and what is refused before anything is touched."""

import hashlib
import os
import shutil
from itertools import takewhile

import numpy as np
import pytest
from PIL import Image

from perturb.machine import may_have_gpu

from .conftest import Checkout, copy_of_project
from .test_workflow import hashes, one_message

METHODS = ("sgd_2", "sgd_4", "pugd_2")
VALUES = {
    "seeds": [0],
    "chapters": ["digits"],
    "rts": {
        "datasets": {
            "digits": {
                "reference": "sgd_2",
                "sgd": "sgd_2",
                "sgd_double": "sgd_4",
                "train": {"batch_size": 400},
                "landscape": {"methods": []},
                "methods": [{"method": method} for method in METHODS],
            }
        }
    },
}
TABLE = "results/tables/digits.csv"


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> Checkout:
    """A finished results section of three runs, to be copied."""
    checkout = copy_of_project(root, tmp_path_factory.mktemp("finished") / "checkout", VALUES)
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


@pytest.fixture
def copied(finished, tmp_path) -> Checkout:
    """A copy of it, times and all."""
    shutil.copytree(finished.path, tmp_path / "checkout")
    return Checkout(tmp_path / "checkout", [*finished.configfiles])


def everything(results):
    """Return hash and time of every file, logs too: nothing is touched where it stays the same."""
    files = [path for path in results.rglob("*") if path.is_file()]
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


def planned(done):
    """Return what a dry run would run: the number of jobs by rule."""
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    start = next((n for n, line in enumerate(lines) if line == ["job", "count"]), None)
    if start is None:
        assert "Nothing to be done" in done.stdout, done.stdout
        return {}
    rows = takewhile(lambda line: len(line) == 2, lines[start + 2 :])
    return {rule: int(count) for rule, count in rows if rule not in ("total", "all")}


BROKEN = "raise RuntimeError('broken')"
KILLED = "__import__('os').kill(__import__('os').getpid(), 9)"


def break_function(copied, module, function, how):
    """Have a function of the library stop at its begin; return what mends it."""
    path = copied.path / "src/perturb" / module
    good = path.read_text()
    start = good.index(f"def {function}(")
    line = good.index('"""', good.index('"""', start) + 3) + 3
    path.write_text(f"{good[:line]}\n    {how}{good[line:]}")
    return lambda: path.write_text(good)


def append(path, text):
    path.write_text(path.read_text() + text)


# --- what reruns nothing --------------------------------------------------------------------------


def test_another_spelling_of_the_same_reruns_nothing(finished):
    settings = ["data_root=./resources/../resources/data", "partial_data=true"]
    done = finished.snakemake("-n", "--config", *settings, "train={device: cpu}")
    assert planned(done) == {}


def test_times_comments_and_a_new_version_rerun_nothing(copied):
    for script in (copied.path / "workflow/scripts").glob("*.py"):
        append(script, "\n# a comment\n")
    append(copied.path / "src/perturb/train/run.py", "\n# a comment\n")
    version = copied.path / "src/perturb/__init__.py"
    version.write_text(version.read_text().replace("0.1.0", "0.2.0"))
    assert "0.2.0" in version.read_text()
    assert planned(copied.snakemake("-n")) == {}
    done = copied.snakemake("--", "verify")  # trains a run again: its record names the version
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same bits" in done.stdout
    script = copied.path / "workflow/scripts/prepare_data.py"
    script.write_text(script.read_text().replace("with user_errors", "print()\nwith user_errors"))
    assert planned(copied.snakemake("-n"))["prepare_data"] == 1


@pytest.mark.long
def test_runs_of_a_removed_method_are_reported_and_stop_nothing(copied):
    runs = copied.results / "runs/digits/cnn"
    shutil.copytree(runs / "pugd_2", runs / "foo_2")
    done = copied.snakemake("-n", "--config", "seeds=[0,1]")
    assert planned(done)["train"] == len(METHODS)
    done = copied.snakemake("--config", "verify={retrain: 0}", "--", "verify")
    one_message(done, "perturb: verify: 1 file is not", "runs/digits/cnn/foo_2/seed0/record.json")
    shutil.rmtree(runs / "foo_2/seed0/checkpoints")
    done = copied.snakemake("--config", "target=digits", "--", "plan")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_documented_spellings_verify(make_checkout):
    methods = ["org_2", "sam_0.050_2", "pugdr_isin2_0.01_2"]
    own = {**VALUES["rts"]["datasets"]["digits"], "methods": [{"method": m} for m in methods]}
    own |= {"reference": "org_2", "sgd": "org_2"}
    own |= {"sgd_double": "org_4"}
    own["methods"] = [*own["methods"], {"method": "org_4", "run": False}]
    own["landscape"] = {"methods": ["org_2"], "direction_seeds": [0], "points": 3, "images": 20}
    own["landscape"]["curvature_images"] = 10
    checkout = make_checkout(values={**VALUES, "rts": {"datasets": {"digits": own}}})
    plane = "results/landscapes/digits/cnn/org_2/seed0/plane0.npz"
    done = checkout.snakemake("--", TABLE, plane)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = checkout.results / "runs/digits/cnn"
    assert sorted(path.name for path in runs.iterdir()) == sorted(methods)
    done = checkout.snakemake("--", "verify")  # figures were not asked for
    kinds = {line.split()[0] for line in done.stdout.splitlines() if "results/" in line}
    assert not kinds & {"edited", "stale", "differs", "unknown"}, done.stdout
    assert "the same bits" in done.stdout, done.stdout
    (runs / "org_2").rename(runs / "sgd_8")
    done = checkout.snakemake("--config", "verify={retrain: 0}", "--", "verify")
    assert "sgd_8/seed0/record.json: the record of digits/cnn/sgd_2/seed0" in done.stdout


def test_a_deleted_run_of_the_report_comes_back_and_the_report_is_as_it_was(copied):
    before = hashes(copied.results)
    shutil.rmtree(copied.results / "runs/digits/cnn/pugd_2")
    assert planned(copied.snakemake("-n"))["train"] == 1
    # Partial results are made from what is there.
    done = copied.snakemake("-n", "--config", "partial_results=true")
    assert "train" not in planned(done)
    done = copied.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(copied.results) == before
    assert planned(copied.snakemake("-n")) == {}


# --- what is seen ---------------------------------------------------------------------------------


def draw_images(folder, seed=0):
    for label, name in enumerate(("cats", "dogs")):
        (folder / name).mkdir(parents=True)
        draws = np.random.default_rng(seed + label)
        for number in range(10):
            pixels = draws.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def put_other_pixels(folder):
    """Give a file other content of the same size and time."""
    path = folder / "cats/0.png"
    before, content = path.stat(), path.read_bytes()
    other = next(
        p for p in sorted(folder.rglob("*.png")) if p != path and p.stat().st_size == len(content)
    )
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.read_bytes() != content and path.stat().st_mtime_ns == before.st_mtime_ns


CHANGES = {
    "a new class": lambda folder: shutil.copytree(folder / "cats", folder / "horses"),
    "copies": lambda folder: shutil.copy(folder / "cats/0.png", folder / "cats/copy.png"),
    "an image moved to another class": lambda folder: (folder / "cats/0.png").rename(
        folder / "dogs/moved.png"
    ),
    "a changed file": put_other_pixels,
}


@pytest.mark.long
def test_a_changed_folder_of_images_is_seen(make_checkout, tmp_path):
    folder = tmp_path / "images"
    draw_images(folder)
    checkout = make_checkout(values={"seeds": [0], "image_folders": {"mine": str(folder)}})
    run = "results/runs/mine/cnn/sgd_1/seed0/record.json"
    small = "train={batch_size: 4}"

    def snakemake(*arguments):
        return checkout.snakemake("--config", small, *arguments, "--", run)

    assert snakemake().returncode == 0
    assert planned(snakemake("-n")) == {}
    (folder / "notes.txt").write_text("no image")
    (folder / "cats/.hidden.png").write_text("not read")
    assert planned(snakemake("-n")) == {}
    shutil.move(folder, tmp_path / "away")  # what was made of it stays usable
    assert planned(snakemake("-n")) == {}
    shutil.move(tmp_path / "away", folder)
    for change in CHANGES.values():
        shutil.copytree(folder, tmp_path / "kept")
        change(folder)
        assert planned(snakemake("-n")) == {"prepare_folder": 1, "initialise": 1, "train": 1}
        shutil.rmtree(folder)
        shutil.move(tmp_path / "kept", folder)
    assert planned(snakemake("-n")) == {}  # the same content under other times and inodes
    CHANGES["a new class"](folder)
    verify = ("--config", small, "verify={retrain: 0}", "chapters=[digits]", "--", "verify")
    said = f"stale       results/data/mine.manifest.json: {folder} changed: horses"
    assert said in checkout.snakemake(*verify).stdout
    assert snakemake().returncode == 0
    assert planned(snakemake("-n")) == {}
    assert said not in checkout.snakemake(*verify).stdout


@pytest.mark.long
def test_an_older_file_in_a_folder_of_an_audit_is_seen(copied):
    """Snakemake compares times: a file that was put back from a copy is older than the audit."""
    folder = copied.path / "files"
    folder.mkdir()
    rows = "".join(f"{epoch},{1 / (epoch + 1):.4f},{50 + epoch}\n" for epoch in range(20))
    for name in ("sgd_20_seed0", "sgd_20_seed1", "pugd_20_seed0", "pugd_20_seed1"):
        (folder / "toy").mkdir(exist_ok=True)
        (folder / f"toy/{name}.csv").write_text("epoch,val_loss,val_acc\n" + rows)
    copied.configfiles.append("audit.yaml")
    (copied.path / "audit.yaml").write_text(
        f"audits: {{mine: {{folder: {folder}, accuracy: percent, baselines: [sgd, pugd], pattern: "
        "'(?P<dataset>.*)/(?P<method>.*)_seed(?P<seed>.*)[.]csv', "
        "fields: {test_loss: val_loss, test_accuracy: val_acc}}}\n"
    )
    page = "results/audit/mine.html"
    done = copied.snakemake("--", page)
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(copied.snakemake("-n", "--", page)) == {}
    path = folder / "toy/sgd_20_seed0.csv"
    path.write_text(path.read_text().replace("69", "68"))
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert planned(copied.snakemake("-n", "--", page))["audit"] == 1

    before = hashes(copied.results)
    break_function(copied, "report/audit.py", "write", BROKEN)
    assert copied.snakemake("--", page).returncode != 0
    left = hashes(copied.results)
    assert {name: left.get(name) for name in before} == before, "the last good audit stays"
    assert planned(copied.snakemake("-n", "--", page))["audit"] == 1


# --- what is refused ------------------------------------------------------------------------------

NO_GPU = pytest.mark.skipif(may_have_gpu(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param(
            ["train={device: cuda}", "seeds=[0,1]"],
            "config, train.device is 'cuda' for digits/cnn/",
            marks=NO_GPU,
        ),
        pytest.param(
            ["rts={datasets: {digits: {train: {precision: tf32}}}}"],
            "config, train.precision is 'tf32' for digits/cnn/",
            marks=NO_GPU,
        ),
        (["train={threads: 100000}"], "100000 is greater than the maximum of 1024"),
        (["train={weight_decay: 1e300}"], "train.weight_decay: 1e+300 does not fit"),
        (["train={nesterov: true, momentum: 0}"], "train settings of digits/cnn/sgd_2/seed0"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_touched(finished, settings, says):
    before = everything(finished.results)
    one_message(finished.snakemake("--config", *settings), says)
    assert everything(finished.results) == before


@NO_GPU
def test_a_device_is_asked_of_the_machine_that_runs_the_jobs(finished):
    """Finished runs of a GPU are tables anywhere; and a cluster's submit host needs no GPU."""
    cuda = ("--config", "train={device: cuda}")
    assert planned(finished.snakemake("-n", *cuda)) == {}
    elsewhere = ("-n", "--jobs", "4", *cuda, "seeds=[0,1]")  # as profiles/slurm has it
    assert planned(finished.snakemake(*elsewhere))["train"] == len(METHODS)
    toy = "results/runs/gradients_smoke/sign_units/toy_dimension-8_pretraining-0/seed0/record.json"
    one_message(finished.snakemake(*cuda, "--", toy), "train.device is 'cuda' for gradients_smoke/")


# --- what fails -----------------------------------------------------------------------------------


def fails(copied, before):
    """Run what fails; check that all good files of before are there, and what failed is not new."""
    done = copied.snakemake()
    assert done.returncode != 0
    assert "Restored previous version of" in done.stdout + done.stderr
    left = hashes(copied.results)
    assert {name: left[name] for name in before} == before


def comes_well(copied, before):
    """Run it all: what had failed is made again, to the same bytes."""
    done = copied.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(copied.snakemake("-n")) == {}
    now = hashes(copied.results)
    assert {name: sha256 for name, sha256 in now.items() if "state" not in name} == before


@pytest.mark.long
@pytest.mark.parametrize("how", [BROKEN, KILLED], ids=["raises", "is killed"])
def test_a_failed_table_leaves_the_last_good_one_and_is_made_again(copied, how):
    before = hashes(copied.results)
    half = "(Path(folder) / 'digits.csv').write_text('half')"
    mend = break_function(copied, "analysis/printers.py", "write", f"{half}; {how}")
    fails(copied, before)
    assert planned(copied.snakemake("-n"))["table"] >= 1
    mend()
    assert planned(copied.snakemake("-n"))["table"] >= 1, "the failed table is not taken for new"
    comes_well(copied, before)


@pytest.mark.long
def test_failed_figures_sections_and_reports_leave_the_last_good_ones(copied):
    before = hashes(copied.results)
    mend = break_function(copied, "figures/style.py", "save", BROKEN)
    fails(copied, before)
    mend()
    mend_section = break_function(copied, "report/section.py", "write", BROKEN)
    mend_report = break_function(copied, "report/html.py", "write", BROKEN)
    fails(copied, before)
    assert {"section", "report"} <= planned(copied.snakemake("-n")).keys()
    mend_section()
    mend_report()
    comes_well(copied, before)
