"""One import of PyTorch for all jobs of a workflow: they are forked from a process that has it.

Importing PyTorch takes longer than training a small net for some epochs. The jobs of a Snakemake
process share a server (`perturb.jobs.forkserver_process`); a script that calls `hand_over` first
is run in a fork of it, with the files, environment and folder that the script's own process has.
Each job so remains a process: what becomes of one touches no other. What a job computes does not
depend on it, for the server holds modules that are imported and not yet used; perturb's own are
read anew by a job that finds any of their files changed.

The server ends with the Snakemake process that its jobs belong to; jobs of one that was killed get
SIGTERM, so that a run saves its state and the next Snakemake goes on from there.

`python -S -E forkserver.py script arguments...` hands any script over, and costs a job 0.02 s where
Snakemake's `script:` costs 0.12 s. So this file imports little, and nothing that is installed: of
`signal` and `socket` only what is compiled, for the rest of them doubles the time of its start.
"""

from __future__ import annotations

import _signal as signal
import _socket as socket
import fcntl
import marshal
import os
import struct
import sys
import zlib

TYPE_CHECKING = False  # `typing` would take as long as the rest
if TYPE_CHECKING:
    from types import FrameType

SERVER = "perturb.jobs.forkserver_process"
OWNER = "PERTURB_FORKSERVER_OWNER"
FORKED = "PERTURB_FORKED"
FORWARDED = (signal.SIGTERM, signal.SIGINT)
NUMBER = struct.Struct("!q")
LONGEST_FOLDER = 60  # of the 107 characters that the path of a socket may have


def serve_jobs_of_this_process() -> None:
    """Let the jobs that this process, a Snakemake, starts share a server."""
    os.environ[OWNER] = str(os.getpid())


def start() -> None:
    """Start the server of this process before a job asks for it."""
    if os.environ.get(OWNER) != str(os.getpid()) or not hasattr(os, "pidfd_open"):
        return
    try:
        _connect(os.getpid()).close()
    except OSError as error:  # the jobs find the same, and do without
        print(f"perturb: no process to fork jobs from ({error})", file=sys.stderr)


def hand_over() -> None:
    """Run the calling script in a fork of the server, and exit as that fork does.

    Returns where the script is to run in this process: in the fork itself; where no process called
    `serve_jobs_of_this_process`; and without Linux, whose process handles the server needs.
    """
    owner = os.environ.get(OWNER)
    if os.environ.pop(FORKED, None) or not owner or not hasattr(os, "pidfd_open"):
        return
    try:
        connection = _connect(int(owner))
        try:
            status = _run_in_fork(connection)
        finally:
            connection.close()
    except OSError as error:
        print(f"perturb: this job imports PyTorch itself ({error})", file=sys.stderr)
        return
    if os.WIFSIGNALED(status):  # by the same signal, for whoever looks at why this job ended
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.waitstatus_to_exitcode(status))


def _connect(owner: int) -> socket.socket:
    """Return a connection to the server of the jobs of `owner`, which is started if need be."""
    # A rule may have an interpreter of its own.
    path = f"{_folder()}/{owner}-{zlib.crc32(sys.executable.encode()):08x}"
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(f"{path}.socket")
        except (FileNotFoundError, ConnectionRefusedError):
            _start(owner, f"{path}.socket")
            connection.connect(f"{path}.socket")
    return connection


def _folder() -> str:
    """Return a folder that only this user can enter: who reaches a server runs code through it."""
    base = os.environ.get("TMPDIR", "/tmp")
    if len(base) > LONGEST_FOLDER:
        base = "/tmp"
    folder = f"{base}/perturb-forkserver-{os.getuid()}"
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(folder)
    if found.st_uid != os.getuid() or found.st_mode & 0o77:
        raise PermissionError(f"{folder} is open to others; remove it")
    return folder


def _start(owner: int, address: str) -> None:
    """Start a server that listens at `address` already: who connects waits until it is ready."""
    import subprocess  # one job in many needs it

    if os.path.lexists(address):
        os.unlink(address)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(address)
        listener.listen(128)
        subprocess.Popen(
            [sys.executable, "-m", SERVER, f"{owner}", f"{listener.fileno()}"],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the jobs, which pass it on
        )
    finally:
        listener.close()


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
        # `-m` and `-c` have no place here: a script is run by its file.
        job = {"arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}
        message = marshal.dumps(job)
        streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", 0, 1, 2))
        connection.sendmsg([NUMBER.pack(len(message))], [streams])
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


def launch() -> None:
    """Run the script that the command line names in a fork, or by itself where there is none."""
    del sys.argv[0]
    hand_over()
    os.execv(sys.executable, [sys.executable, *sys.argv])


if __name__ == "__main__":
    launch()
