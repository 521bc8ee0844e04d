"""A run that is killed, stopped, cut off from its disk or damaged goes on to the same bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from perturb import models, studies
from perturb.errors import PerturbError
from perturb.models.weights import save_weights
from perturb.runs import RunFiles
from perturb.studies.rts.settings import RtsSpecification
from perturb.train import run as run_module
from perturb.train.run import run
from perturb.train.state import StateFolder

KILLS = int(os.environ.get("PERTURB_KILLS", 5))
# Root may write to read-only folders.
WITHOUT_ROOTS_RIGHTS = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
METHODS = (
    "pugd_6",
    "sgd_6",
    "looksam_0.05_6",  # remembers a gradient and counts steps
    "aesam_0.05_6",  # remembers a mean and a variance
    "pugdt_var_6init_t1gamma1000_k2",  # remembers norms and a threshold; switches at epoch 3
    "pugdt_delta_6xi2mu0.1_t1",
    "pugdt_accrate_6v0.5_k2",
)
SPECIFICATION = RtsSpecification(
    dataset="digits", model="cnn", method="pugd_6", seed=0, batch_size=200, checkpoint_every=2
)
LONG = replace(SPECIFICATION, method="looksam_0.05_20", checkpoint_every=4)


def train(job, inputs, specification=SPECIFICATION, save_seconds=60.0, keep_state=False):
    """Train in this process what a trainer would in its own."""
    files = {"state": job.state, "progress": job.folder / "progress.jsonl"}
    run(
        specification,
        RunFiles(job.folder / "run", **inputs, **files),
        save_seconds=save_seconds,
        keep_state=keep_state,
    )
    return job


@contextmanager
def signal_after(epochs, number=signal.SIGTERM):
    """Send this process a signal when an epoch has ended, before its state could be saved."""
    plain = run_module._print_progress

    def stopping(epoch, of, told):
        plain(epoch, of, told)
        if epoch + 1 == epochs:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "_print_progress", stopping)
        yield


def stopped(job, inputs, after, specification=SPECIFICATION, save_seconds=0.0):
    """Leave an unfinished run: stopped in the epoch `after`, whose state is not saved."""
    with signal_after(after), pytest.raises(PerturbError, match="stopped by SIGTERM"):
        train(job, inputs, specification, save_seconds)
    return job


def states(job):
    return sorted(path.name for path in job.state.glob("epoch*"))


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """The bytes of uninterrupted runs, each trained once."""
    known = {}

    def of(specification):
        if specification not in known:
            from .conftest import Job

            job = train(Job(tmp_path_factory.mktemp("whole")), inputs, specification)
            known[specification] = job.results()
        return known[specification]

    return of


@pytest.mark.parametrize(
    ("method", "save_seconds"), [*((method, 60.0) for method in METHODS), ("pugd_6", 0.0)]
)
def test_each_kind_of_method_goes_on_to_the_same_bytes(
    make_job, inputs, whole, method, save_seconds
):
    specification = replace(SPECIFICATION, method=method)
    job = make_job(specification)
    for epochs in (3, 5):
        stopped(job, inputs, epochs, specification, save_seconds)
        assert f"epoch{epochs - 1}.state" in states(job)
    train(job, inputs, specification)
    assert job.results() == whole(specification)
    assert not job.state.exists()
    trained = [json.loads(line) for line in (job.folder / "progress.jsonl").open()]
    assert [line["start"] for line in trained if "start" in line] == [0, 2, 4]


def test_at_most_two_states_are_kept(make_job, inputs):
    job = stopped(make_job(SPECIFICATION), inputs, 6)
    assert states(job) == ["epoch4.state", "epoch5.state"]


def test_stopped_before_an_epoch_has_ended_it_begins_anew(make_job, inputs, whole):
    job = make_job(SPECIFICATION)
    with signal_after(1), pytest.raises(PerturbError, match="the next start begins anew"):
        train(job, inputs)
    assert train(job, inputs).results() == whole(SPECIFICATION)


def test_killed_at_random_moments(make_job, whole):
    """SIGKILL: in the start, an epoch, a save, the writing of the outputs, the clearing."""
    draw = random.Random(4)
    job, kills = make_job(LONG), 0
    while kills < KILLS:
        process = job.start()
        job.wait(process, job.lines() + draw.randrange(1 + 60 // KILLS))
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        _, said = process.communicate()
        if process.returncode == 0:  # too late: it had finished
            shutil.rmtree(job.folder / "run")
            continue
        assert process.returncode == -signal.SIGKILL, said
        kills += 1
    done = job.finish()
    assert done.returncode == 0, done.stderr
    assert job.results() == whole(LONG)


def test_terminated_at_random_moments(make_job, whole):
    draw = random.Random(5)
    job, stops = make_job(LONG, save_seconds=60), 0
    while stops < max(2, KILLS // 2):
        process = job.start()
        job.wait(process, job.lines() + 2 + draw.randrange(4))
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
        if not job.state.exists():  # too late: it had finished
            shutil.rmtree(job.folder / "run")
            continue
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith("perturb: stopped by SIGTERM; the next start goes")
        stops += 1
    assert job.finish().returncode == 0
    assert job.results() == whole(LONG)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_state_is_set_aside(make_job, inputs, whole, capsys, seed):
    """The newest, then both: the one before is used, or none."""
    job = stopped(make_job(SPECIFICATION), inputs, 6)
    draw = random.Random(seed)
    damaged = ["epoch5.state", "epoch4.state"][: 1 + seed % 2]
    for name in damaged:
        damage(job.state / name, draw)
    train(job, inputs)
    said = capsys.readouterr().err
    for name in damaged:
        assert f"{name}.damaged" in said
    assert ("goes on after epoch 4" in said) == (len(damaged) == 1)
    assert job.results() == whole(SPECIFICATION)


def damage(path, draw):
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    if draw.random() < 0.3:
        del content[place:]
    else:
        content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def test_no_damage_goes_unnoticed(make_job, inputs, capsys):
    """100 flips and cuts at seeded places, most of them in the line of JSON."""
    job = stopped(make_job(SPECIFICATION), inputs, 6)
    newest, draw = job.state / "epoch5.state", random.Random(6)
    content = newest.read_bytes()
    fingerprint = json.loads(content.split(b"\n")[1])["fingerprint"]
    head = content.index(b"\n", content.index(b"\n") + 1)
    for _ in range(100):
        place = draw.randrange(head if draw.random() < 0.7 else len(content))
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        newest.write_bytes(changed if draw.random() < 0.8 else content[:place])
        assert StateFolder(job.state, fingerprint, 60).load().epochs == 4
    newest.write_bytes(content)
    assert StateFolder(job.state, fingerprint, 60).load().epochs == 5
    assert capsys.readouterr().err.count("set aside") == 100


def test_a_damaged_checkpoint_is_made_again(make_job, inputs, whole, capsys):
    job = stopped(make_job(SPECIFICATION), inputs, 6)
    damage(job.state / "checkpoints" / "epoch3.safetensors", random.Random(7))
    train(job, inputs)
    assert "a checkpoint that belongs to it is missing or damaged" in capsys.readouterr().err
    assert job.results() == whole(SPECIFICATION)


def test_what_another_specification_left_is_refused(make_job, inputs, whole):
    job = stopped(make_job(SPECIFICATION), inputs, 4)
    changed = replace(SPECIFICATION, learning_rate=0.2, seed=1)
    with pytest.raises(PerturbError) as refused:
        train(job, inputs, changed)
    assert "seed (0 then, 1 now)" in str(refused.value)
    assert "specification.learning_rate (0.1 then, 0.2 now)" in str(refused.value)
    assert f"delete the folder {job.state}" in str(refused.value)
    assert train(job, inputs).results() == whole(SPECIFICATION)


def test_what_other_code_or_other_weights_left_is_refused(make_job, inputs, monkeypatch, tmp_path):
    job = stopped(make_job(SPECIFICATION), inputs, 4)
    edited = studies.code_of(SPECIFICATION) | {"perturb.optim.rules.pugd": "edited"}
    with monkeypatch.context() as patch:
        patch.setattr(studies, "code_of", lambda specification: edited)
        with pytest.raises(PerturbError, match=r"code\.perturb\.optim\.rules\.pugd \("):
            train(job, inputs)
    other = tmp_path / "other.safetensors"
    save_weights(other, models.initial_weights("cnn", 10, 8, 1, 1))
    with pytest.raises(PerturbError, match=r"sha256\.initial_weights \("):
        train(job, inputs | {"initial": other})


def test_a_kept_state_makes_a_finished_run_again_without_training(
    make_job, inputs, whole, monkeypatch
):
    job = train(make_job(SPECIFICATION), inputs, keep_state=True)
    assert states(job) == ["epoch6.state"]
    shutil.rmtree(job.folder / "run")
    with monkeypatch.context() as patch:
        patch.setattr("perturb.train.classifier.train_epoch", None)
        assert train(job, inputs, keep_state=True).results() == whole(SPECIFICATION)
    # It is no unfinished run: another specification takes its place without a question.
    changed = replace(SPECIFICATION, learning_rate=0.2)
    assert train(job, inputs, changed).results() == whole(changed)
    assert not job.state.exists()


def test_a_second_trainer_stops_and_the_first_is_not_disturbed(make_job, whole):
    job = make_job(LONG)
    first = job.start()
    job.wait(first, 2)
    first.send_signal(signal.SIGSTOP)
    second = job.finish()
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert "which trains this run" in second.stderr and f"process {first.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    _, said = first.communicate()
    assert first.returncode == 0, said
    assert job.results() == whole(LONG)


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, to be filled or made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode
    except OSError:
        done = 1
    if done:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_message_and_the_run_goes_on_later(make_job, whole, disk):
    job = make_job(LONG, at=disk)
    process = job.start()
    job.wait(process, 4)
    process.send_signal(signal.SIGSTOP)
    filler = disk / "filler"
    with (
        pytest.raises(OSError, match="No space left"),
        open(filler, "wb", buffering=0) as file,
    ):
        while True:
            file.write(bytes(4096))
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate()
    assert process.returncode == 1
    assert [line for line in said.splitlines() if not line.startswith("epoch ")] == [
        line for line in said.splitlines() if "No space left on device: '" in line
    ]
    filler.unlink()
    done = job.finish()
    assert done.returncode == 0, done.stderr
    assert "goes on after epoch" in done.stderr
    assert job.results() == whole(LONG)


def test_folders_that_turn_read_only_are_one_message(make_job, whole):
    job = make_job(LONG)
    process = job.start(prefix=WITHOUT_ROOTS_RIGHTS)
    job.wait(process, 4)
    folders = [job.folder, *(path for path in job.folder.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    _, said = process.communicate()
    for folder in folders:
        folder.chmod(0o755)
    assert process.returncode == 1
    said = [line for line in said.splitlines() if not line.startswith("epoch ")]
    assert len(said) == 1 and "Permission denied: '" in said[0]
    assert job.finish().returncode == 0
    assert job.results() == whole(LONG)
