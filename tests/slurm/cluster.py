"""A SLURM cluster of one node on this machine: munged, slurmctld and slurmd, four fake GPUs.

The executor drops SLURM_CONF from the jobs' environment, so the configuration has to be
/etc/slurm/slurm.conf. What is in /etc/slurm is moved aside, and back in the end; where a test
process was killed before that, the next cluster puts it back first.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

ETC = Path("/etc/slurm")
ASIDE = Path("/etc/slurm.aside-by-perturb-tests")
LOCK = Path("/run/lock/perturb-tests-slurm")
PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
GPUS = 4

# config_overrides: the node says what it has, whatever the machine is.
CONFIGURATION = """
ClusterName=perturb
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MinJobAge=3600
KillWait=5
BatchStartTimeout=10
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10
"""


def reason_to_skip() -> str | None:
    """Say why no cluster can be started here, or return None."""
    if os.geteuid() != 0:
        return "starting SLURM needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"SLURM is not installed: no {', '.join(missing)} (Debian: slurm-wlm, munge)"
    running = [name for name in ("slurmctld", "slurmd") if is_running(name)]
    if running:
        return f"this machine runs {' and '.join(running)} of its own"
    return None


def is_running(program: str) -> bool:
    """Say whether a process of that name exists."""
    for name in Path("/proc").glob("[0-9]*/comm"):
        try:
            if name.read_text().strip() == program:
                return True
        except OSError:  # the process ended meanwhile
            continue
    return False


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def die_with_parent() -> None:
    """Have the kernel end this process when pytest ends, even by SIGKILL."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


class Cluster:
    """The running daemons, and what the tests ask of them."""

    def __init__(self, folder: Path, cpus: int = 8):
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.cpus = cpus
        self.daemons: list[subprocess.Popen] = []
        self.lock = None

    def __enter__(self):
        self.lock = open(LOCK, "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            self.configure()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.daemons:
            self.cancel_all()
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
        put_back()
        self.lock.close()

    def configure(self) -> None:
        put_back()
        self.folder.chmod(0o755)  # munged asks for it
        if ETC.exists():
            ETC.rename(ASIDE)
        ETC.mkdir()
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        text = CONFIGURATION.format(
            host=self.host,
            folder=self.folder,
            cpus=self.cpus,
            gpus=GPUS,
            controller_port=free_port(),
            node_port=free_port(),
        )
        (ETC / "slurm.conf").write_text(text)
        devices = [self.folder / f"gpu{number}" for number in range(GPUS)]
        for device in devices:
            os.mknod(device, stat.S_IFCHR | 0o600, os.stat("/dev/null").st_rdev)
        (ETC / "gres.conf").write_text("".join(f"Name=gpu File={path}\n" for path in devices))

    def start(self) -> None:
        key, munge = self.folder / "munge.key", self.folder / "munge.socket"
        output_of("mungekey", "--create", f"--keyfile={key}")
        here = [f"--{what}-file={self.folder}/munge.{what}" for what in ("pid", "log", "seed")]
        self.launch("munged", "--foreground", f"--key-file={key}", f"--socket={munge}", *here)
        wait_until(munge.exists, 10, "munged does not start")
        self.launch("slurmctld", "-D")
        self.launch("slurmd", "-D", "-N", self.host)
        wait_until(lambda: self.node_state() == "idle", 30, "the node does not come up")

    def launch(self, *command: str) -> None:
        with open(self.folder / f"{command[0]}.out", "wb") as log:
            daemon = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )
        self.daemons.append(daemon)

    def node_state(self) -> str:
        try:
            return output_of("sinfo", "--noheader", "--nodes", self.host, "--format=%T").split()[0]
        except (RuntimeError, IndexError):
            return "unknown"

    def set_node(self, state: str) -> None:
        """Set the node `down`, `drain` or back with `resume`."""
        command = ["scontrol", "update", f"NodeName={self.host}", f"State={state}"]
        try:
            output_of(*command, *([] if state == "resume" else ["Reason=test"]))
        except RuntimeError as error:
            # A node that registers between the two calls has come back by itself.
            if state != "resume" or "Invalid node state" not in str(error):
                raise

    def jobs(self, form="%i %T", *states: str) -> list[str]:
        """Return a line for every job that SLURM remembers, or for those in `states`."""
        wanted = ",".join(states) or "all"
        return output_of(
            "squeue", "--noheader", "--sort=i", f"--states={wanted}", f"--format={form}"
        ).splitlines()

    def hurry(self) -> None:
        """Let jobs that went back into the queue start now; SLURM has them wait two minutes.

        It does so for what is left of them to end, so nothing happens while a job's daemon lives:
        a second copy of a job is refused and the node drained.
        """
        if is_running("slurmstepd"):
            return
        for job in self.jobs("%i %r", "PENDING"):
            number, reason = job.split(maxsplit=1)
            if reason == "BeginTime":
                output_of("scontrol", "update", f"JobId={number}", "StartTime=now")

    def cancel_all(self) -> None:
        """End every job, and wait until it has ended."""
        subprocess.run(["scancel", "--user=root"], check=False, timeout=60)
        self.wait_for_idle()

    def wait_for_idle(self) -> None:
        """Wait until no job runs or waits; returns after half a minute in any case."""
        busy = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if not self.jobs("%i", *busy):
                    return
            except RuntimeError:
                return
            time.sleep(0.2)


def put_back() -> None:
    """Undo what `configure` did to /etc/slurm, now or in a process that was killed."""
    if (ETC / "slurm.conf").exists() and "ClusterName=perturb\n" in (
        ETC / "slurm.conf"
    ).read_text():
        shutil.rmtree(ETC)
    if ASIDE.exists():
        ASIDE.rename(ETC)


def wait_until(condition, seconds: float, message: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{message} (waited {seconds} s)")
        time.sleep(0.3)
