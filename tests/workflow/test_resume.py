"""The workflow cut off, started twice, diverging, or edited: the same bytes in the end."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from .test_workflow import hashes

RUN = "results/runs/digits/cnn/pugd_30/seed0/record.json"
VALUES = {
    "seeds": [0],
    "save_seconds": 0,
    "store": "",  # trained again, not put back
    "rts": {"datasets": {"digits": {"train": {"batch_size": 100, "checkpoint_every": 10}}}},
}


def start(checkout):
    """Start Snakemake and its jobs as a process group of their own; it ignores others' locks."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml"]
    return subprocess.Popen(
        [*command, "--nolock", "--", RUN],
        cwd=checkout.path,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_epochs(checkout, count, process):
    """Wait until the run has trained so many epochs more; return the trainer's process id."""
    progress = checkout.results / "logs/runs/digits/cnn/pugd_30/seed0.progress.jsonl"
    before = len(progress.read_bytes().splitlines()) if progress.exists() else 0
    while process.poll() is None:
        lines = progress.read_bytes().splitlines() if progress.exists() else []
        if len(lines) > before + count:
            return [json.loads(line) for line in lines if b'"process"' in line][-1]["process"]
        time.sleep(0.005)
    raise AssertionError(process.communicate()[0])


def made(checkout):
    """Return the hashes of the results; a finished run leaves no state."""
    assert not (checkout.results / "state").exists()
    return hashes(checkout.results)


@pytest.mark.long
def test_killed_stopped_and_started_twice_it_comes_to_the_same_bytes(make_checkout):
    checkout, draw = make_checkout(values=VALUES), random.Random(8)
    assert checkout.snakemake("--config", "save_seconds=60", "--", RUN).returncode == 0
    expected = made(checkout)

    shutil.rmtree(checkout.results / "runs")
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = start(checkout)
        wait_for_epochs(checkout, 3, process)
        time.sleep(draw.uniform(0, 0.1))
        os.killpg(process.pid, number)
        said, _ = process.communicate()
        assert process.returncode != 0, said
        assert not (checkout.path / RUN).exists()
        assert list((checkout.results / "state").rglob("epoch*.state"))

    first = start(checkout)
    trainer = wait_for_epochs(checkout, 1, first)
    os.kill(trainer, signal.SIGSTOP)
    second = start(checkout)
    said, _ = second.communicate()
    assert second.returncode == 1, said
    assert "which trains this run" in said and "Traceback" not in said
    os.kill(trainer, signal.SIGCONT)
    said, _ = first.communicate()
    assert first.returncode == 0, said
    assert made(checkout) == expected


@pytest.mark.long
def test_a_diverging_run_is_a_row_and_an_edited_rule_reruns_its_runs_only(make_checkout):
    digits = {
        "reference": "pugd_6",
        "sgd": "sgd_6",
        "sgd_double": "sgd_12",
        "train": {"batch_size": 200, "learning_rate": 1000},
        "landscape": {"methods": ["sgd_6"], "points": 3, "direction_seeds": [0], "images": 50},
        "methods": [
            {"method": "pugd_6"},
            {"method": "sgd_6"},
            {"method": "sgd_12", "run": False},
        ],
    }
    values = {"seeds": [0], "chapters": ["digits"], "rts": {"datasets": {"digits": digits}}}
    checkout = make_checkout(values=values)
    table = "results/tables/digits.csv"
    done = checkout.snakemake("--", table, "results/report.html")  # its landscapes too
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_csv(checkout.path / table).set_index("method")
    folder = checkout.results / "runs/digits/cnn/sgd_6/seed0"
    record = json.loads((folder / "record.json").read_text())
    steps = record["steps_per_epoch"]
    assert 0 < record["diverged_at_step"] - steps * record["epochs_completed"] <= steps
    assert f"step {record['diverged_at_step']}" in rows.loc["sgd_6", "status"]
    assert all(np.isfinite(w).all() for w in load_file(folder / "last.safetensors").values())
    assert rows.loc["pugd_6", "status"] == "finished"
    command = [sys.executable, "-m", "perturb.jobs.status", str(checkout.results)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"at step {record['diverged_at_step']}" in said
    assert said.splitlines()[-1] == "2 runs: 1 diverged, 1 done"

    rule = checkout.path / "src/perturb/optim/rules/sgd.py"
    text = rule.read_text()
    rule.write_text(text.replace("u = g.", "The gradient.") + "\n# no change\n")
    assert "Nothing to be done" in checkout.snakemake("-n", "--", table).stdout
    rule.write_text(text.replace("return gradient", "return gradient * 1"))
    planned = checkout.snakemake("-n", "--", table).stdout.split()
    assert planned[planned.index("train") + 1] == "1"
    assert "initialise" not in planned and "prepare_data" not in planned
