"""GPU slots on fake devices: never more holders than slots, and a killed holder frees its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from perturb.errors import PerturbError
from perturb.jobs.gpu import leased_gpu, visible_gpus

# Notes each entry and exit with the GPU, then holds for a while.
HOLDER = """
import os, sys, time
from perturb.jobs.gpu import leased_gpu
with leased_gpu(int(sys.argv[1])) as gpu:
    assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"+{gpu}\\n".encode())
    time.sleep(float(sys.argv[3]))
    os.write(log, f"-{gpu}\\n".encode())
assert "torch" not in sys.modules
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine with two GPUs."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PERTURB_GPUS", "0,1")
    monkeypatch.setenv("PERTURB_GPU_LOCKS", str(tmp_path))


def hold(log, shares=1, seconds=0.3):
    return subprocess.Popen([sys.executable, "-c", HOLDER, str(shares), str(log), str(seconds)])


def wait_for_lines(log, count):
    deadline = time.monotonic() + 20
    while not log.exists() or len(log.read_text().split()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("shares", [1, 2])
def test_no_gpu_is_ever_held_by_more_than_its_shares(tmp_path, shares):
    log = tmp_path / "log"
    holders = [hold(log, shares) for _ in range(8)]
    assert [holder.wait(60) for holder in holders] == [0] * 8
    held = {"0": 0, "1": 0}
    most = 0
    for line in log.read_text().split():
        held[line[1:]] += 1 if line[0] == "+" else -1
        assert max(held.values()) <= shares
        most = max(most, sum(held.values()))
    assert most > 1


def test_jobs_spread_over_the_gpus_before_they_share_one():
    with leased_gpu(2) as first, leased_gpu_beside(2) as second:
        assert {first, second} == {"0", "1"}


def leased_gpu_beside(shares):
    """A lease as another process takes it: not narrowed by this one's CUDA_VISIBLE_DEVICES."""
    del os.environ["CUDA_VISIBLE_DEVICES"]
    return leased_gpu(shares)


def test_a_killed_holder_frees_its_slot(tmp_path):
    log = tmp_path / "log"
    holders = [hold(log, seconds=60) for _ in range(2)]
    wait_for_lines(log, 2)
    waiting = hold(log, seconds=0)
    time.sleep(1)
    assert waiting.poll() is None
    holders[0].send_signal(signal.SIGKILL)
    assert waiting.wait(20) == 0
    for holder in holders:
        holder.kill()
        holder.wait()


def test_the_variable_is_as_before_afterwards(monkeypatch):
    with leased_gpu():
        pass
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    with leased_gpu() as gpu:
        assert gpu == os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"


@pytest.mark.parametrize("given", ["", "-1", "NoDevFiles"])
def test_where_there_is_no_gpu_nothing_happens(monkeypatch, given):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with leased_gpu() as gpu:
        assert gpu is None
        assert os.environ["CUDA_VISIBLE_DEVICES"] == given


def test_a_run_on_the_cpu_takes_no_slot():
    with leased_gpu(device="cpu") as gpu:
        assert gpu is None
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_slurm_job_without_a_gpu_says_that_it_has_none(monkeypatch, capsys):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    with leased_gpu(device="cpu"):
        assert capsys.readouterr().err == ""
    with leased_gpu() as gpu:
        assert gpu is None
        assert "SLURM gave this job no GPU" in capsys.readouterr().err


def test_a_slurm_job_uses_what_it_was_given(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert visible_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with leased_gpu() as one:
        # Another job's 0 may be another GPU: where devices are confined, each job counts from 0.
        monkeypatch.setenv("SLURM_JOB_ID", "13")
        with leased_gpu() as two:
            assert (one, two) == ("0", "0")


def test_nvidia_smi_is_asked_and_mig_devices_count(monkeypatch, tmp_path):
    monkeypatch.delenv("PERTURB_GPUS")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\ncat <<END\n"
        "GPU 0: NVIDIA A100 (UUID: GPU-aa)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-bb)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-cc)\n"
        "GPU 1: NVIDIA A100 (UUID: GPU-dd)\nEND\n"
    )
    program.chmod(0o755)
    assert visible_gpus() == ["MIG-bb", "MIG-cc", "1"]
    program.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert visible_gpus() == []


def test_a_share_of_nothing_is_refused():
    with pytest.raises(PerturbError, match="gpu_shares is 0"), leased_gpu(0):
        pass
