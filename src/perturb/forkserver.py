"""One import of PyTorch for all jobs of a workflow: they are forked from a process that has it.

Importing PyTorch takes longer than training a small net for some epochs. The first job of a
Snakemake process starts a server; a script that calls `hand_over` first is run in a fork of it,
with the files, environment and folder that the script's own process has. Each job so remains a
process: what becomes of one touches no other. What a job computes does not depend on it, for the
server holds modules that are imported and not yet used; perturb's own are read anew by a job that
finds any of their files changed.

The server ends with the Snakemake process that its jobs belong to.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

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
    "perturb.gpu",
    "perturb.scripting",
)
# What jobs after the training import: one of them each time that no job is waiting.
PRELOADED_LATER = (
    "statsmodels.stats.multitest",
    "matplotlib.pyplot",
    "perturb.analysis.tables",
    "perturb.figures.registry",
    "perturb.figures.landscape",
    "perturb.figures.gradients",
    "perturb.report.html",
)
OWNER = "PERTURB_FORKSERVER_OWNER"
FORKED = "PERTURB_FORKED"
FORWARDED = (signal.SIGTERM, signal.SIGINT)
PR_SET_PDEATHSIG = 1
NUMBER = struct.Struct("!q")
SOURCE = Path(__file__).parent


def serve_jobs_of_this_process() -> None:
    """Let the jobs that this process, a Snakemake, starts share a server."""
    os.environ[OWNER] = str(os.getpid())


def start() -> None:
    """Start the server of this process before a job asks for it."""
    if os.environ.get(OWNER) == str(os.getpid()) and hasattr(os, "pidfd_open"):
        _connect(os.getpid()).close()


def hand_over() -> None:
    """Run the calling script in a fork of the server, and exit as that fork does.

    Returns where the script is to run in this process: in the fork itself; where no process called
    `serve_jobs_of_this_process`; and without Linux, whose process handles the server needs.
    """
    owner = os.environ.get(OWNER)
    if os.environ.pop(FORKED, None) or not owner or not hasattr(os, "pidfd_open"):
        return
    try:
        with _connect(int(owner)) as connection:
            status = _run_in_fork(connection)
    except OSError as error:
        print(f"perturb: this job imports PyTorch itself ({error})", file=sys.stderr)
        return
    if os.WIFSIGNALED(status):  # by the same signal, for whoever looks at why this job ended
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.waitstatus_to_exitcode(status))


def _connect(owner: int) -> socket.socket:
    """Return a connection to the server of the jobs of `owner`, which is started if need be."""
    # A rule may have an interpreter of its own.
    interpreter = hashlib.sha256(sys.executable.encode()).hexdigest()[:8]
    path = _folder() / f"{owner}-{interpreter}"
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(f"{path}.socket")
        except (FileNotFoundError, ConnectionRefusedError):
            _start(owner, f"{path}.socket")
            connection.connect(f"{path}.socket")
    return connection


def _folder() -> Path:
    """Return a folder that only this user can enter: who reaches a server runs code through it."""
    folder = Path(tempfile.gettempdir()) / f"perturb-forkserver-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o77:
        raise PermissionError(f"{folder} is open to others; remove it")
    return folder


def _start(owner: int, address: str) -> None:
    """Start a server that listens at `address` already: who connects waits until it is ready."""
    with suppress(FileNotFoundError):
        os.unlink(address)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(128)
        subprocess.Popen(
            [sys.executable, "-m", "perturb.forkserver", f"{owner}", f"{listener.fileno()}"],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the jobs, which pass it on
        )


def _run_in_fork(connection: socket.socket) -> int:
    """Ask for a fork that runs this script; return its exit status, as `os.wait` gives it.

    Signals that ask this process to stop are passed on. That it was killed, the server sees.
    Raises OSError where there is no fork.
    """
    came: list[int] = []
    fork: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for pid in fork:
            os.kill(pid, number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        # `-m` and `-c` have no place here: Snakemake runs a script by its file.
        job = {"script": sys.argv[0], "folder": os.getcwd(), "environment": dict(os.environ)}
        message = json.dumps(job).encode()
        socket.send_fds(connection, [NUMBER.pack(len(message))], [0, 1, 2])
        connection.sendall(message)
        fork.append(_receive_number(connection))
        for number in came:
            os.kill(fork[0], number)
        return _receive_number(connection)
    except OSError:
        if fork:
            sys.exit("perturb: the process that jobs are forked from was killed.")
        raise
    finally:
        fork.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _receive_number(connection: socket.socket) -> int:
    received = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    if len(received) < NUMBER.size:
        raise ConnectionResetError("the process that jobs are forked from does not answer")
    return NUMBER.unpack(received)[0]


def serve(owner: int, listener: socket.socket) -> None:
    """Fork a process for every job that comes to `listener`, until `owner` has ended."""
    for number in FORWARDED:  # a cluster signals every process of a job; the jobs decide
        signal.signal(number, signal.SIG_IGN)
    sources = _sources()
    for name in PRELOADED:
        importlib.import_module(name)
    _hash_code_of_training()
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
            for key, _ in ready:
                if key.data == "owner":
                    alive = False
                    selector.unregister(key.fileobj)
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
    """A script to run, and what its process has: folder, environment; input, output and errors."""

    script: str
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
        return _Job(**json.loads(message), streams=streams)
    except (OSError, ValueError, struct.error):
        for stream in streams:
            os.close(stream)
        return None


def _sources() -> list[tuple[str, int, int]]:
    """Return each file of the library with its time and size."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        status = path.stat()
        found.append((str(path), status.st_mtime_ns, status.st_size))
    return found


def _hash_code_of_training() -> None:
    """Have `perturb.code` know its hashes of what every run uses, which each job asks for."""
    code = importlib.import_module("perturb.code")
    rules = (SOURCE / "optim" / "rules").glob("[!_]*.py")
    code.of("perturb.train.run", *(f"perturb.optim.rules.{path.stem}" for path in rules))


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
    sys.argv, sys.path[0] = [job.script], os.path.dirname(job.script)
    try:
        runpy.run_path(job.script, run_name="__main__")
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
