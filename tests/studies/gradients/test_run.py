"""A toy as a run: its record, the same bytes again, killed and resumed, diverged."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import pandas as pd
import pytest

from perturb import code, studies
from perturb.errors import PerturbError
from perturb.files import sha256_file
from perturb.gradients import kept
from perturb.jobs.packs import FINISHED, Packs
from perturb.jobs.status import collect
from perturb.runs import PROGRESS, RunFiles, read_record
from perturb.studies.gradients import toy
from perturb.studies.gradients.run import run

from .conftest import NAMES, make

REPRODUCIBLE = sorted(set(NAMES) - {"timing.csv"})


def same(first, second):
    return all(
        first.with_name(name).read_bytes() == second.with_name(name).read_bytes()
        for name in REPRODUCIBLE
    )


def test_a_record_says_what_was_run_and_what_came_out(toys, records):
    record = read_record(records[2])
    specification = toys[2]
    assert specification.differences(record) == []
    assert {name: record[name] for name in ("study", "dataset", "model", "method", "seed")} == {
        "study": "gradients",
        "dataset": "gradients_smoke",
        "model": "sign_units",
        "method": "toy_dimension-8_pretraining-50",
        "seed": 0,
    }
    assert record["status"] == "ok" and record["scale"] == "smoke"
    assert record["last"]["loss"] < record["last"]["loss_of_zero"], "pre-training learns"
    files = record["sha256"]["files"]
    assert {*files, "record.json", "timing.csv"} == set(NAMES)
    assert all(sha256_file(records[2].with_name(name)) == found for name, found in files.items())
    assert record["code"] == studies.code_of(specification)
    assert record["sha256"]["code"] == code.digest(record["code"])
    batches = pd.read_csv(records[2].with_name("batches.csv"))
    decrease = batches.loc[batches["estimator"] == "cdg", "decrease_hidden"].mean()
    assert record["last"]["decrease_hidden"] == pytest.approx(decrease, rel=1e-12)


def test_what_is_told_of_toys_is_no_code_of_theirs(toys):
    used = set(studies.code_of(toys[0]))
    assert "perturb.studies.gradients.toy" in used and "perturb.gradients.evolution" in used
    told = ("table", "parts", "figures", "words", "chapters", "settings", "cost")
    assert not used & {f"perturb.studies.gradients.{name}" for name in told}


def test_a_run_is_the_same_to_the_byte_but_for_its_times(toys, records, tmp_path):
    assert same(make(toys[0], tmp_path / "again"), records[0])


def test_times_add_up_and_progress_has_a_line_for_each_estimate(toys, tmp_path):
    start = time.perf_counter()
    record = make(toys[0], tmp_path / "run", progress=tmp_path / "progress.jsonl")
    took = time.perf_counter() - start
    timing = pd.read_csv(record.with_name("timing.csv"))
    assert 0 < timing["seconds"].sum() <= took
    assert len(timing) == toy.count(toys[0]) + 1
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert lines[0]["of"] == toy.count(toys[0]) == len(lines) - 2
    assert [line["epoch"] for line in lines[1:-1]] == list(range(lines[0]["of"]))
    assert lines[-1]["end"] == "ok"


def test_status_shows_how_far_a_toy_is(toys, tmp_path):
    path = tmp_path / "logs" / "runs" / f"{toys[0].run}{PROGRESS}"
    record = make(toys[0], tmp_path / toys[0].run.folder, progress=path)
    path.with_name(path.name.replace(PROGRESS, ".log")).touch()
    (done,) = collect(tmp_path)
    assert (done.name, done.state) == (str(toys[0].run), "done")
    assert done.epochs == done.of == toy.count(toys[0])
    record.unlink()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:11]))
    (half,) = collect(tmp_path)
    assert (half.state, half.epochs, half.of) == ("running", 10, done.of) and half.left is not None


def test_toys_share_a_job_by_what_whole_ones_took(toys, records, results):
    took = [pd.read_csv(path.with_name("timing.csv"))["seconds"].sum() for path in records]
    packs = Packs(results, 1000 * max(took))
    assert packs.took(toys[0].run) == pytest.approx(sum(took[:2]) / 2)
    other = replace(toys[0].run, method="toy_dimension-64_pretraining-0")
    pairs = [(first + second) / 2 for first, second in zip(took[::2], took[1::2], strict=True)]
    assert packs.took(other) == pytest.approx(max(pairs)), "nothing like it: the slowest"
    assert packs.group(toys[0].run) == "packs_of_50"


def test_a_toy_that_diverges_says_when(toys, tmp_path):
    wild = msgspec.structs.replace(toys[2], pretraining_learning_rate=1e30)
    record = read_record(make(wild, tmp_path / "run"))
    assert (record["status"], record["last"]) == ("diverged", None)
    assert 0 < record["diverged_at_step"] < wild.pretraining
    assert set(record["sha256"]["files"]) == set(NAMES) - {"record.json", "timing.csv"}


class Killed(BaseException):
    pass


@pytest.fixture
def keep_all(monkeypatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", -1.0)


@pytest.mark.usefixtures("keep_all")
def test_a_killed_toy_goes_on_to_the_same_bytes(toys, records, tmp_path, monkeypatch, capsys):
    made, estimates = [], toy.estimates

    def counted(*given):
        made.append(given)
        return estimates(*given)

    def killed(*given):
        if len(made) == 3:
            raise Killed
        return counted(*given)

    state = tmp_path / "states" / "one"
    monkeypatch.setattr(toy, "estimates", killed)
    with pytest.raises(Killed):
        make(toys[0], tmp_path / "cut", state=state)
    assert len(list(state.iterdir())) == 3
    capsys.readouterr()
    monkeypatch.setattr(toy, "estimates", counted)
    make(toys[0], tmp_path / "whole")
    whole = len(made) - 3
    record = make(toys[0], tmp_path / "resumed", state=state)
    assert len(made) - 3 - whole == whole - 3
    assert capsys.readouterr().err.count("made before") == 3
    assert not state.parent.exists()
    assert same(record, records[0])


@pytest.mark.usefixtures("keep_all")
def test_a_state_that_is_kept_is_marked_and_makes_the_run_again(toys, records, tmp_path, capsys):
    state = tmp_path / "state"
    run(toys[0], RunFiles(folder=tmp_path / "first", state=state), keep_state=True)
    assert (state / FINISHED).exists() and len(list(state.glob("*.npz"))) > 3
    capsys.readouterr()
    record = make(toys[0], tmp_path / "second", state=state)
    assert "made before" in capsys.readouterr().err
    assert same(record, records[0]) and not state.exists()


JOB = """
import sys
from pathlib import Path
from perturb.errors import PerturbError
from perturb.gradients import kept
from perturb.runs import RunFiles
from perturb.studies.gradients.run import run
from perturb.studies.gradients.settings import ToySpecification

kept.KEEP_SECONDS = -1.0
folder = Path(sys.argv[1])
files = RunFiles(folder / "run", state=folder / "state", progress=folder / "progress.jsonl")
try:
    run(ToySpecification.from_json(sys.argv[2]), files)
except PerturbError as error:
    sys.exit(f"perturb: {error}")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_stops_a_toy_and_the_next_start_goes_on(toys, records, tmp_path, number):
    command = [sys.executable, "-c", JOB, str(tmp_path), toys[0].to_json()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "state").glob("*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and not (tmp_path / "run" / "record.json").exists()
    if number == signal.SIGTERM:
        assert "perturb: stopped by SIGTERM; the next start goes on after" in said
        last = (tmp_path / "progress.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["end"] == "stopped"
    found = len(list((tmp_path / "state").glob("*.npz")))
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr.count("made before") == found >= 2
    assert same(tmp_path / "run" / "record.json", records[0])


def test_a_signal_that_came_before_any_estimate_begins_anew(toys, tmp_path, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt("SIGINT")

    monkeypatch.setattr(toy.Problem, "make", interrupted)
    with pytest.raises(PerturbError, match="stopped by SIGINT; the next start begins anew"):
        make(toys[0], tmp_path / "run")
