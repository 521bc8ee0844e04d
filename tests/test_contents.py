"""What a folder says: every change is seen, and what was hashed once is not read again."""

import os
import time

import pytest

from perturb import contents
from perturb.contents import Contents

LONG_AGO = 1_000_000_000


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "images"
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


@pytest.fixture
def said(folder, tmp_path):
    """Return what is said of the folder, by a new process each time."""
    return lambda: Contents(tmp_path / "cache").sha256(folder, sorted(folder.rglob("*.png")))


def test_every_change_is_seen_and_an_undone_one_forgotten(folder, said):
    first = said()
    assert said() == first
    for path, text in (("a/0.png", "A/0.png"), ("a/0.png", "longer text"), ("b/new.png", "x")):
        before = (folder / path).read_text() if (folder / path).exists() else None
        (folder / path).write_text(text)
        assert said() != first
        (folder / path).unlink() if before is None else (folder / path).write_text(before)
        assert said() == first
    (folder / "a/0.png").rename(folder / "b/1.png")
    assert said() != first


def test_a_file_that_looks_as_before_but_for_its_content_is_seen(folder, said):
    """Same size, same time of change: `ctime` and the inode tell, or that it is too new to tell."""
    path = folder / "a/0.png"
    os.utime(path, (LONG_AGO, LONG_AGO))
    first = said()
    path.write_text("b/0.png")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert said() != first


def test_what_did_not_change_is_not_read_again(folder, said, monkeypatch):
    monkeypatch.setattr(contents, "RECENT_SECONDS", -1.0)  # as if some seconds had passed
    first, read = said(), []
    monkeypatch.setattr(contents, "sha256_file", lambda path: read.append(path) or "0" * 64)
    assert said() == first and read == []
    os.utime(folder / "a/1.png", (LONG_AGO, LONG_AGO))
    assert said() != first and read == [folder / "a/1.png"]


def test_a_file_that_has_just_changed_is_read_again(folder, said, monkeypatch):
    said()
    read = []
    monkeypatch.setattr(contents, "sha256_file", lambda path: read.append(path) or "0" * 64)
    said()
    assert len(read) == 3
    monkeypatch.setattr(time, "time", lambda: LONG_AGO * 10)
    said()
    read.clear()
    said()
    assert read == []


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"files": 3}', '{"files": {"a/0.png": [1]}}'])
def test_a_damaged_or_missing_cache_changes_nothing(folder, said, tmp_path, damage):
    first = said()
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text(damage)
    assert said() == first
    assert Contents(tmp_path / "cache").last(folder) == first
    file.unlink()
    assert Contents(tmp_path / "cache").last(folder) == ""
    assert said() == first


def test_without_a_place_for_the_cache_it_only_takes_longer(folder, tmp_path):
    (tmp_path / "file").write_text("")
    found = Contents(tmp_path / "file/cache")
    assert found.sha256(folder, [folder / "a/0.png"]) == found.sha256(folder, [folder / "a/0.png"])


def test_nothing_is_kept_where_nothing_may_be_written(folder, tmp_path):
    files = sorted(folder.rglob("*.png"))
    dry = Contents(tmp_path / "cache", writes=lambda: False)
    assert dry.sha256(folder, files) == Contents(tmp_path / "cache").sha256(folder, files)
    (tmp_path / "cache").rename(tmp_path / "kept")
    dry.sha256(folder, files)
    assert not (tmp_path / "cache").exists()
