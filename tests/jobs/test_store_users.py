"""A store that several users share: a lab's folder, which its group may write to."""

import os
import shutil
from contextlib import redirect_stderr

import pytest

from perturb.jobs.store import DAMAGED, Store

from .made_up import NAMES, bytes_of, fingerprint, make_run

GROUP, FIRST, SECOND = 65432, 65001, 65002  # need no entry in /etc/passwd

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")


def keep(store, results, number):
    return store.keep(fingerprint(number), make_run(results, number), NAMES)


def put_back(store, results, number):
    shutil.rmtree(results, ignore_errors=True)
    run = results / f"runs/digits/cnn/sgd_2/seed{number}"
    return store.put_back(fingerprint(number), run) is not None


def remove(store, results, number):
    store.remove(next(e for e in store.entries() if e.made_from == fingerprint(number)))


@pytest.fixture
def shared(tmp_path):
    """A folder for two users, and the two users' own; other folders on the way let them pass."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o055)
    store = tmp_path / "store"
    store.mkdir()
    os.chown(store, FIRST, GROUP)
    store.chmod(0o2775)
    for user in (FIRST, SECOND):
        (tmp_path / str(user)).mkdir()
        os.chown(tmp_path / str(user), user, GROUP)
    return Store(store)


@pytest.fixture
def act(shared, tmp_path):
    """Return a function that does something as a user, in a process of that user's.

    It returns what came out and what was said. A fork, for that user may not read this Python.
    """

    def do(user, what, number):
        reading, writing = os.pipe()
        said = tmp_path / f"{user}/said"
        if not (child := os.fork()):
            try:
                os.setgroups([])
                os.setgid(GROUP)
                os.setuid(user)
                os.umask(0o022)
                with open(said, "w") as file, redirect_stderr(file):
                    results = tmp_path / str(user) / "results"
                    os.write(
                        writing, str(what(Store(shared.folder, results), results, number)).encode()
                    )
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as pipe:
            came = pipe.read()
        os.waitpid(child, 0)
        assert came, said.read_text()
        return came, said.read_text()

    return do


def test_what_one_keeps_the_other_puts_back_and_keeps_beside_it(shared, act, tmp_path):
    assert act(FIRST, keep, 0) == ("True", "")
    assert act(SECOND, put_back, 0)[0] == "True"
    mine, yours = (
        tmp_path / f"{user}/results/runs/digits/cnn/sgd_2/seed0" for user in (FIRST, SECOND)
    )
    assert bytes_of(yours) == bytes_of(mine)
    assert yours.stat().st_uid == SECOND
    # Copies: what the second does to a file of its own is nothing to the first.
    assert (yours / "epochs.csv").stat().st_ino != (mine / "epochs.csv").stat().st_ino
    for number in range(1, 40):  # some share the folder that begins with the same two digits
        user = (FIRST, SECOND)[number % 2]
        assert shared.entry_folder(fingerprint(number)) and act(user, keep, number) == (
            "True",
            "",
        )
    assert len(shared.paths()) == 40
    assert len({path.parent for path in shared.paths()}) < 40


def test_a_damaged_entry_of_the_other_is_set_aside_and_any_member_can_clean(shared, act):
    for number in (0, 1):
        act(FIRST, keep, number)
    file = shared.entry_folder(fingerprint(0)) / "epochs.csv"
    file.write_text("damaged")
    found, said = act(SECOND, put_back, 0)
    assert found == "False"
    assert "set aside" in said
    assert len(list((shared.folder / DAMAGED).iterdir())) == 1
    act(SECOND, remove, 1)
    assert not shared.paths()


def test_files_that_others_may_not_read_are_said_and_stop_nothing(shared, act):
    act(FIRST, keep, 0)
    for path in shared.entry_folder(fingerprint(0)).rglob("*.csv"):
        path.chmod(0o600)
    found, said = act(SECOND, put_back, 0)
    assert found == "False"
    assert "cannot be read: Permission denied" in said
    assert act(SECOND, keep, 0)[0] == "True"
