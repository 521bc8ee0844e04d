"""What `make` shows: envs/run.sh in a pseudo-terminal and in a pipe, failing and killed."""

import copy
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from .conftest import SMALL

TARGET = "results/tables/digits.csv"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
LONG = 150  # epochs: longer than it takes to see the first and kill the workflow
PATIENCE = 600


@pytest.fixture
def made(make_checkout):
    """Return a checkout with what `make` calls, and the command of its main job."""
    values = copy.deepcopy(SMALL) | {"save_seconds": 0, "seeds": [0]}
    digits = values["rts"]["datasets"]["digits"]
    digits |= {"reference": f"sgd_{LONG}", "sgd": f"sgd_{LONG}", "sgd_double": f"sgd_{2 * LONG}"}
    digits["methods"] = [{"method": f"sgd_{LONG}"}, {"method": f"sgd_{2 * LONG}"}]
    digits["landscape"]["methods"] = [f"sgd_{LONG}"]
    checkout = make_checkout("made", values)
    program = checkout.path / ".venv/bin/snakemake"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="$PWD/src" exec "{sys.executable}" -m snakemake "$@"\n'
    )
    program.chmod(0o755)
    options = ["--cores", "2", "--configfile", *checkout.configfiles]
    return checkout, ["bash", "envs/run.sh", *options]


class Terminal:
    """A command in a pseudo-terminal, in a session of its own."""

    def __init__(self, command, folder):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="40")
            os.execvp(command[0], command)

    def read(self, until=None):
        """Read until the pattern has come; without one, to the end. Return the exit status then."""
        end = time.monotonic() + PATIENCE
        while until is None or not re.search(until, self.text):
            assert time.monotonic() < end, self.text[-2000:]
            try:
                some = os.read(self.fd, 65536)
            except OSError:  # how Linux says that the other side is closed
                some = b""
            if not some:
                assert until is None, self.text[-2000:]
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.text += some.decode(errors="replace")
        return None


def test_bars_and_an_end_in_a_terminal_also_after_it_was_killed(made):
    checkout, command = made
    command = [*command, "--", TARGET]
    terminal = Terminal(command, checkout.path)
    terminal.read(until=rf"\(epoch [1-9]\d* of {LONG}\)")
    assert "all jobs" in terminal.text and "━" in terminal.text
    os.killpg(terminal.pid, signal.SIGKILL)
    terminal.read()
    assert not (checkout.path / TARGET).exists()
    again = Terminal(command, checkout.path)
    assert again.read() == 0, again.text[-2000:]
    assert "removing the lock that it left" in again.text
    hidden, shown = (again.text.rindex(code) for code in ("\x1b[?25l", "\x1b[?25h"))
    assert shown > hidden  # the cursor is there again
    end = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", again.text)
    jobs = re.search(r"(\d+) of (\d+) jobs done\. Snakemake's log: \S+", end)
    assert jobs and jobs[1] == jobs[2] and "Finished in" in end
    assert re.search(rf"all jobs +━+ +{jobs[2]}/{jobs[2]}", end)
    run = checkout.results / f"logs/runs/digits/cnn/sgd_{LONG}/seed0.progress.jsonl"
    starts = [line for line in map(json.loads, run.open()) if "start" in line]
    assert len(starts) == 2 and starts[1]["start"] >= 1


@pytest.mark.long
def test_plain_lines_in_a_pipe_and_one_a_failure(made, monkeypatch):
    checkout, command = made
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich would colour a pipe, too

    def run(*arguments):
        done = subprocess.run(
            [*command, *arguments], cwd=checkout.path, capture_output=True, text=True, check=False
        )
        assert not CONTROLS.search(done.stdout + done.stderr)
        newest = max((checkout.path / ".snakemake/log").iterdir())
        return done, newest.read_text()

    done, log = run("--", TARGET)
    assert done.returncode == 0, done.stderr
    assert re.search(r" train: 2 jobs done \(\d+ of \d+ jobs", done.stderr)
    assert len(done.stderr.splitlines()) < 20 and "Finished in" in done.stdout
    assert "Select jobs" not in done.stderr
    assert "rule train:" in log and "Finished jobid" in log and "steps (100%) done" in log
    done, log = run("--", TARGET)
    assert done.returncode == 0 and "Nothing to do" in done.stdout
    assert "Nothing to be done" in done.stderr and "Nothing to be done" in log
    epochs = checkout.results / f"runs/digits/cnn/sgd_{LONG}/seed0/epochs.csv"
    epochs.write_text("no table")
    figure = "results/figures/digits/curves_baselines.pdf"
    done, log = run("--", figure)
    assert done.returncode == 1
    failed = [line for line in done.stderr.splitlines() if "curves_baselines" in line]
    assert len(failed) == 1 and " failed: figure digits/curves_baselines (log: " in failed[0]
    assert "0 of 1 jobs done, 1 failed" in done.stderr and "stopped before its end" in done.stderr
    assert "Error in rule figure" in log


def test_who_asks_for_details_gets_snakemakes_own_output(made):
    checkout, command = made
    done = subprocess.run(
        [*command, "-n", "--", TARGET], cwd=checkout.path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "This was a dry-run" in done.stdout
    assert "perturb" not in done.stderr
