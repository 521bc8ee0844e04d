"""The process that jobs are forked from: see `perturb.jobs.forkserver`.

    python -m perturb.jobs.forkserver_process OWNER HANDLE

OWNER is the number of the process whose jobs it serves, HANDLE that of its listening socket.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import marshal
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perturb.jobs.forkserver import FORKED, FORWARDED, NUMBER

# What the jobs import. None of these starts a thread or touches a GPU when imported.
PRELOADED = (
    "numpy",
    "torch",
    "torch.nn.functional",
    "safetensors.torch",
    "snakemake.script",
    "yaml",
    "jsonschema",
    "pandas",
    "PIL.Image",
    "perturb.train.run",
    "perturb.train.classifier",
    "perturb.jobs.gpu",
    "perturb.jobs.scripting",
)
# What jobs after the training import: one of them each time that no job is waiting.
PRELOADED_LATER = (
    "statsmodels.stats.multitest",
    "matplotlib.pyplot",
    "perturb.analysis.printers",
    "perturb.analysis.parts",
    "perturb.figures.parts",
    "perturb.landscape.parts",
    "perturb.report.html",
)
PR_SET_PDEATHSIG = 1
SOURCE = Path(__file__).parent.parent


def serve(owner: int, listener: socket.socket) -> None:
    """Fork a process for every job that comes to `listener`, until `owner` has ended.

    An owner ends before its jobs only where it was killed. They are told to stop then, as a cluster
    tells them: a run saves its state, and is not in the way of the next start.
    """
    for number in FORWARDED:  # a cluster signals every process of a job; the jobs decide
        signal.signal(number, signal.SIG_IGN)
    sources = _sources()
    gc.disable()
    for name in (*PRELOADED, *_modules_of_studies()):
        importlib.import_module(name)
    _ask_what_each_run_asks()
    _leave_to_the_forks()
    waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken)
    jobs: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(os.pidfd_open(owner), selectors.EVENT_READ, "owner")
        selector.register(waking, selectors.EVENT_READ, "ended")
        selector.register(listener, selectors.EVENT_READ, "came")
        alive, later = True, list(PRELOADED_LATER)
        while alive or jobs:
            ready = selector.select(0 if later and jobs else None)
            if not ready:
                importlib.import_module(later.pop(0))
                _leave_to_the_forks()
            for key, _ in ready:
                if key.data == "owner":
                    alive = False
                    selector.unregister(key.fileobj)
                    for pid in jobs:  # an ended one stays a process until `_tell_ends`
                        os.kill(pid, signal.SIGTERM)
                elif key.data == "ended":
                    os.read(waking, 4096)
                    _tell_ends(jobs, selector)
                elif key.data == "came":
                    connection, _ = listener.accept()
                    job = _receive(connection)
                    if job is None:
                        connection.close()
                        continue
                    pid = _fork(job, sources, [listener, connection, *jobs.values()])
                    with suppress(OSError):
                        connection.sendall(NUMBER.pack(pid))
                    jobs[pid] = connection
                    selector.register(connection, selectors.EVENT_READ, pid)
                elif jobs.get(key.data) is key.fileobj:
                    # Nothing more is ever sent: the script's own process was killed.
                    os.kill(key.data, signal.SIGKILL)
                    selector.unregister(key.fileobj)


def _tell_ends(jobs: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    """Send the status of every fork that has ended to the process that waits for it."""
    for pid in list(jobs):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with jobs.pop(pid) as connection, suppress(OSError):
                with suppress(KeyError):
                    selector.unregister(connection)
                connection.sendall(NUMBER.pack(status))


@dataclass(frozen=True)
class _Job:
    """A script with its arguments, and what its process has: folder, environment, streams."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]


def _receive(connection: socket.socket) -> _Job | None:
    """Return the job that a connection brings; None where who asked for it was killed meanwhile."""
    connection.settimeout(10)
    streams: list[int] = []
    try:
        head, streams, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
        (length,) = NUMBER.unpack(head)
        message = connection.recv(length, socket.MSG_WAITALL)
        return _Job(**marshal.loads(message), streams=streams)
    except (OSError, EOFError, TypeError, ValueError, struct.error):
        for stream in streams:
            os.close(stream)
        return None


def _leave_to_the_forks() -> None:
    """Have no fork look for garbage in what is imported: each page that it looks at is copied.

    One full collection in a fork costs a quarter of a second.
    """
    gc.collect()
    gc.freeze()


def _sources(folder: Path | str = SOURCE) -> list[tuple[str, int, int]]:
    """Return each file of the library with its time and size. Each job asks: no `Path.rglob`."""
    found = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                found += _sources(entry.path)
            elif entry.name.endswith(".py"):
                status = entry.stat()
                found.append((entry.path, status.st_mtime_ns, status.st_size))
    return found


def _modules_of_studies() -> list[str]:
    """Return the modules that make the runs of each study."""
    studies = importlib.import_module("perturb.studies").every()
    references = [reference for study in studies for reference in (study.job, study.learner)]
    return [reference.partition(":")[0] for reference in references]


def _ask_what_each_run_asks() -> None:
    """Have the library know what every run asks of it first: hashes of code, versions, bases.

    A job whose run is put back from the store does little else.
    """
    modules = {name: importlib.import_module(f"perturb.{name}") for name in ("bases", "code")}
    rooms = ("optim.rules", "optim.bases", "models")
    found = {room: (SOURCE / room.replace(".", "/")).glob("[!_]*.py") for room in rooms}
    used = [f"perturb.{room}.{path.stem}" for room, paths in found.items() for path in paths]
    modules["code"].of("perturb.train.run", *_modules_of_studies(), *used)
    modules["bases"].options()
    determinism = importlib.import_module("perturb.train.determinism")
    determinism.versions(importlib.import_module("torch").device("cpu"))


def _forget_own_modules() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "perturb"]:
        del sys.modules[name]


def _fork(job: _Job, sources: list[tuple[str, int, int]], inherited: list[socket.socket]) -> int:
    """Fork a process that runs `job`, without the sockets of the others; return its number."""
    pid = os.fork()
    if pid:
        for stream in job.streams:
            os.close(stream)
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no server, no jobs
        for each in inherited:
            each.close()
        gc.enable()
        if _sources() != sources:
            _forget_own_modules()
        status = _run(job)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _run(job: _Job) -> int:
    """Run a script as the interpreter would; return its exit status."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(job.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(job.folder)
    os.environ.clear()
    os.environ.update(job.environment, **{FORKED: "1"})
    script = job.arguments[0]
    sys.argv, sys.path[0] = job.arguments, os.path.dirname(script)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
    return 0


def _main() -> None:
    owner, number = map(int, sys.argv[1:])
    listener = socket.socket(fileno=number)
    address = listener.getsockname()
    try:
        serve(owner, listener)
    finally:
        for path in (address, address.removesuffix(".socket")):
            with suppress(OSError):
                os.unlink(path)


if __name__ == "__main__":
    _main()
