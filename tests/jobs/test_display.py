"""What is shown while a workflow works: the counts, the time left, failures, what jobs print."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from perturb.jobs.bars import Bars
from perturb.jobs.lines import Lines
from perturb.jobs.tally import Job, Tally


def job(number, rule="train", begun=0.0, logs=()):
    return Job(number, rule, f"digits/{number}", begun, tuple(logs))


def test_time_left_is_the_mean_of_finished_jobs_over_those_at_once():
    tally = Tally()
    tally.plan({"data": 1, "train": 6, "total": 7}, 0.0)
    assert tally.total == 7 and tally.left(0.0) is None
    tally.begin(job(0, "data"))
    tally.end(0, 10.0)
    assert tally.left(10.0) is None  # nobody knows how long a training takes
    for number in (1, 2):
        tally.begin(job(number, begun=10.0))
    for number in (1, 2):
        tally.end(number, 30.0)
    # Four trainings of 20 s are left; 10 + 20 + 20 s of work were done in 30.
    assert tally.left(30.0) == pytest.approx(80 / (50 / 30))
    tally.begin(job(3, begun=30.0))
    # A quarter of one is done: 60 + 15 s are left, 55 were done in 35.
    assert tally.left(35.0) == pytest.approx(75 / (55 / 35))


def test_a_runs_own_progress_tells_how_long_it_takes(tmp_path):
    log = tmp_path / "seed0.log"
    lines = [{"start": 0, "of": 10, "time": 101.0}]
    for epoch in range(4):
        measured = {"measures": {"test_accuracy": 0.5}, "shown": "test_accuracy", "seconds": 3.0}
        lines.append({"epoch": epoch, "of": 10, **measured, "time": 104.0 + 3 * epoch})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "seed0.progress.jsonl").write_text(text)
    running = job(1, begun=100.0, logs=[log])
    training = running.training(113.0)
    assert (training.epochs, training.of, training.left) == (4, 10, 18.0)
    # Lines of a start before this job's say nothing of it; nor does a damaged file.
    assert job(1, begun=200.0, logs=[log]).training(201.0) is None
    (tmp_path / "seed0.progress.jsonl").write_text('{"start"}\n')
    assert running.training(113.0) is None


def test_jobs_that_nobody_counted_and_jobs_that_are_tried_again():
    tally = Tally()
    tally.plan({"train": 1}, 0.0)
    tally.begin(job(1))
    assert tally.fail(1).number == 1 and tally.fail(1) is None  # Snakemake says it twice of packs
    tally.begin(job(1))
    assert tally.totals == {"train": 1} and not tally.failed
    tally.end(1, 1.0)
    tally.begin(job(2))
    assert tally.totals == {"train": 2} and not tally.finished("train")
    assert tally.end(7, 1.0) is None


def test_a_failed_jobs_message_is_its_own(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("noise\nperturb: config: no such method\nmore noise\n")
    os.utime(log, (100.0, 100.0))
    assert job(1, begun=100.0, logs=[log]).message() == "config: no such method"
    assert job(1, begun=200.0, logs=[log]).message() == ""
    log.write_text("Traceback (most recent call last):\nValueError: no luck\n\n")
    assert job(1, logs=[tmp_path / "none.log", log]).message() == "ValueError: no luck"
    assert job(1, logs=[tmp_path / "none.log"]).message() == ""


def test_lines_say_when_a_rule_is_finished():
    lock, stream = threading.RLock(), io.StringIO()
    tally, view = Tally(), Lines(stream, threading.RLock())
    with lock:
        tally.plan({"train": 2, "table": 1}, 0.0)
    view.begin(tally)
    for number in (1, 2):
        one = job(number)
        tally.begin(one)
        tally.end(number, 1.0)
        view.ended(one)
    view.close()
    said = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert said[0] == "3 jobs to do: train 2, table 1"
    assert len(said) == 2 and said[1].startswith("train: 2 jobs done (2 of 3 jobs")


def test_bars_fit_a_small_terminal_and_end_with_every_rule(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "8")
    stream = io.StringIO()
    view, tally = Bars(stream, threading.RLock()), Tally()
    tally.plan({f"rule{number}": 1 for number in range(20)}, 0.0)
    view.begin(tally)
    for number in range(20):
        tally.begin(job(number, f"rule{number}"))
        if number < 18:
            tally.end(number, 1.0)
    drawn = Bars(io.StringIO(), threading.RLock())
    drawn._tally = tally
    drawn._console.print(drawn._draw())
    lines = drawn._console.file.getvalue().splitlines()
    assert len(lines) <= 8 and any("18/20" in line for line in lines)
    assert any("rule19 digits/19" in line for line in lines)
    view.close()
    text = stream.getvalue()
    assert all(f"rule{number} " in text for number in range(20)) and "18/20" in text


PRINTING = """
import os, subprocess, sys
from perturb.jobs.display import Capture
said = []
capture = Capture(said.append, 2)
print("of this process", file=sys.stderr, flush=True)
subprocess.run("printf 'of\\033[31m a job\\n' >&2", shell=True, check=True)
capture.close()
print("direct", file=sys.stderr, flush=True)
print(said)
"""


def test_what_jobs_print_is_caught_and_given_back(root):
    done = subprocess.run(
        [sys.executable, "-c", PRINTING],
        env={**os.environ, "PYTHONPATH": str(Path(root, "src"))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['of this process', 'of a job']\n" and done.stderr == "direct\n"
