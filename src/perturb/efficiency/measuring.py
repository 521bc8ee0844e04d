"""One row of an efficiency table, in a process of its own: `python -m ... SETTINGS`, JSON out.

A process, because threads, the most memory used and its limit are those of a process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from perturb.errors import PerturbError

OUT_OF_MEMORY = "does not fit"
_MB = 2**20


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a model, batch size, precision and number of threads.

    `status` is `ok` or `does not fit`; the latter has no times. PerturbError where the process
    ended otherwise.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(cell["threads"]),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-m", "perturb.efficiency.measuring", json.dumps(cell)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return {**cell, **json.loads(lines[-1])}
    # The kernel's killer leaves no message; the allocator of the CPU raises within its limit.
    if done.returncode in (-9, 137) or "alloc" in done.stderr or "MemoryError" in done.stderr:
        return {**cell, "status": OUT_OF_MEMORY}
    said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    raise PerturbError(
        f"efficiency of {cell['model']}, batch {cell['batch_size']}, {cell['precision']}: {said[0]}"
    )


def _peak_mb() -> float:
    """Return the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _limit(memory_mb: int) -> None:
    """Let an allocation fail beyond a limit, that of the machine where none is given."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Address space: what is mapped and never touched counts, so PyTorch's libraries are added.
    mapped = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    mapped *= os.sysconf("SC_PAGE_SIZE")
    limit = memory_mb * _MB if memory_mb else machine
    resource.setrlimit(resource.RLIMIT_AS, (mapped + limit, mapped + limit))


def _row(cell: dict[str, Any]) -> dict[str, Any]:
    import torch

    from perturb import models
    from perturb.efficiency.counting import count_macs, count_parameters
    from perturb.efficiency.timing import time_steps
    from perturb.train.determinism import check_precision, describe_device, find_device, versions
    from perturb.train.forward import forward_of

    torch.set_num_threads(cell["threads"])
    device = find_device(cell["device"])
    check_precision(cell["precision"], device)
    on_gpu = device.type == "cuda"
    shape = (cell["classes"], cell["image_size"], cell["channels"])
    torch.manual_seed(0)
    model = models.build(cell["model"], *shape).eval().to(device)
    batch = (cell["batch_size"], cell["channels"], cell["image_size"], cell["image_size"])
    one = torch.zeros(1, *batch[1:], device=device)
    row: dict[str, Any] = {"macs": count_macs(model, one), "parameters": count_parameters(model)}
    row |= {"flops": 2 * row["macs"], "device_name": describe_device(device)}
    row["versions"] = versions(device)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _limit(cell["memory_mb"])
    before = _peak_mb()
    forward = forward_of(model, precision=cell["precision"])
    synchronise = (lambda: torch.cuda.synchronize(device)) if on_gpu else (lambda: None)
    try:
        with torch.inference_mode():
            timing = time_steps(
                forward,
                lambda: torch.randn(batch, device=device),
                synchronise,
                seconds=cell["seconds"],
            )
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and (
            "allocate" not in str(error)
        ):
            raise
        return row | {"status": OUT_OF_MEMORY}
    if on_gpu:
        allocated = torch.cuda.max_memory_allocated(device) / _MB
        reserved = torch.cuda.max_memory_reserved(device) / _MB
    else:
        allocated, reserved = _peak_mb() - before, _peak_mb()
    return row | {
        "status": "ok",
        "steps": len(timing.seconds),
        "images_per_second": cell["batch_size"] * len(timing.seconds) / timing.total,
        "step_ms_median": 1000 * timing.quantile(0.5),
        "step_ms_p90": 1000 * timing.quantile(0.9),
        "step_ms_p99": 1000 * timing.quantile(0.99),
        "memory_allocated_mb": allocated,
        "memory_reserved_mb": reserved,
    }


if __name__ == "__main__":
    print(json.dumps(_row(json.loads(sys.argv[1]))))
