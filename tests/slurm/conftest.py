"""The cluster, started once for these tests, and checkouts whose profiles are set up for it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.workflow.conftest import Checkout, make_checkout, small_study

from .cluster import Cluster, reason_to_skip

STUDY = small_study(
    ["sgd_2", "sgd_4", "pugd_2"],
    {"methods": [], "points": 5, "images": 100},
    seeds=[0],
    predictions=False,  # a test has them
)

# As docs/slurm.md has it for a cluster without accounting; and less patience than on a real one.
FLAGS = [
    "--slurm-no-account",
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=3",
    "--latency-wait=5",
]


def copy_checkout(root: Path, folder: Path, values: dict) -> Checkout:
    """Return a checkout of the project in `folder`, as the fixture of tests/workflow makes it."""
    return make_checkout.__wrapped__(root, folder)(values=values)


class SlurmCheckout:
    """A checkout of which Snakemake is run in the background, through a profile."""

    def __init__(self, checkout: Checkout):
        self.checkout = checkout
        self.path = checkout.path
        self.results = checkout.results
        self.running: subprocess.Popen | None = None
        self.script = self.path / "workflow/scripts/train.py"
        self.unchanged = self.script.read_text()

    def start(self, *arguments: str, profile="slurm", cores=2) -> None:
        command = [sys.executable, "-m", "snakemake", "--profile", f"profiles/{profile}", *FLAGS]
        command += ["--cores", str(cores), "--configfile", "test.yaml", *arguments]
        environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
        with open(self.path / "snakemake.out", "w") as log:
            self.running = subprocess.Popen(
                command, cwd=self.path, stdout=log, stderr=log, env=environment
            )

    def finish(self, seconds=480) -> int:
        return self.running.wait(seconds)

    def run(self, *arguments: str, **options) -> int:
        self.start(*arguments, **options)
        return self.finish()

    def record(self, method: str, seed=0) -> Path:
        return self.path / f"results/runs/digits/cnn/{method}/seed{seed}/record.json"

    def before_training(self, code: str) -> None:
        """Have every training job run `code` first; `attempt(name)` counts its calls in a file."""
        counter = f"""
            import json, os, signal, sys, time
            from pathlib import Path

            def attempt(name):
                with open({str(self.path)!r} + "/attempts." + name, "a+") as file:
                    file.write(f"{{os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}}\\n")
                    file.flush()
                    file.seek(0)
                    return len(file.readlines())

            method = json.loads(given.specification)["method"]
        """
        added = textwrap.dedent(counter) + textwrap.dedent(code)
        before, parsed, after = self.unchanged.partition("\ngiven = parser.parse_args()\n")
        assert parsed
        self.script.write_text(before + parsed + added + after)

    def set_time_limit(self, retries=3) -> None:
        """Set two minutes; SLURM sends SIGTERM after 20 to 50 seconds of them.

        It looks at the limits twice a minute, and sends the signal rather early than late.
        """
        profile = self.path / "profiles/slurm/config.yaml"
        text = profile.read_text()
        assert "runtime: 720" in text and "TERM@120" in text
        text = text.replace("runtime: 720", "runtime: 2").replace("@120", "@70")
        profile.write_text(text.replace("retries: 3", f"retries: {retries}"))

    def attempts(self, name: str) -> list[str]:
        """Return a line for each attempt of that name: its CUDA_VISIBLE_DEVICES."""
        path = self.path / f"attempts.{name}"
        return path.read_text().splitlines() if path.exists() else []

    def said(self) -> str:
        logs = sorted(self.path.glob(".snakemake/slurm_logs/**/*.log"))
        texts = [path.read_text()[-3000:] for path in [self.path / "snakemake.out", *logs[-3:]]]
        return "\n".join(texts)


@pytest.fixture(scope="session")
def cluster():
    reason = reason_to_skip()
    if reason is None and find_spec("snakemake_executor_plugin_slurm") is None:
        reason = "the SLURM executor is not installed (make slurm)"
    if reason:
        pytest.skip(reason)
    # munged takes no folder below one that only root may enter, as pytest's own are.
    folder = Path(tempfile.mkdtemp(prefix="perturb-slurm-"))
    try:
        with Cluster(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_slurm_checkout(cluster, root, tmp_path):
    made = []

    def make(name="checkout", values=STUDY) -> SlurmCheckout:
        made.append(SlurmCheckout(copy_checkout(root, tmp_path / name, values)))
        return made[-1]

    yield make
    for checkout in made:
        if checkout.running is not None and checkout.running.poll() is None:
            checkout.running.kill()
            checkout.running.wait()
    cluster.cancel_all()
    kill_all_below(tmp_path)


def kill_all_below(folder: Path) -> None:
    """Kill what a job left running there: SLURM forgets the processes of a node that goes down."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture
def slurm_checkout(make_slurm_checkout) -> SlurmCheckout:
    return make_slurm_checkout()
