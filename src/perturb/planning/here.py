"""This machine's device, as records name it; PyTorch is imported only where that is asked of it."""

from __future__ import annotations

import re
from pathlib import Path

from perturb.errors import PerturbError
from perturb.machine import describe_cpu, may_have_gpu, oldest_gpu, why_no_gpu
from perturb.runs import Specification

_AMPERE = 8.0  # the compute capability of the first GPUs that compute in tf32 and bfloat16


def device_here(specification: Specification) -> str:
    """Return in words the device that a run would use on this machine."""
    wanted = specification.device
    if wanted == "cpu" or (wanted == "auto" and not may_have_gpu()):
        return describe_cpu()
    from perturb.train.determinism import describe_device, find_device

    return describe_device(find_device(wanted))


def check_here(specification: Specification) -> None:
    """Raise PerturbError where this machine lacks a run's device, or that its number format.

    Without torch: what is left over, a broken driver, the job finds itself.
    """
    run, wanted = specification.run, specification.device
    missing = "" if wanted == "cpu" else why_no_gpu()
    if wanted == "cuda" and missing:
        raise PerturbError(
            f"config, train.device is 'cuda' for {run}, but {missing}. Set `device: auto` (or "
            "`cpu`) in the config, or run it on a cluster (profiles/slurm-gpu)."
        )
    precision = getattr(specification, "precision", "float32")
    if precision == "float32":
        return
    if wanted == "cpu" or missing:
        lacks, formats = "the CPU" if precision == "tf32" else "", "float32 or bfloat16"
    else:
        gpu = oldest_gpu()
        lacks, formats = gpu[0] if gpu and gpu[1] < _AMPERE else "", "float32"
    if lacks:
        raise PerturbError(
            f"config, train.precision is '{precision}' for {run}, in which {lacks} does not "
            f"compute. Set `precision: {formats}` in the config, or take a GPU of 2020 or later."
        )


def calibration_file(specification: Specification, folder: Path) -> Path:
    """Return where a calibration for runs like this one is kept, on this machine's device."""
    slug = re.sub(r"\W+", "-", device_here(specification)).strip("-").lower()
    return folder / specification.dataset / specification.model / f"{slug}.json"
