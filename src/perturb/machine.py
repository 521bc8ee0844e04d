"""What a machine is called in records, as far as that is known without torch."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Where a driver of GPUs is loaded: NVIDIA's, that of Windows' Linux, AMD's.
_GPU_NODES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def describe_cpu() -> str:
    """Return the CPU in words, the same for every machine of its kind."""
    return f"cpu ({_cpu_name()})"


@cache
def may_have_gpu() -> bool:
    """Return whether PyTorch could find a GPU: where not, nobody has to import it and ask."""
    return any(Path(node).exists() for node in _GPU_NODES)


def why_no_gpu() -> str:
    """Return why PyTorch can find no GPU here, in words; "" where it may find one."""
    if not may_have_gpu():
        return "this machine has no GPU, or no driver of one"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES='{visible}' hides every GPU"
    try:
        built_without = version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return ""
    return "the installed PyTorch is built for CPUs only" if built_without else ""


@cache
def oldest_gpu() -> tuple[str, float] | None:
    """Return name and compute capability of the oldest GPU that may be used here, without torch.

    None where nvidia-smi does not tell.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = [f"--id={visible}"] if visible and "MIG" not in visible else []
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader", *chosen]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30)
        rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if line.strip()]
        return min(((name, float(capability)) for name, capability in rows), key=lambda gpu: gpu[1])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
