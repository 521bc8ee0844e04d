"""Fixed threads and deterministic algorithms; and what a run says about where it ran."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata

import numpy as np
import torch

import perturb
from perturb.errors import PerturbError
from perturb.machine import describe_cpu
from perturb.models.registry import library_of


def make_deterministic(threads: int, precision: str = "float32") -> None:
    """Fix this process's CPU threads and let PyTorch use deterministic algorithms only.

    `precision`: as `set_precision` has it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # As use_deterministic_algorithms(True), without its import of the compiler, which takes 2 s.
    torch.set_deterministic_debug_mode("error")
    # Filling fresh tensors hides reads of uninitialised memory; it costs a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    set_precision(precision)


def set_precision(precision: str) -> None:
    """Let a GPU's matrix products and convolutions round their inputs to `tf32`, or forbid it."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def find_device(wanted: str) -> torch.device:
    """Return the device that the configuration asks for; `auto` is the GPU where there is one.

    Raises PerturbError where `cuda` is asked for and PyTorch sees no GPU.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise PerturbError(
            "train: device is 'cuda' but PyTorch sees no GPU. "
            "Check nvidia-smi and CUDA_VISIBLE_DEVICES, or set `device: auto` in the config."
        )
    return torch.device(wanted)


def check_precision(precision: str, device: torch.device) -> None:
    """Raise PerturbError where the device does not compute in `precision` (config: train)."""
    if precision == "float32" or (precision == "bfloat16" and device.type == "cpu"):
        return
    # The capability of Ampere, the first GPUs with either format.
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return
    what = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    formats = "float32 or bfloat16" if device.type == "cpu" else "float32"
    raise PerturbError(
        f"train: precision is '{precision}', in which {what} does not compute. "
        f"Set `precision: {formats}` in the config, or train on a GPU of 2020 or later."
    )


def describe_device(device: torch.device) -> str:
    """Return the device in words, the same for every machine of its kind."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return describe_cpu()


@cache
def version(library: str) -> str:
    """Return the version of an installed library, looked up once: it takes 2 ms."""
    return metadata.version(library)


def versions(device: torch.device, network: str = "") -> dict[str, str]:
    """Return the versions that a run's numbers may depend on; `network` as the registry has it."""
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "safetensors": version("safetensors"),
        "perturb": perturb.__version__,
    }
    if library := library_of(network):
        found[library] = version(library)
    if device.type == "cuda":
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())
    return found
