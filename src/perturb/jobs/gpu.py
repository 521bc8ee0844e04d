"""GPU slots: a training job leases one GPU, or a share of one, while it runs.

Snakemake counts GPUs and assigns none, so jobs that start together would all use the first. A slot
is a lock file that a process holds with flock: the kernel frees it when the process ends, however
it ends. Nothing here imports PyTorch: a job that waits for a slot is a bare interpreter.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perturb.errors import PerturbError

SECONDS_BETWEEN_TRIES = 0.5


@contextmanager
def leased_gpu(shares: int = 1, device: str = "auto") -> Iterator[str | None]:
    """Hold one of `shares` slots of one GPU, in CUDA_VISIBLE_DEVICES, until the block is left.

    Waits while every slot is held. Yields the GPU, or None where there is nothing to share: no
    GPU, `device` is `cpu`, or a SLURM job that was given none. To be entered before PyTorch
    initialises CUDA, which reads the variable once.
    """
    if shares < 1:
        raise PerturbError(f"gpu_shares is {shares}; a GPU has at least one share.")
    gpus = [] if device == "cpu" else visible_gpus()
    if not gpus:
        if device != "cpu" and "SLURM_JOB_ID" in os.environ:
            print(
                "perturb: SLURM gave this job no GPU, so it runs on the CPU. profiles/slurm-gpu "
                "asks for one for each rule under set-resources.",
                file=sys.stderr,
            )
        yield None
        return
    folder = _folder()
    said = False
    while (slot := _take_free_slot(folder, gpus, shares)) is None:
        if not said:
            print(f"Waiting for one of {len(gpus)} GPUs ({shares} shares each).", file=sys.stderr)
            said = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    gpu, lock = slot
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        yield gpu
    finally:
        if before is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
        os.close(lock)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    What CUDA_VISIBLE_DEVICES lists, where it is set: by SLURM, or by a user who keeps some for
    other work. Elsewhere all that `nvidia-smi -L` lists, by number; a GPU that is cut into MIG
    devices counts as those. PERTURB_GPUS, a list of the same kind, replaces nvidia-smi in tests.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None and "SLURM_JOB_ID" in os.environ:
        return []
    if given is None:
        given = os.environ.get("PERTURB_GPUS")
    if given is None:
        return _listed_by_nvidia_smi()
    names = [name.strip() for name in given.split(",") if name.strip()]
    # CUDA ignores what follows a device that does not exist: -1 and NoDevFiles mean none.
    valid = [bool(re.match(r"\d+$|GPU-|MIG-", name)) for name in names]
    return names[: valid.index(False)] if False in valid else names


def _listed_by_nvidia_smi() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    gpus: list[list[str]] = []
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        if line.startswith("GPU "):
            gpus.append([])
        elif gpus and (mig := re.search(r"UUID: (MIG-[^)]+)", line)):
            gpus[-1].append(mig[1])
    return [name for number, migs in enumerate(gpus) for name in migs or [str(number)]]


def _folder() -> Path:
    """Return the folder of this user's locks; a SLURM job, whose GPUs are its own, has its own."""
    name = f"perturb-gpu-{os.getuid()}"
    if job := os.environ.get("SLURM_JOB_ID"):
        name += f"-slurm-{job}"
    folder = Path(os.environ.get("PERTURB_GPU_LOCKS", tempfile.gettempdir())) / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _take_free_slot(folder: Path, gpus: list[str], shares: int) -> tuple[str, int] | None:
    """Lock the first free slot, first shares first so that jobs spread over the GPUs.

    Returns the GPU and the open lock file, or None where all are held.
    """
    for share in range(shares):
        for gpu in gpus:
            path = folder / f"{gpu.replace('/', '_')}.{share}"
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return gpu, lock
    return None
