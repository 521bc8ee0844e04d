"""`python -m perturb.jobs.store`: what it lists, cleans and restores."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from perturb import studies
from perturb.config import Config
from perturb.jobs.store import ENTRY, NEW
from perturb.jobs.store_commands import main
from perturb.runs import made_from

from .made_up import NAMES, bytes_of, fingerprint, flip, make_run, record


@pytest.fixture
def three(store, results):
    """A store of three runs, of two codes; the first was last used 40 days ago."""
    for number, code in ((0, "1"), (1, "1"), (2, "2")):
        made = fingerprint(number, code={"perturb.optim.rules.sgd": code})
        store.keep(made, make_run(results, number), NAMES)
    old = next(entry for entry in store.entries() if entry.made_from["seed"] == 0)
    os.utime(old.path, (time.time() - 40 * 86400,) * 2)
    return store


def command(store, *arguments):
    main([arguments[0], "--store", str(store.folder), *map(str, arguments[1:])])


def test_it_is_listed_and_sized(three, results, capsys):
    command(three, "list")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("3 kept, ")
    assert "abc123" in lines[1]
    shutil.rmtree(results / "runs/digits/cnn/sgd_2/seed0")
    command(three, "size")
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("3 run")
    assert second.startswith("90.6 kB, of which 30.2 kB are in no results folder")


def test_it_is_cleaned_only_by_what_is_said_and_only_with_yes(three, capsys):
    with pytest.raises(SystemExit, match="say what to remove"):
        command(three, "clean", "--yes")
    command(three, "clean", "--older-than", 30)
    assert "Nothing was removed" in capsys.readouterr().out
    assert len(three.paths()) == 3
    command(three, "clean", "--older-than", 30, "--yes")
    assert sorted(entry.made_from["seed"] for entry in three.entries()) == [1, 2]
    (code,) = {entry.code for entry in three.entries() if entry.made_from["seed"] == 2}
    command(three, "clean", "--code", code[:12], "--yes")
    assert [entry.made_from["seed"] for entry in three.entries()] == [1]
    assert not list((three.folder / NEW).iterdir())


def test_what_no_configuration_asks_for_is_cleaned(store, results, raw_config, root, capsys):
    config = Config(raw_config, root / "config" / "schema.yaml")
    run = studies.chapter(config, "digits").runs[0]
    asked = studies.specification(config, run)
    named = {name: getattr(run, name) for name in ("dataset", "model", "method", "seed")}
    now = json.loads(json.dumps(asked.settings()))
    other = now | {"learning_rate": 7.0}
    for number, settings in enumerate((now, other)):
        made = fingerprint(**named | {"seed": run.seed})
        neutral = type(asked).NEUTRAL
        made["specification"] = made_from(record(specification=settings), neutral)["specification"]
        store.keep(made, make_run(results, number), NAMES)
    command(store, "clean", "--not-asked", "--yes")
    (left,) = store.entries()
    assert left.made_from["specification"]["learning_rate"] == now["learning_rate"]


def test_what_is_restored_are_the_runs_of_one_code_under_another_folder(
    three, results, tmp_path, capsys
):
    code = next(entry.code for entry in three.entries() if entry.made_from["seed"] == 1)
    before = bytes_of(results / "runs")
    command(three, "restore", "--code", code[:10], "--to", tmp_path / "old")
    found = bytes_of(tmp_path / "old/runs")
    assert found == {k: v for k, v in before.items() if "seed2" not in k}
    with pytest.raises(SystemExit, match="is there already"):
        command(three, "restore", "--code", code[:10], "--to", tmp_path / "old")
    with pytest.raises(SystemExit, match="nothing of that kind"):
        command(three, "restore", "--code", "f00", "--to", tmp_path / "none")
    for entry in three.entries():
        flip(entry.path / "epochs.csv", random.Random(0))
    with pytest.raises(SystemExit, match="damaged"):
        command(three, "restore", "--to", tmp_path / "damaged")


def test_a_folder_that_is_no_store_is_said(tmp_path):
    with pytest.raises(SystemExit, match="no store"):
        main(["list", "--store", str(tmp_path / "none")])


def test_what_a_killed_process_left_is_removed_a_day_later(three, capsys):
    old, new = three.folder / NEW / "old", three.folder / NEW / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "last.safetensors").write_bytes(b"half")
    os.utime(old, (1, 1))
    command(three, "clean", "--older-than", 365, "--yes")
    assert not old.exists()
    assert new.exists()
    assert len(three.paths()) == 3


def test_a_place_of_the_same_name_is_another_s_and_stays(store, results):
    folder = make_run(results)
    assert store.keep(fingerprint(), folder, NAMES)
    first = Path(store.entry_folder(fingerprint()), ENTRY).read_bytes()
    (folder / "timing.csv").write_text("epoch,seconds\n0,9\n")
    assert store.keep(fingerprint(), folder, NAMES)
    assert Path(store.entry_folder(fingerprint()), ENTRY).read_bytes() == first
