"""`python -m benchmarks [NAME ...]`: run the benchmarks, print and write their table.

A benchmark is a module of this folder with `run() -> list[dict]`, and with `unavailable() -> str`
where there are machines that it cannot run on: the reason, or nothing. A row has the keys of
`COLUMNS`, and what it leaves out stays empty. `value` is a median over repeats where the benchmark
repeats, `ratio` the median of the value set against `against` in the same repeat, `spread` the
interquartile range of these ratios (the range of fewer than four), and `expected` the bound that
the ratio should keep. Ratios carry from machine to machine; seconds do not.
"""

import csv
import importlib
import os
import platform
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
COLUMNS = ["benchmark", "what", "value", "unit", "ratio", "spread", "against", "expected"]
# The short ones first; any further module of the folder comes after these, by name.
ORDER = ["feeding", "step", "epoch", "workflow"]
PACKAGES = ["torch", "torchvision", "numpy", "snakemake", "pytorch_optimizer", "loss-landscapes"]


def available() -> dict[str, ModuleType]:
    """Import the benchmarks of this folder, in the order in which they run."""
    names = [path.stem for path in Path(__file__).parent.glob("[!_]*.py")]
    names.sort(key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def cpu_model() -> str:
    """Return the processor's name as Linux tells it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> list[str]:
    """Describe what the numbers were taken on, a sentence each."""
    import torch

    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count()
    packages = []
    for name in PACKAGES:
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} not installed")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return [
        f"Processor: {cpu_model()}, {cores} cores; torch threads: {torch.get_num_threads()}.",
        f"GPU: {gpu}.",
        f"Python {platform.python_version()}, {', '.join(packages)}.",
    ]


def text(value: object) -> str:
    """Return a cell: numbers with four significant digits."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown(rows: list[dict], notes: list[str]) -> str:
    """Return the notes and the rows as a Markdown page."""
    cells = [COLUMNS, ["---"] * len(COLUMNS)]
    cells += [[text(row.get(key)).replace("|", "\\|") for key in COLUMNS] for row in rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in cells)
    return "# Benchmarks\n\n" + "\n".join(f"- {note}" for note in notes) + f"\n\n{table}\n"


def plain(rows: list[dict]) -> str:
    """Return the rows as columns of a terminal."""
    cells = [COLUMNS] + [[text(row.get(key)) for key in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join(lines)


def main(names: list[str]) -> int:
    """Run the named benchmarks (all without a name); 1 if one of them failed."""
    modules = available()
    unknown = sorted(set(names) - set(modules))
    if unknown:
        print(f"No benchmark {', '.join(unknown)}; there are: {', '.join(modules) or 'none'}.")
        return 2
    rows: list[dict] = []
    failed, left_out = [], []
    for name in [name for name in modules if not names or name in names]:
        reason = getattr(modules[name], "unavailable", str)()
        if reason:
            print(f"{name}: left out, {reason}", flush=True)
            left_out.append(f"{name} ({reason})")
            continue
        print(f"{name} ...", flush=True)
        start = time.perf_counter()
        try:
            rows += modules[name].run()
        except Exception:
            # The other benchmarks' numbers are not lost to one that fails.
            traceback.print_exc()
            failed.append(name)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    notes = machine()
    if left_out:
        notes.append(f"Left out: {', '.join(left_out)}.")
    if failed:
        notes.append(f"Failed, and therefore missing below: {', '.join(failed)}.")
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "bench.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (RESULTS / "bench.md").write_text(markdown(rows, notes))
    print("", *notes, "", plain(rows), "", f"Written: {RESULTS / 'bench.md'}, bench.csv", sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
