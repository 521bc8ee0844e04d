"""`python -m benchmarks [--quick] [NAME ...]`: run the benchmarks, print and write their table.

A benchmark is a module of this folder with

- `run(...) -> list[dict]`, whose arguments have defaults;
- `SECONDS`, about how long that takes on two cores, said until it was timed on this machine;
- `QUICK`, the arguments that make it a tenth as long, by fewer repeats and smaller sizes;
- `unavailable() -> str` where there are machines that it cannot run on: the reason, or nothing.

A row has the keys of `COLUMNS`, and what it leaves out stays empty. `value` is a median over
`repeats` where the benchmark repeats, `ratio` the median of the value set against `against` in the
same repeat, `spread` the interquartile range of these ratios (the range of fewer than four), and
`expected` the bound that the ratio should keep. Ratios carry from machine to machine; seconds do
not.

What a benchmark found is written when it has ended (`results/bench/`), and the table anew from all
that is there: one that is stopped loses nothing that was finished. The table says of each when and
on what it was measured.
"""

import argparse
import importlib
import os
import platform
import signal
import sys
import time
import traceback
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import torch

from benchmarks._results import (
    Result,
    cells_of,
    markdown,
    path_of,
    read,
    read_all,
    write_csv,
)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
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


def machine() -> str:
    """Describe what the numbers are taken on."""
    import torch

    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return f"{cpu_model()}, {cores} cores, torch threads {torch.get_num_threads()}, GPU {gpu}"


def versions() -> str:
    """Return the versions of Python and of what the numbers depend on."""
    packages = []
    for name in PACKAGES:
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} not installed")
    return f"Python {platform.python_version()}, {', '.join(packages)}"


def duration(seconds: float) -> str:
    """Return `45 s` or `12 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def expected_seconds(name: str, module: ModuleType, quick: bool, here: str) -> tuple[float, str]:
    """Return how long a benchmark will take, and how that is known."""
    last = read(path_of(RESULTS / "bench", name, quick, here))
    if last:
        return last.seconds, "as it took here before"
    return module.SECONDS * (0.1 if quick else 1.0), "estimated, never timed here"


def plain(cells: list[list[str]]) -> str:
    """Return rows as columns of a terminal."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join(lines)


def write(notes: list[str], order: list[str]) -> list[Result]:
    """Write the tables of all that was ever measured here; return it."""
    results = read_all(RESULTS / "bench", order)
    RESULTS.mkdir(exist_ok=True)
    write_csv(results, RESULTS / "bench.csv")
    (RESULTS / "bench.md").write_text(markdown(results, notes))
    return results


def main(names: list[str], quick: bool = False) -> int:
    """Run the named benchmarks (all without a name); 1 if one of them failed."""
    modules = available()
    unknown = sorted(set(names) - set(modules))
    if unknown:
        print(f"No benchmark {', '.join(unknown)}; there are: {', '.join(modules) or 'none'}.")
        return 2
    here, order = machine(), list(modules)
    notes, chosen = [], []
    for name in [name for name in modules if not names or name in names]:
        reason = getattr(modules[name], "unavailable", str)()
        if reason:
            print(f"{name}: left out, {reason}", flush=True)
            notes.append(f"Left out: {name} ({reason}).")
        else:
            chosen.append(name)
    known = {name: expected_seconds(name, modules[name], quick, here) for name in chosen}
    total = duration(sum(seconds for seconds, _ in known.values()))
    print(f"{len(chosen)} to run, about {total} in all: {', '.join(chosen)}", flush=True)
    failed, measured = [], []
    for name in chosen:
        seconds, how = known[name]
        print(f"{name} ... about {duration(seconds)} ({how})", flush=True)
        start = time.perf_counter()
        try:
            rows = modules[name].run(**(modules[name].QUICK if quick else {}))
            if not torch.is_grad_enabled():
                torch.set_grad_enabled(True)
                raise RuntimeError(f"{name} has left gradients off, for all that run after it")
        except Exception:
            # The other benchmarks' numbers are not lost to one that fails.
            traceback.print_exc()
            failed.append(name)
            notes.append(f"Failed, and not measured anew: {name}.")
        except KeyboardInterrupt:
            print(f"Stopped in {name}. What is finished is in {RESULTS / 'bench.md'}.", flush=True)
            return 128 + signal.SIGINT
        else:
            took = time.perf_counter() - start
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            Result(name, quick, now, took, here, versions(), rows).write(RESULTS / "bench")
            measured.append(name)
            print(f"{name}: {duration(took)}", flush=True)
        write(notes, order)
    results = write(notes, order)
    new = [r for r in results if r.name in measured and r.quick == quick and r.machine == here]
    print("", here, *notes, "", plain(cells_of(new)), sep="\n")
    older = [result for result in results if result not in new]
    if older:
        listed = (f"{r.name}{' (quick)' if r.quick else ''} of {r.measured[:10]}" for r in older)
        print(f"\nIn the table also, from earlier calls: {', '.join(listed)}.")
    print(f"\nWritten: {RESULTS / 'bench.md'}, bench.csv")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of these alone")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, fewer repeats")
    given = parser.parse_args()
    sys.exit(main(given.names, given.quick))
